"""Getting somewhere, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.navigation import maze, navigation
from headstart.envs.point_mass import State

KEY = jax.random.key(0)
OPEN = {name: jnp.float32(p.nominal) for name, p in navigation.parameters.items()}
BLOCKED = OPEN | {"obstacle": jnp.float32(6.0)}
NOWHERE = {name: jnp.float32(p.nominal) for name, p in maze.parameters.items()}


def walk(env, p, pushes):
    """Rewards and places of one who starts at rest and pushes so, `[(x, y, steps), …]`."""
    actions = jnp.float32([(x, y) for x, y, steps in pushes for _ in range(steps)])

    def step(state, action):
        state, reward, _ = env.step(state, action, p, KEY)
        return state, (reward, state.position)

    start = State(jnp.float32(env.start_at), jnp.zeros(2))
    rewards, places = jax.lax.scan(step, start, actions)[1]
    return np.asarray(rewards), np.asarray(places)


def test_a_step_is_paid_by_how_much_nearer_the_goal_is_whichever_way_is_taken():
    for way in ([(1, 0, 30)], [(0.6, 0.8, 25), (0.6, -0.8, 40), (1, 0, 10)], [(0, -1, 20)]):
        rewards, places = walk(navigation, OPEN, way)
        nearer = 8 - np.hypot(*(places[-1] - [8, 0]))
        assert rewards.sum() * 0.2 == pytest.approx(nearer, abs=1e-3)
        assert rewards.max() <= 1 + 1e-5
    straight, _ = walk(navigation, OPEN, [(1, 0, 30)])
    assert straight[-1] == pytest.approx(1.0, abs=1e-3)


def test_an_obstacle_is_on_the_straight_way_and_can_be_passed_on_either_side():
    _, places = walk(navigation, BLOCKED, [(1, 0, 60)])
    assert 3.4 < places[-1, 0] <= 3.7
    for side in (1, -1):
        _, places = walk(navigation, BLOCKED, [(0, side, 20), (1, 0, 40)])
        assert places[-1, 0] > 6
    _, places = walk(navigation, BLOCKED, [(0, 1, 10), (1, 0, 40)])
    assert places[-1, 0] <= 3.7


def test_who_meets_a_wall_slides_along_it():
    at_the_wall = State(jnp.float32([3.69, 0.0]), jnp.float32([2.0, 0.0]))
    after, _, _ = navigation.step(at_the_wall, jnp.float32([1, 1]), BLOCKED, KEY)
    assert after.velocity[0] == 0
    assert after.velocity[1] > 0
    assert after.position[0] == at_the_wall.position[0]
    assert after.position[1] > 0


def test_nobody_leaves_the_arena():
    for way in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1)):
        _, places = walk(navigation, OPEN, [(*way, 100)])
        left, right, bottom, top = navigation.bounds
        assert (places >= [left, bottom]).all()
        assert (places <= [right, top]).all()


def test_in_the_maze_nothing_is_paid_before_the_goal_which_is_behind_a_wall():
    rewards, places = walk(maze, NOWHERE, [(0, 1, 80)])
    assert rewards.sum() == 0
    assert places[-1, 1] <= 1.6
    rewards, places = walk(maze, NOWHERE, [(1, 0, 22), (0, 1, 16), (-1, 0, 22), (0, 0, 20)])
    assert rewards.sum() > 10
    assert set(rewards.tolist()) == {0.0, 1.0}
    near = np.hypot(*(places - np.array(maze.goal)).T) < maze.near
    np.testing.assert_array_equal(rewards, near)


def test_the_mazes_goal_may_be_elsewhere():
    moved = NOWHERE | {"goal_x": jnp.float32(4.3), "goal_y": jnp.float32(0.7)}
    rewards, places = walk(maze, moved, [(1, 0, 30)])
    near = np.hypot(*(places - np.array([4.3, 0.7])).T) < maze.near
    np.testing.assert_array_equal(rewards, near)
    assert rewards.sum() > 1
    goals = maze.floor_map({k: float(v) for k, v in moved.items()}).marks
    assert goals["goal"] == pytest.approx((4.3, 0.7))


def test_pictures_show_the_walls_and_the_goal():
    state = State(jnp.zeros(2), jnp.zeros(2))
    plain = navigation.picture(state, {k: float(v) for k, v in OPEN.items()})
    blocked = navigation.picture(state, {k: float(v) for k, v in BLOCKED.items()})
    assert plain.shape == blocked.shape == (240, 240, 3)
    assert maze.picture(state, {k: float(v) for k, v in NOWHERE.items()}).shape == (240, 300, 3)
    assert (plain != blocked).any()
    assert len(navigation.floor_map({k: float(v) for k, v in BLOCKED.items()}).blocks) == 1
    assert not navigation.floor_map({k: float(v) for k, v in OPEN.items()}).blocks
