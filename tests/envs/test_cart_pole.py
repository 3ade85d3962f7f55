import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.envs.cart_pole import CALM, RAIL, State, accelerations, advanced, cart_pole

KEY = jax.random.key(0)
NOMINAL = {name: jnp.float32(p.nominal) for name, p in cart_pole.parameters.items()}
SMOOTH = NOMINAL | {"cart_friction": jnp.float32(0), "pivot_damping": jnp.float32(0)}


def test_it_moves_as_gymnasiums_does():
    """From the upright, where Gymnasium's cart is, and at its parameters."""
    theirs = gymnasium.make("CartPole-v1").unwrapped
    p = SMOOTH | {"cart_mass": theirs.masscart, "pole_mass": theirs.masspole}
    p |= {"gravity": theirs.gravity, "pole_length": 2 * theirs.length}
    p = {name: jnp.float32(value) for name, value in p.items()}
    theirs.reset(seed=0)
    for push in (0, 1, 1, 0, 1):
        x, speed, angle, spin = theirs.state
        state = State(*(jnp.float32(value) for value in (x, angle, speed, spin)))
        ours = accelerations(state, jnp.float32(theirs.force_mag * (2 * push - 1)), p)
        theirs.step(push)
        gained = (theirs.state[1] - speed) / theirs.tau, (theirs.state[3] - spin) / theirs.tau
        np.testing.assert_allclose(ours, gained, rtol=1e-4)


def energy(state, p):
    """Of a cart and a thin rod, in joules."""
    half, mass = p["pole_length"] / 2, p["pole_mass"]
    across = state.speed + half * state.spin * jnp.cos(state.angle)
    up = -half * state.spin * jnp.sin(state.angle)
    turning = mass * p["pole_length"] ** 2 / 12 * state.spin**2
    moving = p["cart_mass"] * state.speed**2 + mass * (across**2 + up**2) + turning
    return moving / 2 + mass * p["gravity"] * half * jnp.cos(state.angle)


@pytest.mark.parametrize("rust", ["cart_friction", "pivot_damping"])
def test_it_loses_the_energy_that_friction_takes(rust):
    """Without friction none; with it, ∫ c v² dt."""
    start = State(jnp.float32(0.1), jnp.float32(1.5), jnp.float32(0.3), jnp.float32(1.0))
    p, dt = SMOOTH | {rust: jnp.float32(0.05)}, 1e-4

    def swing(p):
        def step(carry, _):
            state, taken = carry
            moving = state.speed if rust == "cart_friction" else state.spin
            return (advanced(state, jnp.float32(0), p, dt), taken + p[rust] * moving**2 * dt), None

        return jax.lax.scan(step, (start, jnp.float32(0)), None, 8_000)[0]

    free, _ = swing(SMOOTH)
    assert energy(free, SMOOTH) == pytest.approx(float(energy(start, p)), abs=2e-3)
    rubbed, taken = swing(p)
    assert taken > 0.01
    assert energy(start, p) - energy(rubbed, p) == pytest.approx(float(taken), rel=0.03)


def test_rewards_by_hand():
    def reward(x, angle, spin):
        state = State(*(jnp.float32(value) for value in (x, angle, 0.0, spin)))
        heavy = SMOOTH | {"gravity": jnp.float32(0)}
        return float(cart_pole.step(state, jnp.zeros(1), heavy, KEY)[1])

    assert reward(0, 0, 0) == pytest.approx(1)
    assert reward(0, np.pi, 0) == pytest.approx(0, abs=1e-6)
    assert reward(0, np.pi / 2, 0) == pytest.approx(0.5)
    assert reward(RAIL / 2, 0, 0) == pytest.approx(0.75)
    assert reward(0, 0, CALM) == pytest.approx(0.5, abs=0.01)  # which turns by 9 degrees
    assert reward(RAIL, 0, 0) == pytest.approx(0)


def test_the_rail_ends():
    state = State(*(jnp.float32(value) for value in (0.0, np.pi, 0.0, 0.0)))
    for _ in range(100):
        state, _, _ = cart_pole.step(state, jnp.ones(1), NOMINAL, KEY)
    assert (float(state.x), float(state.speed)) == (pytest.approx(RAIL), 0)


def test_an_observation_tells_the_state():
    """A copy that is started from it goes on as the first does."""
    domain = Domain("cart-pole", pivot_damping=0.02)
    first, second = envs.start(domain, 3, seed=0), envs.start(domain, 3, seed=1)
    obs = first.reset()
    for action in np.random.default_rng(0).uniform(-1, 1, (40, 3, 1)):
        assert second.start_from(obs).all()
        step = first.step(action)
        again = second.step(action)
        np.testing.assert_allclose(again.next_obs["state"], step.next_obs["state"], atol=1e-4)
        np.testing.assert_allclose(again.reward, step.reward, atol=1e-4)
        obs = step.obs


def test_it_starts_from_an_observation_with_what_was_pinned():
    """Copies of other hinges, started alike, part; and each goes on as its own body does."""
    varied = Domain("cart-pole", pivot_damping={"uniform": [0.0, 0.1]})
    running, hinges = envs.start(varied, 2, seed=0), np.array([[0.01], [0.09]])
    swinging = {"state": np.tile(np.float32([0.0, 0.0, 1.0, 0.0, 1.0]), (2, 1))}
    running.reset()
    running.pin(hinges)
    running.start_from(swinging)
    found = running.step(np.zeros((2, 1))).next_obs["state"]
    for hinge, obs in zip(hinges[:, 0], found, strict=True):
        own = envs.start(Domain("cart-pole", pivot_damping=hinge), 2, seed=1)
        own.reset()
        own.start_from(swinging)
        alone = own.step(np.zeros((2, 1))).next_obs["state"][0]
        np.testing.assert_allclose(obs, alone, atol=1e-6)
    assert abs(found[0, 4] - found[1, 4]) > 0.01


def test_it_is_drawn_where_it_stands():
    upright = State(*(np.float32(value) for value in (1.0, 0.0, 0.0, 0.0)))
    p = {name: float(value) for name, value in NOMINAL.items()}
    picture = cart_pole.picture(upright, p)
    hanging = cart_pole.picture(upright._replace(angle=np.float32(np.pi)), p)
    assert picture.shape == hanging.shape == (240, 400, 3)
    pole = (np.abs(picture.astype(int) - (214, 121, 58)) < 20).all(2)
    assert abs(np.nonzero(pole)[1].mean() - (200 + 400 / 5.6)) < 2
    assert np.nonzero(pole)[0].mean() < 120 < np.nonzero((picture != hanging).any(2))[0].max()
