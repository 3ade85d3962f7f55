"""MinAtar's games, held to pgx's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import headstart.envs
from headstart import envs
from headstart.envs.minatar import GAMES, KINDS, MinAtar
from headstart.experience.unroll import begin, unroll
from headstart.learners.ppo import PPO
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain, mixture

NAMES = [name for name in envs.ENVIRONMENTS if name.startswith("minatar-")]


@pytest.mark.parametrize("game", GAMES)
def test_steps_are_those_of_pgx(game):
    ours, p = MinAtar(game), {"sticky": jnp.float32(0.1)}
    theirs = KINDS[game](use_minimal_action_set=False, sticky_action_prob=0.1)
    start = jax.random.key(3)
    state, other = ours.reset(p, start), theirs.init(start)
    step, their_step = jax.jit(ours.step), jax.jit(theirs.step)
    for t in range(60):
        key = jax.random.fold_in(start, t)
        action = jax.random.randint(key, (), 0, 6)
        state, reward, terminated = step(state, action, p, key)
        other = their_step(other, action, key)
        seen, channels = ours.observe(state, p, key), other.observation.shape[-1]
        np.testing.assert_array_equal(seen[..., :channels], 255 * np.uint8(other.observation))
        assert (np.asarray(seen[..., channels:]) == 0).all()
        assert (reward, terminated) == (other.rewards[0], other.terminated)
        if terminated:
            break


def test_actions_that_stick_are_repeated():
    def moved(sticky):
        running = envs.start(Domain("minatar-breakout", sticky=sticky), 32, 0)
        policy = UniformPolicy(running.spec.actions)
        steps = unroll(policy, running, begin(policy, running), 20, jax.random.key(0))[0].steps
        paddle = np.asarray(steps.next_obs["pixels"])[..., -1, :, 0].argmax(-1)
        return (np.diff(paddle, axis=0) != 0).mean()

    assert moved(1.0) == 0 < 0.15 < moved(0.0)


def test_one_policy_is_told_which_game_it_plays():
    domain = mixture([Domain(name) for name in NAMES], shows=["task"])
    running = envs.start(domain, 8, 0)
    assert type(running) is headstart.envs.jax_env.JaxVectorEnv
    learner = PPO(num_envs=8, rollout_length=4, minibatch_size=32, epochs=1)
    policy = learner.policy(learner.init(running.spec, jax.random.key(0)))
    assert policy.encoders.size == 128 + len(NAMES)
    steps = unroll(policy, running, begin(policy, running), 4, jax.random.key(0))[0].steps
    assert steps.obs["pixels"].shape == (4, 8, 10, 10, 10)
