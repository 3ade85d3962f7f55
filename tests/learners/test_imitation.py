from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.errors import AllowanceSpent, HeadstartError
from headstart.experience.transition import Rollout, Transition
from headstart.learners import train as training
from headstart.learners.imitation import Imitation
from headstart.learners.learner import Progress
from headstart.learners.train import train
from headstart.methods.random_convolution import FeatureMatching
from headstart.policies.policy import ExpertPolicy
from headstart.runs.evaluation import evaluate
from headstart.runs.logger import Logger
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget

DOT = Domain("probes:Dot")
SMALL = Imitation(
    expert="centre", hidden=(16,), rollout_length=10, updates_per_step=0.3125, batch_size=64,
    learning_rate=3e-3,
)  # fmt: skip


@pytest.mark.parametrize("auxiliary", [None, FeatureMatching(weight=0.1, samples=16)])
def test_a_student_that_sees_pixels_does_what_the_expert_does_who_sees_the_state(auxiliary):
    """The expert's mean return, from a place in [−1, 1], by hand: it moves 0.3 a step while it is
    further than 0.15 from the middle."""
    source = CountedSource(DOT)
    student = train(SMALL, source, 3_000, jax.random.key(0), auxiliary=auxiliary)
    assert source.meter.steps == 3_200  # 64 copies, five rounds: whole rollouts of ten steps
    places = np.linspace(-1, 1, 20_001)
    expert = np.zeros_like(places)
    for _ in range(10):
        places = np.where(abs(places) > 0.15, places - 0.3 * np.sign(places), places)
        expert -= abs(places)
    returns = evaluate(DOT, student.policy, 256, seed=1)
    assert returns.mean() == pytest.approx(expert.mean(), abs=3 * returns.std() / 16)


class Rows(Logger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log(self, row):
        self.rows.append(row)


def test_the_expert_acts_in_the_first_round_and_the_student_after_it(monkeypatch):
    """A student that learns nothing wanders: its episodes are worth less than the expert's."""
    monkeypatch.setattr(training, "LOGGED_EVERY", 1)
    logger = Rows()
    source = CountedSource(DOT, logger=logger)
    idle = Imitation(
        expert="centre", rollout_length=10, updates_per_step=1 / 640, learning_rate=0.0
    )
    train(idle, source, 64 * 10 * 3, jax.random.key(0))
    first, second, third = (row["train_return"] for row in logger.rows)
    assert first > second + 1.0
    assert first > third + 1.0


def seen(spec_choices=3):
    """Two numbers, and what an expert would choose."""
    groups = {"state": Group((2,)), "expert": Group((), "choice", (spec_choices,))}
    return EnvSpec("here", groups, Actions((), (spec_choices,)), 10)


def test_who_knows_something_acts_from_the_first_round():
    state = SMALL.init(seen(), jax.random.key(0), total=3_000)
    first = Progress(0, 3_000)
    assert isinstance(SMALL.behaviour(state, first), ExpertPolicy)
    assert SMALL.behaviour(state, Progress(640, 3_000)) is state.policy
    taught = SMALL.graft(SMALL.knowledge(state), state)
    assert SMALL.behaviour(taught, first) is taught.policy
    assert eqx.tree_equal(taught.policy, state.policy)


def test_the_loss_is_what_the_experts_choices_cost_by_hand():
    """One gradient step on one observation that is shown everywhere: −log π(a*), and Adam moves
    the logits' biases by the step size, up for a* and down for the others."""
    one = replace(SMALL, num_envs=2, rollout_length=3, updates_per_step=1 / 6, learning_rate=0.01)
    state = one.init(seen(), jax.random.key(0), total=6)
    before = jnp.array([0.5, 0.0, -1.0])
    state = eqx.tree_at(lambda s: s.policy.actor.logits.biases[-1], state, before)
    state = eqx.tree_at(
        lambda s: s.policy.actor.logits.weights[-1], state,
        jnp.zeros_like(state.policy.actor.logits.weights[-1]),
    )  # fmt: skip
    obs = {"state": np.ones((3, 2, 2), np.float32), "expert": np.full((3, 2), 2, np.int32)}
    flags = np.zeros((3, 2), bool)
    steps = Transition(obs, obs["expert"], np.zeros((3, 2), np.float32), obs, flags, flags)
    rollout = Rollout(steps, np.ones(2, bool), np.zeros(2, np.int32), np.zeros(2, np.float32))
    hooks = training.Hooks()
    after, log = one.update(state, rollout, Progress(0, 6), hooks, jax.random.key(1))
    probs = np.exp([0.5, 0.0, -1.0]) / np.exp([0.5, 0.0, -1.0]).sum()
    assert float(log["imitation_loss"]) == pytest.approx(-np.log(probs[2]), rel=1e-5)
    assert float(log["agreement"]) == 0  # it would have chosen 0
    moved = after.policy.actor.logits.biases[-1] - before
    np.testing.assert_allclose(moved, [-0.01, -0.01, 0.01], rtol=1e-3)
    assert int(after.shown.filled) == 3


def test_gradient_steps_are_as_many_for_every_step_of_the_whole_training():
    """Three rounds of 640 steps, each with 7.9 gradient steps."""
    learner = replace(SMALL, updates_per_step=0.0124)
    student = train(learner, CountedSource(DOT), 1_900, jax.random.key(0))
    (adam,) = (leaf for leaf in student.opt_state[1] if hasattr(leaf, "mu"))
    assert int(adam.count) == int(1920 * 0.0124) == 23


@pytest.mark.parametrize(("total", "count"), [(25, 12), (50, 20)])
def test_the_step_size_falls_to_nothing_over_a_training(total, count):
    """Rounds are of ten steps, with four gradient steps each. Adam's are as long as the step size,
    where the gradient is always the same."""
    one = replace(SMALL, num_envs=2, rollout_length=5, updates_per_step=0.4, learning_rate=1.0)
    optimiser, sizes = one._optimiser(total), []
    state = optimiser.init(np.zeros(1, np.float32))
    for _ in range(count + 1):
        moved, state = optimiser.update(np.full(1, 0.1, np.float32), state)
        sizes.append(float(-moved[0]))
    np.testing.assert_allclose(sizes, 1 - np.arange(count + 1) / count, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_imitated_is_said():
    with pytest.raises(HeadstartError, match=r"expert of probes:Dot 'good': known: centre"):
        train(Imitation(), CountedSource(DOT), 64, jax.random.key(0))
    continuous = replace(seen(), actions=Actions((1,)))
    with pytest.raises(HeadstartError, match="imitation is of discrete actions"):
        SMALL.init(continuous, jax.random.key(0), total=64)
    with pytest.raises(HeadstartError, match="does not learn from episodes of a target"):
        SMALL.init(seen(), jax.random.key(0))
    with pytest.raises(HeadstartError, match="round of 1280 steps has no .* to 1/1280 or more"):
        Imitation(updates_per_step=0.00078)


def test_the_states_of_a_limited_target_are_not_told():
    limited = Meter(observation_limit=100, step_limit=10_000)
    with pytest.raises(AllowanceSpent, match="access gives none of the target's"):
        train(SMALL, MeteredTarget(DOT, Allowance(limited)), 64, jax.random.key(0))
    # The oracle's is free.
    few = replace(SMALL, updates_per_step=0.01)
    train(few, MeteredTarget(DOT, Allowance(Meter())), 64, jax.random.key(0))
