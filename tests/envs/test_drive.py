from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.drive import DT, TRAFFIC_SPEED, drive
from headstart.envs.drivers import careful, reckless

LOOKS = {
    "view": 1.0,
    "daylight": 0.4,
    "rain": 0.7,
    "fog": 0.5,
    "palette": 0.3,
    "saturation": 0.4,
    "brightness": 1.3,
    "contrast": 0.6,
    "camera_noise": 0.1,
    "camera_height": 3.0,
    "camera_pitch": 0.1,
    "camera_offset": 0.8,
}
PHYSICS = {"grip": 0.25, "engine": 6.0, "wind": 1.0, "traffic": 4.0, "bends": 0.03}
COPIES = 64
COAST = 4  # straight on


def nominal(copies=COPIES, **changed):
    values = {name: parameter.nominal for name, parameter in drive.parameters.items()} | changed
    return {name: jnp.full(copies, value, jnp.float32) for name, value in values.items()}


def expert(state, p, key):
    return careful(state, p)


def at_random(state, p, key):
    return jax.random.randint(key, (), 0, 9)


def coasting(state, p, key):
    return jnp.int32(COAST)


def full_gas(state, p, key):
    return jnp.int32(5)


@cache
def driven(policy):
    """A function of parameters and a key: states, rewards and ends, `[time, copies, ...]`."""

    def episode(p, key):
        first, rest = jax.random.split(key)

        def one(state, key):
            act, move = jax.random.split(key)
            state, reward, ended = drive.step(state, policy(state, p, act), p, move)
            return state, (state, reward, ended)

        return jax.lax.scan(one, drive.reset(p, first), jax.random.split(rest, drive.horizon))[1]

    def episodes(p, key):
        return jax.vmap(episode)(p, jax.random.split(key, COPIES))

    return jax.jit(episodes)


def returns(policy, **changed):
    _, reward, ended = driven(policy)(nominal(**changed), jax.random.key(0))
    before = jnp.cumsum(ended, 1) - ended == 0
    return np.asarray((reward * before).sum(1))


@cache
def observing():
    return jax.jit(jax.vmap(drive.observe))


@cache
def states():
    reset = jax.jit(jax.vmap(drive.reset))
    return reset(nominal(), jax.random.split(jax.random.key(0), COPIES))


def observed(p, seed=1):
    keys = jax.random.split(jax.random.key(seed), COPIES)
    return np.asarray(observing()(states(), p, keys))


def test_observations_are_what_the_space_says():
    obs = observed(nominal())
    space = drive.observation_space
    assert obs.shape == (COPIES, *space.shape)
    assert obs.dtype == space.dtype
    assert obs.min() < 20
    assert obs.max() > 200
    assert drive.action_space.n == 9


def test_every_parameter_is_tested():
    assert set(drive.parameters) == set(LOOKS) | set(PHYSICS)
    for parameter in drive.parameters.values():
        assert parameter.low <= parameter.nominal <= parameter.high


def test_looks_never_change_the_driving():
    states, reward, ended = driven(expert)(nominal(), jax.random.key(3))
    same = driven(expert)(nominal(**LOOKS), jax.random.key(3))
    for one, other in zip(jax.tree.leaves((states, reward, ended)), jax.tree.leaves(same)):  # noqa: B905
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", LOOKS)
def test_every_look_changes_the_picture(name):
    difference = observed(nominal(**{name: LOOKS[name]})).astype(int) - observed(nominal())
    assert (np.abs(difference).max((1, 2, 3)) > 15).all()


@pytest.mark.parametrize("name", PHYSICS)
def test_every_physical_parameter_changes_the_driving(name):
    reference = driven(at_random)(nominal(), jax.random.key(0))[0]
    changed = driven(at_random)(nominal(**{name: PHYSICS[name]}), jax.random.key(0))[0]
    assert any(
        not np.array_equal(one[:, :30], other[:, :30])
        for one, other in zip(reference, changed, strict=True)
    )


def test_the_palette_returns_to_where_it_began():
    turned, back = observed(nominal(palette=0.5)), observed(nominal(palette=-0.5))
    assert np.abs(turned.astype(int) - back).max() <= 1


def test_the_same_keys_give_the_same_picture_and_noise_differs_between_keys():
    p = nominal(camera_noise=0.1)
    assert np.array_equal(observed(p), observed(p))
    assert (observed(p) != observed(p, seed=2)).mean() > 0.9
    assert np.array_equal(observed(nominal()), observed(nominal(), seed=2))


def test_camera_noise_has_its_standard_deviation():
    dull = {"saturation": 0.0, "contrast": 0.4}  # far from black and white, which cut noise off
    clean = observed(nominal(**dull)).astype(float)
    noise = (observed(nominal(**dull, camera_noise=0.1)) - clean)[:, 15:] / 255
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    channels = noise.reshape(-1, 3)
    assert np.abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.05


def test_a_good_driver_does_well_and_others_do_badly():
    assert returns(expert).mean() > 155
    assert returns(expert).min() > 120
    assert returns(at_random).mean() < 25
    assert returns(coasting).mean() < 25
    assert returns(full_gas).mean() < 25


def test_a_good_driver_slows_down_where_there_is_less_grip():
    assert 60 < returns(expert, grip=0.3).mean() < returns(expert).mean() - 30


def test_progress_is_the_reward():
    states, reward, _ = driven(expert)(nominal(), jax.random.key(0))
    moved = np.diff(np.asarray(states.s), axis=1)
    np.testing.assert_allclose(np.asarray(reward)[:, 1:], moved / (25 * DT), atol=1e-3)


@cache
def moving():
    return jax.jit(drive.step)


def stepped(action=COAST, grip=0.9, **changed):
    """One step from the right lane, straight along, with the state changed."""
    p = {name: value[0] for name, value in nominal(grip=grip).items()}
    changed = {"y": 2.0, "heading": 0.0, "gap": [50.0, 80.0, 110.0], "lane": [1.0] * 3} | changed
    state = jax.tree.map(lambda leaf: leaf[0], states())
    state = state._replace(**{name: jnp.float32(value) for name, value in changed.items()})
    return moving()(state, jnp.int32(action), p, jax.random.key(1))


def test_leaving_the_road_ends_the_episode():
    assert not stepped()[2]
    assert stepped(y=4.1)[2]
    assert stepped(y=-4.1)[2]


def test_touching_a_car_ends_the_episode():
    assert stepped(gap=[3.0, 80.0, 110.0])[2]
    assert not stepped(gap=[3.0, 80.0, 110.0], lane=[-1.0, 1.0, 1.0])[2]


def test_a_car_that_was_overtaken_makes_room_for_another():
    state, _, ended = stepped(gap=[-8.9, 20.0, 50.0], lane=[-1.0, 1.0, -1.0], speed=20.0)
    assert not ended
    assert state.gap[0] == pytest.approx(20.0 + DT * (TRAFFIC_SPEED - 20.0), abs=0.1)
    assert 30.0 <= state.gap[2] - state.gap[1] <= 70.0
    assert list(state.lane[:2]) == [1.0, -1.0]


def test_low_grip_slides_to_the_outside_of_a_bend():
    turned = [stepped(action=7, speed=20.0, grip=grip)[0].heading for grip in (0.9, 0.3)]
    assert turned[0] > turned[1]


def test_a_picture_for_people_is_the_same_scene_larger():
    p = {name: float(value[0]) for name, value in nominal().items()}
    state = jax.tree.map(lambda leaf: np.asarray(leaf[0]), states())
    picture = np.asarray(drive.picture(state, p))
    assert picture.shape == (192, 192, 3)
    assert picture.dtype == np.uint8
    small = picture.reshape(48, 4, 48, 4, 3).mean((1, 3))
    assert np.abs(small - observed(nominal())[0]).mean() < 6


def test_a_reckless_driver_leaves_the_road_again_and_again():
    *_, ended = driven(lambda state, p, key: reckless(state, p))(nominal(), jax.random.key(0))
    assert ended.any(1).mean() > 0.9
