"""Which tasks are drawn next, against weights worked by hand, and that they are what is drawn."""

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest

from headstart import envs
from headstart.envs.goals import DESIRED
from headstart.envs.spec import DRAWN
from headstart.errors import HeadstartError
from headstart.experience.curriculum import ANYWAY, CANDIDATES, NEAR, REMEMBERED, Curriculum
from headstart.experience.unroll import begin, unroll
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.methods import METHODS
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain, mixture
from headstart.problem.distributions import Choice, Uniform
from headstart.runs import checkpointer
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.metering import CountedSource, Meter

PAIR = Choice((0.0, 180.0))
TWO = Domain("runner", direction=PAIR)
"""Two tasks, of one place each: east is told as (1, 0) and west as (−1, 0)."""
LINE = Domain("point-maze", goal_x=Uniform(0.3, 5.7), goal_y=3.0)
SMALL = SAC(
    hidden=(8,), num_envs=2, rollout_length=4, batch_size=8, learning_starts=32,
    updates_per_step=0.25,
)  # fmt: skip


def ended(curriculum, places, went):
    """Tell it of episodes of one step."""
    curriculum.learn(places[:, None], np.ones((len(places), 1), bool), np.array(went))


def east_and_west(rule, went):
    """How likely east is after episodes `(cosine, how it went)`, and how many candidates are it."""
    curriculum = Curriculum(TWO, rule, 0)
    places = np.array([[cosine, 0.0] for cosine, _ in went]).reshape(-1, 2)
    ended(curriculum, places, [float(score) for _, score in went])
    east = curriculum.candidates[:, 0] == 0
    return curriculum.probabilities[east].sum(), east.mean()


def share(east, west, among):
    """How often a task is drawn whose weight is `east`, by hand."""
    return ANYWAY * among + (1 - ANYWAY) * among * east / (among * east + (1 - among) * west)


def near(spread):
    """How much an episode of the other task counts: they are 2 apart, of deviation `spread`."""
    return np.exp(-0.5 * (2 / spread) ** 2 / NEAR**2)


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        ("frontier", [4 * (3.5 / 4) * (0.5 / 4), 4 * 0.25 * 0.75]),
        ("failures", [0.5 / 4, 0.75]),
    ],
)
def test_weights_by_hand(rule, weights):
    # East succeeded three times and west failed once; each counts half a success besides.
    went = [(1, 1), (1, 1), (1, 1), (-1, 0)]
    assert near(1.0) < 4e-4  # so they do not count for each other
    found, among = east_and_west(rule, went)
    np.testing.assert_allclose(found, share(*weights, among), atol=2e-3)


def test_progress_is_how_much_better_it_went_lately_in_units_of_how_much_it_differs():
    # East is learned; west pays a thousand times as much and is as uncertain as before.
    went = [(1, 0.0), (-1, 1000.0), (1, 0.0), (-1, 0.0)] * 8
    went += [(1, 1.0), (-1, 0.0), (1, 1.0), (-1, 1000.0)] * 8
    found, _ = east_and_west("progress", went)
    assert found > 0.85


def test_what_nothing_is_known_of_is_drawn_as_the_domain_says():
    for rule in ("frontier", "failures", "progress"):
        curriculum = Curriculum(LINE, rule, 0)
        np.testing.assert_allclose(curriculum.probabilities, 1 / CANDIDATES)


def test_the_frontier_is_between_what_succeeds_and_what_fails():
    curriculum = Curriculum(LINE, "frontier", 0)
    rng = np.random.default_rng(1)
    for _ in range(8):
        # As the group `drawn` tells it: goal_x from [0, 6] to [−1, 1].
        told = rng.uniform(-0.9, 0.9, (REMEMBERED // 4, 1))
        ended(curriculum, told, (told[:, 0] < 0.2).astype(float))
    drawn = curriculum.sample(rng, 4000)[:, 0]
    edge = 3 + 0.2 * 3
    beside = np.abs(drawn - edge) < 0.7
    assert beside.mean() > 0.45
    assert beside.mean() > 2 * np.mean(np.abs(rng.uniform(0.3, 5.7, 4000) - edge) < 0.7)
    assert drawn.min() < 1
    assert drawn.max() > 5.3


class Always:
    """Draws one task, whatever the domain says."""

    def __init__(self, *values):
        self.values = values

    def sample(self, rng, n):
        return np.tile(self.values, (n, 1))


@pytest.mark.parametrize(
    ("domain", "values", "group", "told"),
    [
        (LINE, (5.0, 3.0), DESIRED, (1.0, 0.6)),
        (Domain("hopper", torso_mass=Uniform(3, 6), shows=["torso_mass"]), (4.5,), None, None),
        (
            mixture([Domain("runner", direction=PAIR), Domain("navigation")]), (0.0, 180.0), None,
            (1.0, 0.0, -1.0, 0.0),
        ),
        (
            mixture([Domain("hopper", torso_mass=Uniform(3, 6)), Domain("runner")]), (0.0, 4.5),
            None, None,
        ),
    ],
    ids=["compiled", "host", "compiled mixture", "host mixture"],
)  # fmt: skip
def test_parameters_are_those_that_are_drawn_and_are_told(domain, values, group, told):
    running = envs.start(domain, 5, 0, draws=Always(*values))
    policy = UniformPolicy(running.spec.actions)
    rollout, _ = unroll(policy, running, begin(policy, running), 3, jax.random.key(0))
    seen = rollout.steps.obs[group or DRAWN]
    if told is not None:
        np.testing.assert_allclose(seen, np.broadcast_to(told, seen.shape), atol=1e-6)
    np.testing.assert_allclose(
        running.values[:, running.columns], np.tile(values, (5, 1)), rtol=1e-6
    )
    assert running.spec.groups[DRAWN].shape == rollout.steps.next_obs[DRAWN].shape[2:]
    assert DRAWN not in envs.spec_of(domain).groups


@pytest.mark.parametrize("rule", ["frontier", "progress"])
def test_a_training_is_told_how_its_episodes_went(rule):
    domain = LINE.lasting(8)
    source = CountedSource(domain)
    curriculum = Curriculum(domain, rule, 0)
    learned = []
    curriculum.learn = lambda tasks, over, went: learned.append((tasks[over], went))
    state = train(SMALL, source, 64, jax.random.key(0), curriculum=curriculum)
    tasks, went = (np.concatenate(column) for column in zip(*learned, strict=True))
    assert len(tasks) == len(went) == 64 // 8
    assert set(went) <= {0.0, 1.0}  # the goal is at the height of a wall, and few reach it
    assert len(set(tasks[:, 0])) > 4
    replay = state.replay.columns
    x = np.float64(replay.obs[DESIRED][..., 0]) * 5  # metres
    np.testing.assert_allclose(x, (np.float64(replay.obs[DRAWN][..., 0]) + 1) * 3, rtol=1e-5)
    assert DRAWN not in state.policy.groups


@pytest.mark.parametrize(("rule", "most"), [("none", 0.98), ("even", 0.6)])
def test_tasks_have_as_many_steps_as_the_source_says_where_they_are_to_be_even(rule, most):
    short, long = Domain("runner", horizon=2), Domain("navigation", horizon=40)
    domain = mixture([short, long], weights=[1, 1], shows=["task"])
    source = CountedSource(domain)
    learner = replace(SMALL, num_envs=8, updates_per_step=0.0)
    tasks = Curriculum(domain, rule, 0) if rule == "even" else None
    state = train(learner, source, 1600, jax.random.key(0), curriculum=tasks)
    long_steps = np.float64(state.replay.columns.obs["context"][..., 1]).mean()
    assert 0.4 < long_steps < most
    assert (long_steps > 0.8) == (rule == "none")


def test_who_lacks_no_steps_is_drawn_as_the_source_says():
    """Of 3 to 1, before any step was taken; the candidates of a task share its chance."""
    tasks = mixture([Domain("runner"), Domain("navigation")], weights=[3, 1], shows=["task"])
    curriculum = Curriculum(tasks, "even", 0)
    first = curriculum.candidates[:, 0] == 0
    assert curriculum.probabilities.sum() == pytest.approx(1)
    assert curriculum.probabilities[first].sum() == pytest.approx(first.mean())


def test_where_there_are_no_goals_it_goes_by_returns():
    source = CountedSource(TWO.lasting(8))
    curriculum = Curriculum(source.domain, "progress", 0)
    learned = []
    curriculum.learn = lambda tasks, over, went: learned.extend(went)
    state = train(SMALL, source, 64, jax.random.key(0), curriculum=curriculum)
    assert len(learned) == 8
    by_copy = np.float64(state.replay.columns.reward).T.reshape(2, -1, 8).sum(-1)
    np.testing.assert_allclose(sorted(learned), sorted(by_copy.ravel()), rtol=1e-5)


def test_a_resumed_training_draws_the_same_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointer, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SHARE", float("inf"))
    domain = LINE.lasting(8)

    class Stopped(Exception):
        pass

    def trained(folder, stops):
        def progress(_, done, total):
            if stops and done == 72:
                raise Stopped

        meter = Meter()
        keeper = Checkpointer(folder, {"source": meter})
        source = CountedSource(domain, meter, checkpointer=keeper, progress=progress)
        curriculum = Curriculum(domain, "frontier", 0)
        return train(SMALL, source, 96, jax.random.key(0), curriculum=curriculum)

    whole = trained(None, False)
    with pytest.raises(Stopped):
        trained(tmp_path, True)
    assert eqx.tree_equal(trained(tmp_path, False), whole)


def test_success_must_be_known_and_the_source_must_vary():
    method = METHODS.find("multi-task")
    spec = envs.spec_of(TWO)
    for rule in ("frontier", "failures"):
        with pytest.raises(HeadstartError, match="no goals that say what that is: use progress"):
            method(curriculum=rule).check(spec)
    method(curriculum="progress").check(spec)
    her = METHODS.find("her")
    assert her(curriculum="frontier").requires().varied
    assert not her().requires().varied


def test_steps_are_counted_of_tasks_that_can_be_listed():
    with pytest.raises(HeadstartError, match="goal_x is drawn from a range"):
        Curriculum(LINE, "even", 0)


def test_a_curriculum_is_of_the_source():
    source = CountedSource(LINE)
    curriculum = Curriculum(LINE, "frontier", 0)
    with pytest.raises(ValueError, match="goes by its rollouts"):
        train(PPO(), source, 64, jax.random.key(0), curriculum=curriculum, weights=lambda r: r)
