import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.plane import plane
from headstart.envs.point_mass import State

KEY = jax.random.key(0)
FREE = {"fence": jnp.float32(100), "drag": jnp.float32(4)}
FENCED = FREE | {"fence": jnp.float32(3)}


def straight(seen):
    return jnp.float32([0.6, 0.8])


def around(seen):
    """Push along the circle of 1.2 m around the start, and inwards as far as it takes."""
    x, y = 3 * seen[:2]
    radius = jnp.sqrt(x**2 + y**2)
    along = jnp.stack([-y, x]) / radius
    inwards = -jnp.stack([x, y]) / radius
    return 0.87 * along + jnp.clip(0.37 + (radius - 1.2), -0.5, 0.5) * inwards


def episodes(controller, p, num=8):
    """Rewards `[num, horizon]` and the states after each step."""

    def episode(key):
        def step(state, _):
            action = controller(plane.observe(state, p, key))
            state, reward, _ = plane.step(state, action, p, key)
            return state, (reward, state)

        return jax.lax.scan(step, plane.reset(p, key), None, plane.horizon)[1]

    return jax.jit(jax.vmap(episode))(jax.random.split(KEY, num))


def test_running_straight_pays_in_the_open_and_not_inside_the_fence():
    free, _ = episodes(straight, FREE)
    fenced, state = episodes(straight, FENCED)
    assert (free.sum(1) > 95).all()
    assert (fenced.sum(1) < 30).all()
    assert (fenced[:, -50:] == 0).all()
    assert np.abs(state.position).max() == 3


def test_running_in_circles_pays_in_both():
    free, _ = episodes(around, FREE)
    fenced, state = episodes(around, FENCED)
    assert (free.sum(1) > 85).all()
    np.testing.assert_array_equal(free, fenced)
    assert np.abs(state.position).max() < 2


def test_no_way_of_pushing_is_faster_than_full_speed():
    reward, _ = episodes(lambda seen: jnp.float32([1, 1]), FREE)
    assert reward.max() <= 1 + 1e-6


def test_the_nominal_fence_is_out_of_reach():
    light = FREE | {"drag": jnp.float32(plane.parameters["drag"].low)}
    _, state = episodes(straight, light)
    assert np.abs(state.position).max() < plane.parameters["fence"].nominal


def test_speed_settles_where_drag_balances_the_push():
    for drag in (2.0, 4.0, 8.0):
        reward, state = episodes(straight, FREE | {"drag": jnp.float32(drag)}, num=1)
        assert reward[0, -1] == pytest.approx(4 / drag, rel=1e-4)
        np.testing.assert_allclose(state.velocity[0, -1], [4.8 / drag, 6.4 / drag], rtol=1e-4)


def test_motion_is_that_of_the_differential_equation():
    """Against ten thousand small steps of v' = 8 a − 4 v."""
    action = np.array([0.5, -0.3])
    x, v = np.array([0.1, 0.2]), np.array([-1.0, 0.5])
    start = State(jnp.float32(x), jnp.float32(v))
    state, _, _ = plane.step(start, jnp.float32(action), FREE, KEY)
    for _ in range(10_000):
        half = v + (8 * action - 4 * v) * 0.5e-5
        x, v = x + half * 1e-5, v + (8 * action - 4 * half) * 1e-5
    np.testing.assert_allclose(state.position, x, rtol=1e-5)
    np.testing.assert_allclose(state.velocity, v, rtol=1e-5)


def test_a_stopped_runner_can_leave_the_fence_or_follow_it():
    at_the_fence = State(jnp.float32([3, 0]), jnp.zeros(2))
    for action, pays in (([1, 0], False), ([0, 1], True), ([-1, 0], True)):
        _, reward, terminated = plane.step(at_the_fence, jnp.float32(action), FENCED, KEY)
        assert (reward > 0) == pays
        assert not terminated


def test_starts_near_the_middle_at_rest():
    state = jax.vmap(plane.reset, (None, 0))(FREE, jax.random.split(KEY, 100))
    assert 0.4 < np.abs(state.position).max() < 0.5
    assert len(np.unique(state.position)) > 190
    assert not state.velocity.any()


def test_the_observed_position_is_clipped_and_hides_the_fence():
    state = State(jnp.float32([1.5, -40]), jnp.float32([1, -2]))
    for p in (FREE, FENCED):
        observation = plane.observe(state, p, KEY)
        np.testing.assert_allclose(observation, [0.5, -4, 0.5, -1])
        assert observation.dtype == np.float32


def test_the_picture_shows_the_runner_and_the_fence():
    state = State(np.float32([1, 2]), np.float32([1, 0]))
    still = State(np.float32([1, 2]), np.float32([0, 0]))
    one = plane.picture(state, {"fence": 3.0, "drag": 4.0})
    assert (one.shape, one.dtype) == ((240, 240, 3), np.uint8)
    assert (one != plane.picture(still, {"fence": 3.0, "drag": 4.0})).any()
    assert (one != plane.picture(state, {"fence": 100.0, "drag": 4.0})).any()
