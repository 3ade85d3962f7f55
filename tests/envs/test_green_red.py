"""Reach the green and avoid the red, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.envs.green_red import GREEN, RED, green_red
from headstart.envs.point_mass import State
from headstart.envs.spec import check_alike

NOMINAL = {name: jnp.float32(p.nominal) for name, p in green_red.parameters.items()}
UP, RIGHT = (0.0, 1.0), (1.0, 0.0)


def walk(p, *pushes):
    """Rewards and places of one who starts at rest and pushes so, `((x, y), steps), …`."""
    actions = jnp.float32([push for push, steps in pushes for _ in range(steps)])

    def step(state, action):
        state, reward, _ = green_red.step(state, action, p, jax.random.key(0))
        return state, (reward, state.position)

    start = State(jnp.float32(green_red.start_at), jnp.zeros(2))
    rewards, places = jax.lax.scan(step, start, actions)[1]
    return np.asarray(rewards), np.asarray(places)


def test_the_straight_way_is_through_the_red_and_the_way_around_costs_nothing():
    nearer = np.hypot(4.8, 4.8) / 0.2  # in steps at full speed
    straight, places = walk(NOMINAL, ((0.7071, 0.7071), 36))
    inside = ((places > 1.5) & (places < 4.5)).all(1)
    assert 20 <= inside.sum() <= 22
    np.testing.assert_array_equal(green_red.in_red(places), inside)
    last = np.hypot(*(places[-1] - [5.4, 5.4])) / 0.2
    assert straight.sum() == pytest.approx(nearer - last - 2 * inside.sum(), abs=1e-2)
    around, places = walk(NOMINAL, (RIGHT, 26), (UP, 26))
    assert green_red.in_green(places[-1])
    assert not green_red.in_red(places).any()
    assert around.sum() > nearer - 2.5


def test_what_the_red_costs_is_a_parameter_and_the_goal_that_is_told_changes_no_reward():
    way = ((0.7071, 0.7071), 36)
    free, places = walk(NOMINAL | {"red": jnp.float32(0)}, way)
    dear, _ = walk(NOMINAL | {"red": jnp.float32(20)}, way)
    np.testing.assert_allclose(free - dear, 20 * green_red.in_red(places), atol=1e-4)
    elsewhere, _ = walk(NOMINAL | {"goal_x": jnp.float32(0.6)}, way)
    np.testing.assert_array_equal(elsewhere, walk(NOMINAL, way)[0])


def test_it_is_no_goal_and_is_seen_and_acted_in_as_the_maze_of_goals():
    here, there = envs.spec_of(Domain("green-red")), envs.spec_of(Domain("point-maze"))
    assert here.goals is None
    check_alike(there, here)
    both = [Domain("point-maze", wall=0), Domain("green-red")]
    seen = [envs.start(domain, 4, 0) for domain in both]
    for group in ("observation", ACHIEVED, DESIRED):
        first, second = (running.reset()[group] for running in seen)
        np.testing.assert_array_equal(first, second)


def test_a_picture_shows_the_green_the_red_and_the_place_that_is_told():
    state = State(jnp.float32([0.6, 0.6]), jnp.zeros(2))
    drawn = green_red.picture(state, {name: float(v) for name, v in NOMINAL.items()})
    assert drawn.shape == (240, 240, 3)
    for place, shade in (((3.0, 3.0), RED), ((5.4, 5.4), GREEN)):
        x, y = (round(40 * c) for c in (place[0], 6 - place[1]))
        np.testing.assert_array_equal(drawn[y, x], shade)
    moved = green_red.picture(state, {"goal_x": 1.0, "goal_y": 5.0, "red": 5.0})
    assert (moved != drawn).any()
    marks = green_red.floor_map({"goal_x": 1.0, "goal_y": 5.0, "red": 5.0}).marks
    assert marks["green"] == (5.4, 5.4)
