from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.archery import State, archery, expected_reward, soft_reward

KEY = jax.random.key(0)
SOURCE = {"wind": 1.0, "gust": 1.0}
TARGET = {"wind": 0.0, "gust": 0.3}


@jax.jit
def shoot(action, p, keys):
    start = archery.reset(p, KEY)
    return jax.vmap(archery.step, (None, None, None, 0))(start, action, p, keys)


def shots(degrees, p, num=20_000, seed=0):
    p = {name: jnp.float32(value) for name, value in p.items()}
    return shoot(jnp.float32([degrees / 2]), p, jax.random.split(jax.random.key(seed), num))


@pytest.mark.parametrize("p", [SOURCE, TARGET])
@pytest.mark.parametrize("degrees", [-2.0, -0.8185, 0.0, 1.0])
def test_rewards_agree_with_the_closed_forms(p, degrees):
    _, reward, _ = shots(degrees, p)
    error = 4 * np.std(reward) / np.sqrt(len(reward))
    assert abs(np.mean(reward) - expected_reward(degrees, p)) < error
    soft = np.exp(soft_reward(degrees, p))
    error = 4 * np.std(np.exp(reward)) / np.sqrt(len(reward))
    assert abs(np.mean(np.exp(reward)) - soft) < error


@pytest.mark.parametrize("objective", [expected_reward, soft_reward])
def test_the_best_angle_is_the_papers(objective):
    degrees = np.linspace(-2, 2, 40_001)
    best = {
        wind: degrees[np.argmax(objective(degrees, SOURCE | {"wind": wind}))] for wind in (0, 1)
    }
    assert best[1] == pytest.approx(-0.8185, abs=1e-3)
    assert best[0] == pytest.approx(0, abs=1e-9)
    assert degrees[np.argmax(objective(degrees, TARGET))] == pytest.approx(0, abs=1e-9)


def test_the_sources_best_angle_misses_in_the_target():
    assert expected_reward(0.0, TARGET) == pytest.approx(-0.045)
    assert expected_reward(-0.8185, TARGET) == pytest.approx(-0.545, abs=1e-3)


def test_the_wind_drifts_and_the_gust_spreads():
    state, _, _ = shots(0.0, {"wind": -1.5, "gust": 0.5})
    assert np.mean(state.y) == pytest.approx(-1.5, abs=0.02)
    assert np.std(state.y) == pytest.approx(0.5, abs=0.02)


def test_one_shot_ends_the_episode_and_is_seen():
    p = {name: jnp.float32(value) for name, value in SOURCE.items()}
    start = archery.reset(p, KEY)
    np.testing.assert_array_equal(archery.observe(start, p, KEY), [0, 0])
    state, reward, terminated = archery.step(start, jnp.float32([0.3]), p, KEY)
    observation = archery.observe(state, p, KEY)
    assert observation.dtype == np.float32
    np.testing.assert_array_equal(observation, [state.y, 1])
    assert reward == pytest.approx(-(float(state.y) ** 2) / 2, rel=1e-6)
    assert terminated
    again, _, _ = archery.step(start, jnp.float32([0.3]), p, KEY)
    assert again.y == state.y


def test_the_picture_shows_where_the_arrow_landed():
    pictures = [
        archery.picture(State(np.float32(y), np.float32(shot)), SOURCE)
        for y, shot in ((0, 0), (0, 1), (1, 1), (50, 1))
    ]
    assert all((picture.shape, picture.dtype) == ((240, 240, 3), np.uint8) for picture in pictures)
    assert all((a != b).any() for a, b in pairwise(pictures))
