"""Goals: ours, and those of an environment that computes rewards by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probes
from headstart import envs
from headstart.envs.goals import ACHIEVED, DESIRED, Near
from headstart.errors import HeadstartError
from headstart.experience.unroll import episodes
from headstart.policies.encoders import encoders_for
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain
from headstart.runs.evaluation import scored


def test_near_by_hand():
    achieved, goal = jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.array([[0.3, 0.3], [0.0, 0.0]])
    goals = Near(0.5, rewards=(-2, 1))
    np.testing.assert_array_equal(goals.success(achieved, goal), [True, False])
    np.testing.assert_array_equal(goals.reward(achieved, goal), [1, -2])


@pytest.mark.parametrize("name", ["probes:Reach", "bit-flip"])
def test_the_reward_and_the_end_follow_from_what_was_achieved(name):
    running = envs.start(Domain(name, **({"bits": 3} if name == "bit-flip" else {})), 16, 0)
    steps = episodes(UniformPolicy(running.spec.actions), running, 2, jax.random.key(0)).steps
    goals = running.spec.goals
    assert goals.ends
    pair = [np.float32(steps.next_obs[group]) for group in (ACHIEVED, DESIRED)]
    np.testing.assert_array_equal(jax.jit(goals.reward)(*pair), np.float32(steps.reward))
    np.testing.assert_array_equal(jax.jit(goals.success)(*pair), steps.terminated)
    assert 0 < steps.terminated.mean() < 1


class First(UniformPolicy):
    """The first action, always."""

    def step(self, told, memory, key):
        return jnp.zeros(len(told.begins), jnp.int32), ()


def test_success_is_counted_by_episodes():
    bits, grid = Domain("bit-flip", bits=2), Domain("grid")
    returns, met = scored(bits, First(envs.spec_of(bits).actions), 100, 0)
    np.testing.assert_array_equal(met, returns > -2)
    assert 0 < met.mean() < 1
    assert scored(grid, First(envs.spec_of(grid).actions), 4, 0)[1] is None


def test_no_policy_reads_what_was_achieved():
    spec = envs.spec_of(Domain("bit-flip"))
    encoders = encoders_for(spec, "identity", (), jax.random.key(0))
    assert encoders.reads == ("action_mask", "desired_goal", "observation")


def test_rewards_are_computed_of_many_at_once():
    with pytest.raises(HeadstartError, match="let it compute many at once"):
        envs.find("probes:OneByOne")
    assert isinstance(probes.OneByOne().reset()[0], dict)


def test_every_step_flips_one_bit_and_no_other():
    running = envs.start(Domain("bit-flip", bits=7), 32, 0)
    rollout = episodes(UniformPolicy(running.spec.actions), running, 1, jax.random.key(1)).steps
    changed = rollout.next_obs["observation"] != rollout.obs["observation"]
    np.testing.assert_array_equal(changed, np.eye(50, dtype=bool)[rollout.action])
    assert rollout.action.max() == 6
    assert (rollout.obs[DESIRED][:, 7:] == 0).all()
