import jax
import numpy as np

from headstart.methods import epopt
from headstart.methods.epopt import EPOpt
from headstart.methods.method import Requirements


def test_the_worst_tenth_by_hand():
    returns = np.array([5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0, 4.0, 6.0, 10.0])
    # The 0.25-quantile of 1 … 10 is 3.25: what is at most that are 1, 2 and 3.
    assert EPOpt(epsilon=0.25).worst(returns).tolist() == [0, 1, 0, 1, 0, 1, 0, 0, 0, 0]
    assert EPOpt(epsilon=1.0).worst(returns).sum() == 10


def test_its_mean_is_the_conditional_value_at_risk():
    returns = np.random.default_rng(0).normal(size=100_000)
    chosen = EPOpt(epsilon=0.1).worst(returns).astype(bool)
    # CVaR of a standard normal at 0.1: −φ(z₀.₁) / 0.1 = −1.7550.
    assert abs(returns[chosen].mean() + 1.7550) < 0.02


def test_it_learns_from_all_and_then_from_the_worst(monkeypatch):
    calls = []

    def train(learner, source, steps, key, **more):
        calls.append((learner.num_envs, learner.minibatch_size, steps, more))
        return "learned"

    monkeypatch.setattr(epopt, "train", train)
    method = EPOpt(ensemble=0.3, trajectories=8, minibatch_size=128)
    assert method.optimise(None, 1000, jax.random.key(0), state="carried") == "learned"
    usual = method.learner
    assert calls == [
        (usual.num_envs, usual.minibatch_size, 300, {"state": "carried", "span": (0.0, 0.3)}),
        (
            8,
            128,
            700,
            {"state": "learned", "weights": method.worst, "stage": 1, "span": (0.3, 1.0)},
        ),
    ]


def test_it_needs_a_source_that_varies():
    assert EPOpt().requires() == Requirements(varied=True, hooks=frozenset({"weights"}))
