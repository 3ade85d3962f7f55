"""A puck that is seen from above."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.envs.puck import PIXELS, State, puck, seen_from_above

P = {"light": jnp.array(1.0)}
KEY = jax.random.key(0)


@pytest.mark.parametrize("light", [0.2, 1.0])
def test_a_place_is_found_in_its_picture(light):
    places = np.random.default_rng(0).uniform(-1, 1, (300, 2)).astype(np.float32)
    pictures = jax.vmap(lambda place: seen_from_above(place, light))(places)
    assert pictures.dtype == np.uint8
    assert np.abs(puck.goals.place(pictures) - places).max() < 0.015


def test_right_is_right_and_up_is_up():
    picture = np.asarray(seen_from_above(jnp.array([1.0, 0.5]), 1.0))[..., 0]
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert row < PIXELS / 2 < column


def test_an_action_moves_it_and_the_table_ends():
    state = State(jnp.array([0.95, 0.0]), jnp.array([0.85, -0.05]))
    after, reward, ended = puck.step(state, jnp.array([3.0, -0.5]), P, KEY)
    np.testing.assert_allclose(after.place, [1.0, -0.05], atol=1e-6)
    assert (reward, ended) == (-1.0, False)
    _, reward, _ = puck.step(state, jnp.array([-0.5, 0.0]), P, KEY)
    assert reward == 0.0


def test_success_is_a_tenth_of_a_metre():
    goal = seen_from_above(jnp.array([0.3, -0.2]), 1.0)
    for away, there in ((0.08, True), (0.12, False)):
        other = seen_from_above(jnp.array([0.3 + away, -0.2]), 1.0)
        assert puck.goals.success(other, goal) == there
        assert puck.goals.reward(other, goal) == (0.0 if there else -1.0)


def test_what_is_observed_is_pictures():
    running = envs.start(Domain("puck", light=0.5), 3, 0)
    assert running.spec.groups["observation"].kind == "image"
    obs = running.reset()
    np.testing.assert_array_equal(obs["observation"], obs[ACHIEVED])
    assert (obs["observation"] != obs[DESIRED]).any()
    assert 110 < obs["observation"].max() <= 128


def test_its_picture_shows_goal_and_puck():
    state = State(jnp.array([-0.8, 0.8]), jnp.array([0.8, -0.8]))
    picture = puck.picture(state, {"light": 1.0})
    assert picture.shape == (240, 240, 3)
    assert picture.dtype == np.uint8
    dark, goal = picture[50, 50].astype(int), picture[190, 190].astype(int)
    assert dark.sum() < 330
    assert goal[0] > goal[2] + 60
