import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import own
from headstart import Domain
from headstart.envs.environment import Environment
from headstart.envs.vector_env import AbstractVectorEnv, TimeStep
from headstart.errors import AllowanceSpent, SimulationError
from headstart.experience.unroll import begin, play, unroll
from headstart.policies.policy import AbstractPolicy, UniformPolicy, step_policy
from headstart.problem import Access
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.logger import Logger
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.runs.run import run
from small import TRACK as PROBLEM

TRACK, DOT, CLIMB = (Domain(f"probes:{name}") for name in ("Track", "Dot", "Climb"))
NOTHING = {"observations": 0, "steps": 0, "episodes": 0}


def target_of(domain=TRACK, rewards=True, behaviour="random", **limits):
    """A target and its meter, which a method does not see."""
    meter = Meter(**limits)
    return MeteredTarget(domain, Allowance(meter, rewards, behaviour)), meter


def test_nothing_is_counted_when_a_limit_would_be_passed():
    meter = Meter(step_limit=10)
    meter.charge(steps=8)
    with pytest.raises(
        AllowanceSpent, match="asked for 3 target steps, 2 of 10 are left"
    ) as caught:
        meter.charge(steps=3)
    assert "raise access.steps" in str(caught.value)
    assert meter.steps == 8
    meter.charge(steps=2)


def test_episodes_are_charged_when_they_are_shown():
    target, meter = target_of(episode_limit=4)
    envs = target.start(2, seed=0)
    envs.reset()
    assert meter.episodes == 2
    for t in range(10):
        assert (meter.episodes, meter.steps, target.episodes_left) == (2, 2 * t, 2)
        step = envs.step(np.zeros((2, 1)))
    assert step.truncated.all()
    assert (meter.episodes, meter.steps, target.episodes_left) == (4, 20, 0)
    assert (step.obs["state"][:, 1] == 0).all()  # the clock of a new episode
    assert (step.obs["state"][:, 0] != 0).all()


def test_zero_allowance_is_zero_steps():
    target, meter = target_of(observation_limit=0, step_limit=0, episode_limit=0)
    envs = target.start(1, seed=0)
    with pytest.raises(AllowanceSpent):
        envs.reset()
    with pytest.raises(AllowanceSpent):
        envs.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(AllowanceSpent):
        target.observations(1, seed=0)
    assert meter.counts() == NOTHING


def test_an_episode_cannot_be_prolonged():
    target, meter = target_of(episode_limit=2)
    envs = target.start(1, seed=0)
    envs.reset()
    for _ in range(10):
        envs.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(SimulationError, match="must be reset"):
        envs.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(ValueError, match="charge a whole number"):
        meter.charge(observations=-1)
    assert target.observations(0, seed=0)["state"].shape == (0, 2)


def test_observations_are_counted_and_come_from_the_target():
    target, meter = target_of(Domain("probes:Track", wind=0.5), observation_limit=12)
    seen = target.observations(12, seed=0)["state"]
    assert seen.shape == (12, 2)
    assert meter.observations == 12
    assert len(np.unique(seen, axis=0)) == 12


def test_observations_are_recorded_far_apart():
    """An episode of the track takes ten steps, and it is observed after every eighth."""
    clock = target_of()[0].observations(48, seed=0)["state"][:, 1].reshape(6, 8)
    np.testing.assert_allclose(clock, np.array([0.0, 0.8, 0.6, 0.4, 0.2, 0.0])[:, None] + 0 * clock)


def test_a_source_counts_what_its_variations_use():
    source = CountedSource(Domain("probes:Track", wind={"uniform": [-0.5, 0.5]}))
    envs = source.at_mean().start(4, seed=0)
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((4, 1)))
    assert source.meter.counts() == {"observations": 0, "steps": 36, "episodes": 4}
    envs.step(np.zeros((4, 1)))
    assert source.meter.counts() == {"observations": 0, "steps": 40, "episodes": 8}
    source.charge(3)
    assert source.steps == 43


def test_observations_of_an_expert_are_where_it_leads():
    """From wherever the dot was, it is in the middle after four steps, and stays; an observation is
    recorded at every eighth step, and an episode takes ten."""
    target, meter = target_of(DOT, behaviour="centre")
    seen = target.observations(72, seed=0)
    assert seen.keys() == {"pixels"}
    seen = seen["pixels"]
    assert (seen.shape, seen.dtype) == ((72, 24, 24, 3), np.uint8)
    assert meter.counts() == {"observations": 72, "steps": 0, "episodes": 0}
    age = 8 * np.arange(9) % 10
    late = seen.reshape(9, 8, 24, 24, 3)[age >= 4, :, 0, :, 0]  # a row of pixels, by step and copy
    places = np.linspace(-1, 1, 24) @ late.swapaxes(1, 2) / late.sum(2).clip(1)
    assert (np.abs(places) <= 0.3).all()
    aimless = target_of(DOT)[0].observations(72, seed=0)["pixels"].reshape(9, 8, 24, 24, 3)
    assert not np.array_equal(aimless[age >= 4, :, 0, :, 0], late)
    np.testing.assert_array_equal(aimless[0], seen[:8])


@pytest.mark.parametrize("n", [0, 1, 7, 9, 100])
def test_exactly_as_many_observations_as_asked_for(n):
    target, meter = target_of(CLIMB, observation_limit=n)
    assert target.observations(n, seed=0)["state"].shape == (n, 2)
    assert meter.observations == n
    with pytest.raises(AllowanceSpent, match=f"asked for 1 target observations, 0 of {n} are left"):
        target.observations(1, seed=0)


def test_what_a_meter_covers():
    meter = Meter(step_limit=10, episode_limit=2)
    meter.charge(steps=4, episodes=1)
    assert meter.covers(6, 1)
    assert not meter.covers(7, 0)
    assert not meter.covers(0, 2)
    assert meter.steps_left == 6
    assert Meter().covers(10**9, 10**9)


# What a method could once get at.

PLUMBING = {
    name
    for kind in (types.FunctionType, types.MethodType, type, object, np.ndarray, jax.Array)
    for name in dir(kind)
} - {"__self__", "__func__", "__wrapped__", "__dict__"}  # fmt: skip
FORBIDDEN = (Domain, Environment, AbstractVectorEnv, Path, Meter, Logger, Checkpointer, Job, Access)


def reachable(root):
    """`(how, what)` of everything that attributes, entries and items lead to."""
    queue, seen = [("it", root)], {}
    while queue:
        how, thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | str | int | float):
            continue
        seen[id(thing)] = thing
        yield how, thing
        names = set(dir(thing)) | set(getattr(thing, "__dict__", {}))
        for name in names - PLUMBING:
            try:
                queue.append((f"{how}.{name}", getattr(thing, name)))
            except Exception:
                continue
        if isinstance(thing, dict):
            queue += [(f"{how}[{key!r}]", value) for key, value in thing.items()]
            queue += [(f"{how}'s key", key) for key in thing]
        elif isinstance(thing, tuple | list | set | frozenset):
            queue += [(f"{how}[{i}]", value) for i, value in enumerate(thing)]


@pytest.mark.parametrize("domain", [TRACK, CLIMB])
def test_nothing_leads_from_a_handle_to_what_stands_behind_it(domain, tmp_path):
    meters = {"source": Meter(), "target": Meter(None, 100, 100)}
    record = Logger(tmp_path), Checkpointer(tmp_path, meters)
    source = CountedSource(domain, meters["source"], *record)
    target = MeteredTarget(domain, Allowance(meters["target"], rewards=False), *record)
    target.log(row=1)
    target.progress(1, 2)
    of_source, of_target = source.start(2, 0), target.start(2, 0)
    shown = {
        "target": target,
        "copies": of_target,
        "what they show": of_target.reset(),
        "a step": of_target.step(np.zeros((2, 1), np.float32)),
        "a scan": of_target.scan(
            step_policy, UniformPolicy(of_target.spec.actions),
            begin(UniformPolicy(of_target.spec.actions), of_target).told, (), 5, jax.random.key(0),
        ),
        "checkpointer": target.checkpointer,
        "the source's checkpointer": source.checkpointer,
        "the source's copies": of_source,
        "the source's start": source.start,
        "the source's log": source.log,
        "the source's at": source.at,
    }  # fmt: skip
    for name, thing in shown.items():
        for how, found in reachable(thing):
            assert not isinstance(found, FORBIDDEN), f"{how} of {name} is a {type(found).__name__}"
    for how, found in reachable(source):
        assert not isinstance(found, Path | Logger | Checkpointer | AbstractVectorEnv), how
        assert found is not meters["target"], how


@pytest.mark.parametrize(
    "name",
    [
        "environment", "domain", "meter", "parameters", "journal", "folder", "state", "logger",
        "simulator", "at", "at_mean", "charge", "rewards", "behaviour", "allowance",
    ],
)  # fmt: skip
def test_a_target_shows_no(name):
    target, _ = target_of()
    assert not hasattr(target, name)
    assert name not in vars(target)


@pytest.mark.parametrize(
    "name",
    [
        "environment", "domain", "meter", "values", "state", "restore", "picture", "reseed", "pin",
        "start_from", "masses_and_inertias", "age", "finished", "engine", "inner",
    ],
)  # fmt: skip
def test_copies_show_no(name):
    target, _ = target_of()
    assert not hasattr(target.start(2, 0), name)
    assert not hasattr(CountedSource(TRACK).start(2, 0), name)


@pytest.mark.parametrize("name", ["folder", "log", "_folder", "_inner", "_meters", "watch"])
def test_a_checkpointer_shows_no(name):
    target, _ = target_of()
    for checkpointer in (target.checkpointer, CountedSource(TRACK).checkpointer):
        assert not hasattr(checkpointer, name)
        assert set(vars(checkpointer)) == {"due", "save", "load", "restore"}


def test_a_target_shows_what_a_method_needs_and_nothing_else():
    target, _ = target_of()
    assert {name for name in dir(target) if not name.startswith("_")} == {
        "spec", "steps", "episodes", "steps_left", "episodes_left", "start", "observations", "log",
        "progress", "checkpointer",
    }  # fmt: skip
    copies = target.start(2, 0)
    shown = {name for name in dir(copies) if not name.startswith("_")}
    assert shown == {"num", "spec", "reset", "step", "scan"}


def test_an_expert_of_the_target_is_not_to_be_had():
    target, meter = target_of(DOT, step_limit=100, episode_limit=100)
    with pytest.raises(AllowanceSpent, match="an expert sees states"):
        target.start(1, 0, expert="centre")
    assert meter.counts() == NOTHING
    assert "expert" in target_of(DOT)[0].start(1, 0, expert="centre").reset()  # the oracle's


def test_a_recording_does_not_show_what_its_expert_did():
    target, _ = target_of(DOT, behaviour="centre")
    assert target.observations(3, seed=0).keys() == {"pixels"}


def test_knowledge_that_reaches_adapt_says_nothing_of_the_domains(tmp_path):
    job = make_job(PROBLEM, "own:Seeing", 0, tmp_path)
    prepare(job, resume=False)
    own.Seeing.seen.clear()
    run(job)
    (knowledge,) = own.Seeing.seen
    assert knowledge.metadata.keys() == {"policy"}
    words = repr(knowledge.metadata)
    for word in ("Track", "wind", "spent", "0.4"):
        assert word not in words
    assert all(not isinstance(found, FORBIDDEN) for _, found in reachable(knowledge))


STILL = {"Track": np.zeros((1, 1)), "Climb": np.zeros((1, 1), np.float32)}


@pytest.mark.parametrize(("domain", "length"), [(TRACK, 10), (CLIMB, 5)])
def test_an_episode_that_is_not_paid_for_is_not_shown(domain, length):
    """Ten episodes may be had; the first observation of the eleventh would tell of its state."""
    target, meter = target_of(domain, episode_limit=10)
    envs = target.start(1, seed=0)
    envs.reset()
    for episode in range(1, 11):
        assert meter.episodes == episode
        for _ in range(length):
            step = envs.step(np.zeros((1, 1), np.float32))
        shown = step.obs["state"]
        if episode < 10:
            assert not np.array_equal(shown, step.next_obs["state"])
    assert meter.episodes == 10
    assert step.truncated.all()
    assert (step.next_obs["state"] != 0).any()  # where the last action led is paid for
    np.testing.assert_array_equal(shown, np.zeros_like(shown))
    with pytest.raises(AllowanceSpent, match="asked for 1 target episodes, 0 of 10 are left"):
        envs.reset()
    with pytest.raises(AllowanceSpent):
        envs.reset(np.arange(1))
    with pytest.raises(SimulationError, match="must be reset"):
        envs.step(np.zeros((1, 1), np.float32))
    assert target.episodes_left == 0


def test_episodes_are_shown_as_far_as_they_are_paid_for():
    """Four copies end at once, and three more episodes may be had."""
    target, meter = target_of(episode_limit=7)
    envs = target.start(4, seed=0)
    envs.reset()
    for _ in range(10):
        step = envs.step(np.zeros((4, 1)))
    assert meter.episodes == 7
    assert (step.obs["state"][:3, 0] != 0).all()
    np.testing.assert_array_equal(step.obs["state"][3], [0, 0])
    after = envs.step(np.zeros((3, 1)), np.arange(3))
    assert np.isfinite(after.reward).all()
    with pytest.raises(SimulationError, match="must be reset"):
        envs.step(np.zeros((1, 1)), np.array([3]))


def test_the_compiled_loop_shows_no_episode_that_is_not_paid_for():
    """Two copies of five steps: ten steps and eleven are two episodes each, then three."""
    policy, key = UniformPolicy(target_of(CLIMB)[0].spec.actions), jax.random.key(0)

    def taken(steps, limit):
        target, meter = target_of(CLIMB, episode_limit=limit)
        envs = target.start(2, seed=0)
        rollout, after = unroll(policy, envs, begin(policy, envs), steps, key)
        return rollout, after.told.obs["state"], meter, envs

    _, last, meter, _ = taken(10, 6)
    assert meter.counts() == {"observations": 0, "steps": 20, "episodes": 6}
    assert (last[:, 1] == 1).all()  # the rate, which every observation shows
    rollout, last, meter, envs = taken(10, 5)
    assert meter.episodes == 5
    np.testing.assert_array_equal(last, [[0, 1], [0, 0]])
    assert (rollout.steps.obs["state"][..., 1] == 1).all()
    with pytest.raises(AllowanceSpent):
        envs.reset()
    with pytest.raises(SimulationError, match="must be reset"):
        taken(11, 5)


def test_a_scan_that_might_pass_a_limit_is_not_begun():
    policy = UniformPolicy(target_of(CLIMB)[0].spec.actions)
    for steps, limits in ((9, {"step_limit": 17}), (9, {"episode_limit": 19})):
        target, meter = target_of(CLIMB, **limits)
        envs = target.start(2, seed=0)
        told = begin(policy, envs).told
        before = meter.counts()
        assert envs.scan(step_policy, policy, told, (), steps, jax.random.key(0)) is None
        assert meter.counts() == before
    target, meter = target_of(CLIMB, step_limit=18, episode_limit=20)
    envs = target.start(2, seed=0)
    told = begin(policy, envs).told
    assert envs.scan(step_policy, policy, told, (), 9, jax.random.key(0)) is not None
    assert meter.counts() == {"observations": 0, "steps": 18, "episodes": 4}


class Telling(AbstractPolicy):
    """Its action is 0.5 where it is told a reward, and −0.5 where that is hidden."""

    @property
    def reads(self):
        return ("state",)

    def step(self, told: TimeStep, memory: Any, key: Any):
        return jnp.where(jnp.isnan(told.last_reward), -0.5, 0.5)[:, None], ()


@pytest.mark.parametrize("rewards", [True, False])
@pytest.mark.parametrize("domain", [TRACK, CLIMB])
@pytest.mark.parametrize("compiled", [True, False])
def test_hidden_rewards_are_hidden_everywhere(domain, rewards, compiled):
    """In steps, in rollouts, and in what a policy is told: on the host and in compiled code."""
    target, _ = target_of(domain, rewards=rewards, **({} if compiled else {"episode_limit": 30}))
    policy, envs = Telling(), target.start(3, seed=0)
    step = next(iter(play(policy, envs, begin(policy, envs), None))).step
    assert np.isnan(step.reward).all() == (not rewards)
    carry = begin(policy, envs)
    steps = 23
    if domain is CLIMB:
        scanned = envs.scan(step_policy, policy, carry.told, (), steps, None)
        assert (scanned is not None) == compiled
        envs, carry = (again := target.start(3, seed=0)), begin(policy, again)
    rollout, after = unroll(policy, envs, carry, steps, jax.random.key(0))
    hidden = np.isnan(np.asarray(rollout.steps.reward))
    assert hidden.all() if not rewards else not hidden.any()
    assert np.isnan(np.asarray(after.told.last_reward)).all() == (not rewards)
    begins = np.asarray(rollout.starts())
    expected = np.where(begins | rewards, 0.5, -0.5)  # an episode begins with a reward of 0
    np.testing.assert_array_equal(np.asarray(rollout.steps.action)[..., 0], expected)
    further, _ = unroll(policy, envs, after, 1, jax.random.key(0))
    assert np.isnan(np.asarray(further.last_reward)).all() == (not rewards)
    told = np.asarray(rollout.timesteps().last_reward)
    assert np.isnan(told[~begins]).all() == (not rewards)


def test_pre_training_is_told_rewards_only_if_access_says_so(tmp_path, monkeypatch):
    seen = {}

    def pretrain(self, source, target, key):
        envs = target.start(2, 0)
        envs.reset()
        seen["reward"] = envs.step(np.zeros((2, 1))).reward
        seen["left"] = target.steps_left, target.episodes_left
        return self.learner.knowledge(self.learner.init(source.spec, key))

    monkeypatch.setattr(own.Seeing, "pretrain", pretrain)
    for rewards in (False, True):
        access = Access(steps=10, rewards=rewards, shots=(0,))
        stated = replace(PROBLEM, name=f"told-{rewards}".lower(), access=access)
        job = make_job(stated, "own:Seeing", 0, tmp_path)
        prepare(job, resume=False)
        run(job)
        assert np.isnan(seen["reward"]).all() == (not rewards)
        assert seen["left"] == (8, 2 * 10 - 2)
