import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.point_mass import State
from headstart.envs.runner import runner

KEY = jax.random.key(0)
OPEN = {name: jnp.float32(p.nominal) for name, p in runner.parameters.items()}


OPPOSITE = {"east": "west", "north": "south", "west": "east", "south": "north"}
DEGREES = {"east": 0, "north": 90, "west": 180, "south": -90}


def hallway(leads):
    """Two metres wide, closed behind the start."""
    return OPEN | {side: jnp.float32(1) for side in OPEN if side in OPPOSITE and side != leads}


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


@pytest.mark.parametrize("leads", OPPOSITE)
def test_in_a_hallway_one_direction_is(leads):
    assert run(DEGREES[leads], hallway(leads))[0].sum() > 46
    for wrong in (90, 135, 180, -90):
        reward, place = run(DEGREES[leads] + wrong, hallway(leads))
        assert reward.sum() < 8, wrong
        assert np.abs(place).max() <= 1 + 1e-4 or wrong == 135


def test_who_meets_a_wall_stops_and_can_leave_it():
    at_the_wall = State(jnp.float32([0, 0.99]), jnp.float32([1.0, 1.0]))
    after, _, _ = runner.step(at_the_wall, jnp.float32([0, 1]), hallway("east"), KEY)
    np.testing.assert_array_equal(after.velocity, [0, 0])
    away, _, _ = runner.step(after, jnp.float32([1, -1]), hallway("east"), KEY)
    assert away.velocity[0] > 0 > away.velocity[1]


def test_a_direction_may_be_rewarded_instead():
    north = OPEN | {"direction": jnp.float32(90)}
    for degrees, share in ((90, 1.0), (0, 0.0), (-90, -1.0), (30, 0.5)):
        assert run(degrees, north)[0].sum() == pytest.approx(47.5 * share, abs=1.0)


def test_what_exceeds_a_speed_counts_against_it():
    """At full speed twice the half that is to be kept: nothing is earned, but for the start."""
    for degrees, share in ((90, 0.0), (30, 0.5), (0, 0.0), (-90, -1.0)):
        p = OPEN | {"direction": jnp.float32(90), "speed": jnp.float32(0.5)}
        assert run(degrees, p)[0].sum() == pytest.approx(47.5 * share, abs=2.5)


def test_nothing_is_seen_of_walls_and_directions():
    state = State(jnp.float32([5, -1]), jnp.float32([1, -2]))
    for p in (OPEN, hallway("west"), OPEN | {"direction": jnp.float32(45)}):
        np.testing.assert_allclose(runner.observe(state, p, KEY), [0.5, -0.1, 0.5, -1])


def test_the_picture_and_the_map_show_the_hallway():
    state = State(np.float32([1, 2]), np.float32([1, 0]))
    nominal = {name: p.nominal for name, p in runner.parameters.items()}
    near = nominal | {"east": 1.0, "west": 1.0, "south": 1.0}
    one, other = (runner.picture(state, p) for p in (near, nominal))
    assert (one.shape, one.dtype) == ((240, 240, 3), np.uint8)
    assert (one != other).any()
    east, west, south = runner.floor_map(near).walls
    assert (east, west) == ([(1, -1), (1, 22)], [(-1, 22), (-1, -1)])
    assert south == [(-1, -1), (1, -1)]
    assert not runner.floor_map(nominal).walls
