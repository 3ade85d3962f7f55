import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.grid import DOWN, GOAL, LEFT, RIGHT, UP, State, grid, walls

KEY = jax.random.key(0)
OPEN = {"wall": jnp.float32(0), "slip": jnp.float32(0)}
WALLED = {"wall": jnp.float32(1), "slip": jnp.float32(0)}
STRAIGHT = [RIGHT] * 8
OVER = [UP] * 7 + [RIGHT] * 8 + [DOWN] * 7

step, reset = jax.jit(grid.step), jax.jit(grid.reset)


def at(x, y):
    return State(jnp.int32(x), jnp.int32(y))


@jax.jit
def walk(state, actions, p, keys):
    def one(state, action_and_key):
        action, key = action_and_key
        state, reward, terminated = step(state, action, p, key)
        return state, (state, reward, terminated)

    return jax.lax.scan(one, state, (actions, keys))[1]


def walked(state, actions, p, seed=0):
    keys = jax.random.split(jax.random.key(seed), len(actions))
    return walk(state, jnp.array(actions), p, keys)


def test_starts_at_the_left_in_each_of_three_rows():
    keys = jax.random.split(KEY, 3000)
    state = jax.vmap(reset, (None, 0))(OPEN, keys)
    assert (state.x == 0).all()
    np.testing.assert_allclose(np.bincount(state.y) / 3000, 1 / 3, atol=0.04)
    again = jax.vmap(reset, (None, 0))(OPEN, keys)
    np.testing.assert_array_equal(state.y, again.y)


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        ((4, 4), UP, (4, 5)),
        ((4, 4), DOWN, (4, 3)),
        ((4, 4), RIGHT, (5, 4)),
        ((4, 4), LEFT, (3, 4)),
        ((0, 0), LEFT, (0, 0)),
        ((0, 0), DOWN, (0, 0)),
        ((8, 8), RIGHT, (8, 8)),
        ((8, 8), UP, (8, 8)),
    ],
)
def test_moves_by_one_and_not_off_the_grid(start, action, end):
    state, _, _ = step(at(*start), jnp.int32(action), OPEN, KEY)
    assert (int(state.x), int(state.y)) == end


def test_the_goal_pays_one_and_ends_the_episode():
    state, reward, terminated = walked(at(0, 0), STRAIGHT, OPEN)
    assert (int(state.x[-1]), int(state.y[-1])) == GOAL
    assert reward.tolist() == [0] * 7 + [1]
    assert terminated.tolist() == [False] * 7 + [True]


def test_the_wall_blocks_the_straight_way_and_leaves_the_way_over_the_top():
    state, reward, _ = walked(at(0, 0), STRAIGHT, WALLED)
    assert int(state.x[-1]) == 3
    assert reward.sum() == 0
    _, reward, terminated = walked(at(0, 0), OVER, WALLED)
    assert (reward.sum(), bool(terminated[-1])) == (1, True)


def test_every_shortest_way_is_blocked_but_the_goal_can_be_reached():
    wall = walls({"wall": 1.0})
    assert not walls({"wall": 0.0}).any()
    for row in range(3):
        assert distance((0, row), np.zeros_like(wall)) == 8 + row
        assert 8 + row < distance((0, row), wall) < grid.horizon


def distance(start, wall):
    """Steps of the shortest way to the goal, by flooding the grid."""
    reached, steps = np.zeros_like(wall), 0
    reached[start] = True
    while not reached[GOAL]:
        wider = np.pad(reached, 1)
        spread = wider[2:, 1:-1] | wider[:-2, 1:-1] | wider[1:-1, 2:] | wider[1:-1, :-2]
        reached, steps = (reached | spread) & ~wall, steps + 1
    return steps


def test_no_one_ever_stands_in_the_wall():
    actions = np.random.default_rng(0).integers(0, 4, (500, 64))
    keys = jax.random.split(KEY, (500, 64))
    start = at(np.zeros(64), np.zeros(64))
    state, _, _ = jax.vmap(walk, (0, 1, None, 1), 1)(start, actions, WALLED, keys)
    visited = np.zeros((9, 9), bool)
    visited[state.x, state.y] = True
    np.testing.assert_array_equal(visited, ~walls({"wall": 1.0}))


@pytest.mark.parametrize("slip", [0.0, 0.4, 1.0])
def test_slip_is_the_probability_of_a_random_move(slip):
    p = OPEN | {"slip": jnp.float32(slip)}
    keys = jax.random.split(KEY, 4000)
    state, _, _ = jax.vmap(step, (None, None, None, 0))(at(4, 4), jnp.int32(UP), p, keys)
    went = np.mean((state.x == 4) & (state.y == 5))
    np.testing.assert_allclose(went, 1 - slip + slip / 4, atol=0.03 if slip else 0)
    if slip:
        np.testing.assert_allclose(np.mean(state.x == 3), slip / 4, atol=0.03)


def test_sees_its_column_and_row():
    for place, seen in {(0, 0): [-1, -1], (8, 0): [1, -1], (4, 6): [0, 0.5]}.items():
        observation = grid.observe(at(*place), OPEN, KEY)
        np.testing.assert_allclose(observation, seen)
        assert observation.dtype == np.float32
        assert grid.observation_space.contains(np.asarray(observation))


def test_the_picture_shows_the_agent_and_the_wall():
    one = grid.picture(State(np.int32(0), np.int32(0)), {"wall": 0.0, "slip": 0.0})
    other = grid.picture(State(np.int32(1), np.int32(0)), {"wall": 0.0, "slip": 0.0})
    walled = grid.picture(State(np.int32(0), np.int32(0)), {"wall": 1.0, "slip": 0.0})
    assert (one.shape, one.dtype) == ((243, 243, 3), np.uint8)
    assert (one != other).any()
    assert (one != walled).any()
