import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.plane import State
from headstart.envs.runner import runner

KEY = jax.random.key(0)
OPEN = {name: jnp.float32(p.nominal) for name, p in runner.parameters.items()}


def hallway(leads):
    return OPEN | {"hallway": jnp.float32(1), "leads": jnp.float32(leads)}


def run(degrees, p):
    """Rewards `[horizon]` and places `[horizon, 2]` of one who pushes one way all the time."""
    angle = np.deg2rad(degrees)
    action = jnp.float32([np.cos(angle), np.sin(angle)])

    def step(state, _):
        state, reward, _ = runner.step(state, action, p, KEY)
        return state, (reward, state.position)

    return jax.lax.scan(step, runner.reset(p, KEY), None, runner.horizon)[1]


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180, -90, -30])
def test_in_the_open_every_direction_is_worth_the_same(degrees):
    reward, place = run(degrees, OPEN)
    assert reward.sum() == pytest.approx(47.5, abs=2.0)
    assert reward.max() <= 1 + 1e-5
    assert np.hypot(*place[-1]) == pytest.approx(9.5, abs=0.15)


@pytest.mark.parametrize("leads", [0, 60, -135, 180])
def test_in_a_hallway_one_direction_is(leads):
    assert run(leads, hallway(leads))[0].sum() > 46
    for wrong in (90, 135, 180, -90):
        reward, place = run(leads + wrong, hallway(leads))
        assert reward.sum() < 8, wrong
        angle = np.deg2rad(leads)
        along = place @ np.array([np.cos(angle), np.sin(angle)])
        across = place @ np.array([-np.sin(angle), np.cos(angle)])
        assert np.abs(across).max() <= 1 + 1e-4
        assert along.min() >= -1 - 1e-4


def test_who_meets_a_wall_stops_and_can_leave_it():
    at_the_wall = State(jnp.float32([0, 0.99]), jnp.float32([1.0, 1.0]))
    after, _, _ = runner.step(at_the_wall, jnp.float32([0, 1]), hallway(0), KEY)
    np.testing.assert_array_equal(after.velocity, [0, 0])
    away, _, _ = runner.step(after, jnp.float32([1, -1]), hallway(0), KEY)
    assert away.velocity[0] > 0 > away.velocity[1]


def test_where_it_is_directed_one_direction_is_rewarded():
    north = OPEN | {"directed": jnp.float32(1), "direction": jnp.float32(90)}
    for degrees, share in ((90, 1.0), (0, 0.0), (-90, -1.0), (30, 0.5)):
        assert run(degrees, north)[0].sum() == pytest.approx(47.5 * share, abs=1.0)


def test_nothing_is_seen_of_walls_and_directions():
    state = State(jnp.float32([5, -1]), jnp.float32([1, -2]))
    for p in (OPEN, hallway(30), OPEN | {"directed": jnp.float32(1)}):
        np.testing.assert_allclose(runner.observe(state, p, KEY), [0.5, -0.1, 0.5, -1])


def test_the_picture_and_the_map_show_the_hallway():
    state = State(np.float32([1, 2]), np.float32([1, 0]))
    nominal = {name: p.nominal for name, p in runner.parameters.items()}
    one, other = (runner.picture(state, nominal | {"hallway": h}) for h in (1.0, 100.0))
    assert (one.shape, one.dtype) == ((240, 240, 3), np.uint8)
    assert (one != other).any()
    (wall,) = runner.floor_map(nominal | {"hallway": 1.0, "leads": 90.0}).walls
    np.testing.assert_allclose(wall, [(-1, 20), (-1, -1), (1, -1), (1, 20)], atol=1e-6)
    assert not runner.floor_map(nominal).walls
