from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.hindsight import Hindsight
from headstart.experience.replay import Replay
from headstart.experience.transforms import BatchTransform
from headstart.experience.unroll import begin, unroll
from headstart.learners import off_policy
from headstart.learners.dqn import DQN
from headstart.learners.learner import NO_HOOKS, Hooks, Progress, Rates
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.policies.policy import UniformPolicy
from headstart.runs.metering import CountedSource

SMALL = SAC(
    hidden=(16,), num_envs=4, rollout_length=10, batch_size=32, buffer_size=256,
    learning_starts=120, updates_per_step=0.5, learning_rate=3e-3, temperature=0.3,
    reward_scale=0.5,
)  # fmt: skip
SPEC = EnvSpec("archery", {"state": Group((2,))}, Actions((1,)), 1)


def random_rollout():
    running = envs.start(Domain("archery"), 4, 0)
    uniform = UniformPolicy(SPEC.actions)
    return unroll(uniform, running, begin(uniform, running), 10, jax.random.key(0))[0]


def test_updates_in_one_call_are_those_of_separate_calls():
    rollout = random_rollout()
    one, fresh = (SMALL.init(SPEC, jax.random.key(0)) for _ in range(2))
    replay, agent, key = one.replay.add(rollout.steps), one.agent, jax.random.key(3)
    drawn = jax.jit(Replay.transitions, static_argnums=(1, 2))
    learn = jax.jit(lambda *args: SMALL.step(*args[:3], NO_HOOKS, 0.0, args[3]))
    batched = jax.jit(SMALL.batch)
    # 40 steps past the random ones, and half a gradient step for each.
    for each in jax.random.split(key, 20):
        sample_key, learn_key, *_ = jax.random.split(each, 4)
        window = drawn(replay, 32, 1, sample_key)
        agent, _ = learn(agent, window, batched(window), learn_key)
    many, _ = SMALL.update(fresh, rollout, Progress(120, 1000), NO_HOOKS, key)
    for a, b in zip(jax.tree.leaves(agent), jax.tree.leaves(many.agent), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert eqx.tree_equal(replay, many.replay)


def test_statistics_count_what_was_seen_once_and_stand_still_where_they_are_frozen():
    rollout, counting = random_rollout(), replace(SMALL, encoders=("state=statistics",))
    state = counting.init(SPEC, jax.random.key(0))
    for _ in range(2):
        state, _ = counting.update(state, rollout, Progress(120, 1000), NO_HOOKS, jax.random.key(1))
    seen, found = rollout.steps.obs["state"].reshape(-1, 2), state.policy.encoders.by_group["state"]
    np.testing.assert_allclose(found.mean, seen.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.var, seen.var(0), rtol=1e-4)
    np.testing.assert_array_equal(found.count, 80)
    still = Hooks(rates=Rates(statistics=False))
    state, _ = counting.update(state, rollout, Progress(160, 1000), still, jax.random.key(2))
    np.testing.assert_array_equal(state.policy.encoders.by_group["state"].count, 80)


def test_the_slow_copy_of_dqn_sees_by_the_statistics_of_the_policy():
    """Its values, and so all that is learned, are those of normalised observations from the first
    gradient step on: inputs that are shifted and stretched change nothing."""
    counting = DQN(
        hidden=(16,), num_envs=4, rollout_length=10, batch_size=32, buffer_size=256,
        learning_starts=40, encoders=("state=statistics",),
    )  # fmt: skip
    spec = EnvSpec("bits", {"state": Group((2,))}, Actions((), (2,)), 1)
    steps = random_rollout().steps
    seen = np.random.default_rng(0).normal(size=(2, 10, 4, 2)).astype(np.float32)
    learned: list[np.ndarray] = []
    for scale, shift in ((1.0, 0.0), (50.0, 3000.0)):
        obs, next_obs = ({"state": scale * one + shift} for one in seen)
        moved = steps._replace(
            obs=obs,
            next_obs=next_obs,
            action=np.zeros((10, 4), np.int32),
            terminated=np.zeros((10, 4), bool),
        )
        rollout = random_rollout()._replace(steps=moved)
        state = counting.init(spec, jax.random.key(0))
        state, log = counting.update(
            state, rollout, Progress(40, 1000), NO_HOOKS, jax.random.key(1)
        )
        learned.append(np.array([log["value_loss"], log["value"]]))
    np.testing.assert_allclose(*learned, rtol=1e-2)


@pytest.mark.parametrize(("each", "taken"), [(0.3125, [2, 3] * 4), (1.0, [8] * 8)])
def test_gradient_steps_are_as_many_as_stated(each, taken, counts):
    """For each of the 8 rollouts of 8 steps after the random ones."""
    few = replace(SMALL, rollout_length=2, learning_starts=16, updates_per_step=each)
    train(few, CountedSource(Domain("archery")), 80, jax.random.key(0))
    assert counts == [0, 0, *taken]


def test_priming_comes_once_where_learning_begins(counts):
    few = replace(SMALL, rollout_length=2, learning_starts=16, updates_per_step=0.5, priming=100)
    train(few, CountedSource(Domain("archery")), 40, jax.random.key(0))
    assert counts == [0, 0, 104, 4, 4]


class Tallied(BatchTransform):
    """A transform that counts batches, and pays nothing for what was done."""

    compares = True

    def __call__(self, state, batch, reference, steps, key):
        return state + 1, batch._replace(reward=0 * batch.reward), {"steps_then": steps}


def test_every_batch_is_transformed():
    rollout = random_rollout()
    fresh = SMALL.init(SPEC, jax.random.key(0)).with_transform(0)
    hooks = Hooks(None, Tallied(), fresh.replay.add(rollout.steps))
    found, log = SMALL.update(fresh, rollout, Progress(120, 1000), hooks, jax.random.key(3))
    assert int(found.transform) == 20
    assert float(log["steps_then"]) == 160


class Watched(BatchTransform):
    """A transform that changes nothing, and logs what it is shown."""

    compares = False

    def __call__(self, state, batch, reference, steps, key):
        first, second = jnp.split(batch.action.reshape(len(batch.action), -1), 2)
        return state, batch, {"reward": batch.reward, "twice": (first == second).all(-1)}


def test_what_is_learned_from_is_told_other_goals():
    """Of fifteen bits random actions never meet the goal. An episode's last step meets its own, and
    so does the newest: two of sixteen."""
    dqn = DQN(
        hidden=(8,), num_envs=4, rollout_length=16, batch_size=64, learning_starts=0, n_step=1
    )
    running = envs.start(Domain("bit-flip", bits=15), 4, 0)
    policy, spec = UniformPolicy(running.spec.actions), running.spec
    rollout, _ = unroll(policy, running, begin(policy, running), 16, jax.random.key(0))
    for share, met in ((0.0, 0.0), (1.0, 2 / 16)):
        told = Hindsight(spec.goals, spec.horizon, "final", share)
        hooks = Hooks(transform=Watched(), hindsight=told)
        fresh = dqn.init(spec, jax.random.key(0)).with_transform(0)
        _, log = dqn.update(fresh, rollout, Progress(0, 1000), hooks, jax.random.key(1))
        assert 1 + log["reward"].mean() == pytest.approx(met, abs=0.04)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_batch_may_be_of_one_replay_alone(share):
    rollout = random_rollout()
    fresh = SMALL.init(SPEC, jax.random.key(0)).with_transform(0)
    kept = fresh.replay.add(rollout.steps._replace(reward=7 + 0 * rollout.steps.reward))
    hooks = Hooks(transform=Watched(), kept=kept, kept_share=share)
    _, log = SMALL.update(fresh, rollout, Progress(120, 1000), hooks, jax.random.key(3))
    assert (log["reward"] == 7).all() == bool(share)


def test_what_is_kept_is_drawn_by_itself():
    rollout = random_rollout()
    fresh = SMALL.init(SPEC, jax.random.key(0)).with_transform(0)
    kept = fresh.replay.add(rollout.steps)
    hooks = Hooks(transform=Watched(), kept=kept, kept_share=0.5)
    _, log = SMALL.update(fresh, rollout, Progress(120, 1000), hooks, jax.random.key(3))
    assert log["twice"].mean() < 0.2


def test_the_random_steps_are_whole_rollouts():
    assert off_policy.learning_begins(SMALL) == 120
    assert off_policy.learning_begins(replace(SMALL, learning_starts=121)) == 160
    assert off_policy.learning_begins(replace(SMALL, learning_starts=0)) == 0


def test_a_training_that_would_be_random_to_its_end_is_refused():
    with pytest.raises(HeadstartError, match="the first 120 of 120 steps are random"):
        SMALL.init(SPEC, jax.random.key(0), total=120)
    assert SMALL.init(SPEC, jax.random.key(0), total=160).replay.slots == 40
    choice = replace(SPEC, actions=Actions((), (2,)))
    with pytest.raises(HeadstartError, match="the first 1000 of 900 steps are random"):
        DQN().init(choice, jax.random.key(0), total=900)


def test_actions_beyond_their_range_are_not_remembered():
    rollout = random_rollout()
    wild = rollout._replace(steps=rollout.steps._replace(action=rollout.steps.action * 9))
    state = SMALL.init(SPEC, jax.random.key(0))
    with pytest.raises(HeadstartError, match="those executed lie in"):
        SMALL.update(state, wild, Progress(120, 1000), NO_HOOKS, jax.random.key(0))
