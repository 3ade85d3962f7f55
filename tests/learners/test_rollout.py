import jax
import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, envs
from headstart.learners.ppo import PPO
from headstart.learners.rollout import Episodes, chunk, episodes, returns

POLICY = (
    PPO(hidden=(8,)).init(spaces.Box(-1, 1, (4,)), spaces.Discrete(2), jax.random.key(0)).policy
)


def start(num, seed=0):
    return envs.start(Domain("gym:CartPole-v1"), num, seed)


def test_a_chunk_bootstraps_from_where_actions_led():
    batch = start(3)
    taken, obs = chunk(POLICY, batch, batch.reset(), 60, jax.random.key(0))
    ended = taken.terminated | taken.truncated
    assert ended.any()
    follows = (taken.next_obs[:-1] == taken.obs[1:]).all(-1)
    np.testing.assert_array_equal(follows, ~ended[:-1])
    np.testing.assert_array_equal(
        obs[~ended[-1]], taken.next_obs[-1][~ended[-1]].astype(np.float64)
    )


@pytest.mark.parametrize("rounds", [1, 3])
def test_every_copy_gives_its_episodes_whole_and_in_order(rounds):
    tried = episodes(POLICY, start(5), rounds, jax.random.key(0))
    assert len(tried.returns) == 5 * rounds
    ends = tried.terminated | tried.truncated
    np.testing.assert_array_equal(np.flatnonzero(ends) + 1, tried.starts[1:])
    inside = ~ends[:-1]
    np.testing.assert_array_equal(tried.next_obs[:-1][inside], tried.obs[1:][inside])
    np.testing.assert_allclose(tried.returns, tried.lengths)  # a reward of 1 a step
    assert len(np.unique(tried.obs, axis=0)) == len(tried.obs)


def test_what_is_stored_is_what_was_played():
    tried = episodes(POLICY, start(4), key=jax.random.key(0))
    import gymnasium

    batch = start(4)
    batch.reset()
    seeds = batch._engine._seeds
    for i in range(4):
        env = gymnasium.make("CartPole-v1")
        obs, _ = env.reset(seed=int(seeds[i]))
        for t in range(tried.starts[i], tried.starts[i + 1]):
            np.testing.assert_array_equal(tried.obs[t].astype(np.float32), obs)
            obs, reward, terminated, *_ = env.step(int(tried.action[t]))
            np.testing.assert_array_equal(tried.next_obs[t].astype(np.float32), obs)
            assert (tried.reward[t], tried.terminated[t]) == (reward, terminated)


def test_returns_are_those_of_the_greedy_episodes():
    scored = returns(POLICY, start(4, seed=3), rounds=2)
    tried = episodes(POLICY, start(4, seed=3), rounds=2)
    np.testing.assert_allclose(scored.ravel(), tried.returns)


def test_padding_is_marked_and_weights_are_per_episode():
    tried = episodes(POLICY, start(4), key=jax.random.key(0))
    weight = np.array([0.0, 1.0, 0.0, 2.0])
    packed = tried.transitions(16, weight)
    count = len(tried.reward)
    assert packed.reward.shape == (packed.valid.size, 1)
    assert packed.valid.size % 16 == 0
    assert packed.valid.sum() == count
    np.testing.assert_array_equal(packed.weight[:count, 0], np.repeat(weight, tried.lengths))
    assert (packed.weight[count:] == 0).all()


def test_joined_sets_keep_their_episodes():
    a, b = (episodes(POLICY, start(2, seed), key=jax.random.key(0)) for seed in (0, 1))
    both = Episodes.joined([a, b])
    np.testing.assert_array_equal(both.returns, np.concatenate([a.returns, b.returns]))
