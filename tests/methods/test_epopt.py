from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from headstart import Domain, Fixed, Uniform
from headstart.learners.ppo import PPO
from headstart.methods import epopt
from headstart.methods.epopt import EPOpt
from headstart.methods.epopt_posterior import EPOptPosterior
from headstart.methods.method import Requirements
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.posterior import Fit, Posterior


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
    source = CountedSource(Domain("probes:Track"))
    assert method.optimise(source, 1000, jax.random.key(0), state="carried") == "learned"
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


@dataclass(frozen=True)
class Told(Posterior):
    """Remembers how many episodes it was told of, and infers nothing."""

    episodes: list[int] = field(default_factory=list)

    def update(self, source, tried, seed):
        self.episodes.append(len(tried.returns))
        wind = Domain("probes:Track", wind=0.1)
        return Fit(wind, {"wind": 0.1}, {"wind": 0.0}, [[1.0]], 1.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("limit", "rounds", "infer"),
    [(None, 3, True), (4, 2, True), (5, 2, True), (1, 0, True), (4, 2, False)],
)
def test_the_posterior_hears_of_every_episode_and_a_round_that_is_not_whole_is_not_begun(
    monkeypatch, limit, rounds, infer
):
    """Without inference as much is taken and trained, under the prior."""
    under, spans = [], []

    def train(learner, source, steps, key, state=None, **more):
        under.append((source.domain.parameters["wind"], steps))
        spans.append(more["span"])
        return state

    monkeypatch.setattr(epopt, "train", train)
    told, learner = Told(), PPO(hidden=(4,))
    method = EPOptPosterior(
        posterior=told, learner=learner, episodes_per_round=2, rounds=3, retrain=100, ensemble=0.5,
        infer=infer,
    )  # fmt: skip
    source = CountedSource(Domain("probes:Track", wind=Uniform(-0.5, 0.5)))
    meter = Meter(episode_limit=limit)
    target = MeteredTarget(Domain("probes:Track", wind=0.4), Allowance(meter))
    knowledge = learner.knowledge(learner.init(target.spec, jax.random.key(0)))
    policies = list(method.adapt(knowledge, source, target, jax.random.key(1)))
    assert len(policies) == 1 + rounds
    assert told.episodes == ([2, 4, 6][:rounds] if infer else [])
    assert meter.episodes == 2 * rounds
    wind = Fixed(0.1) if infer else Uniform(-0.5, 0.5)
    assert under == [(wind, 50)] * 2 * rounds
    # Schedules go on from their middle: half of it for ε = 1, half for the worst.
    assert spans == [(0.5, 0.75), (0.75, 1.0)] * rounds
    assert method.requires() == Requirements(
        varied=True, starts_from_observations=True, alike=True, hooks=frozenset({"weights"})
    )
