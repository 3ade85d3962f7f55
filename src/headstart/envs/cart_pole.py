"""A pole that hangs from a cart on a rail, to be swung up and balanced.

With the cart's position x, the pole's angle θ from the upright, its half length l, both masses
together M and the pole's m, the force F on the cart and the torque τ at the pivot (Florian, 2007,
"Correct equations for the dynamics of the cart-pole system", with viscous friction):

    θ'' = (g sin θ + cos θ (−F − m l θ'² sin θ) / M + τ / (m l)) / (l (4/3 − m cos² θ / M))
    x'' = (F + m l (θ'² sin θ − θ'' cos θ)) / M

which are those of Gymnasium's CartPole where nothing rubs. A cart that meets the end of the rail
stops there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from PIL import Image, ImageDraw

from headstart.envs.jax_env import JaxEnvironment
from headstart.problem.parameter import Parameter

DT = 0.04  # seconds
SUBSTEPS = 4
RAIL = 2.4  # metres, either way
FASTEST = 8.0  # rad/s that an observed speed of 1 stands for
CALM = 4.0  # rad/s at which a pole is worth half as much as one that stands still

WIDTH, HEIGHT, SUPERSAMPLE = 400, 240, 2
METRES = 5.6  # across the picture
SKY, BAR, POLE, TEXT = (238, 243, 248), (150, 160, 150), (214, 121, 58), (70, 80, 90)
OILED, RUSTY = np.array([84, 120, 150]), np.array([150, 78, 40])


class State(NamedTuple):
    """Metres, radians from the upright, m/s and rad/s."""

    x: jax.Array
    angle: jax.Array
    speed: jax.Array
    spin: jax.Array


@dataclass(frozen=True)
class CartPole(JaxEnvironment):
    """The reward of a step is 1 for a pole that stands still upright in the middle of the rail:

        (1 + cos θ) / 2 · 1 / (1 + (θ' / CALM)²) · (1 − (x / RAIL)²)

    Without the second factor, a pole that spins is worth half as much as one that stands, and PPO
    goes no further. The action is the motor's force, as a share of its strength. The observation
    is x in units of the rail, cos θ, sin θ, x' in m/s, and θ' in units of `FASTEST`.
    """

    name: str = "cart-pole"
    horizon: int = 250
    dt: float = DT
    starts_from_observations: bool = True
    observation_names: tuple[str, ...] = ("x", "cos", "sin", "speed", "spin")
    action_names: tuple[str, ...] = ("push",)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "cart_mass": Parameter(1.0, 0.3, 5.0, "kg", "mass of the cart"),
            "pole_mass": Parameter(0.2, 0.05, 2.0, "kg", "mass of the pole, a thin rod"),
            "pole_length": Parameter(1.0, 0.3, 3.0, "m", "length of the pole"),
            "gravity": Parameter(9.81, 1.0, 20.0, "m/s²", "downward acceleration"),
            "motor_strength": Parameter(10.0, 2.0, 30.0, "N", "force at an action of 1"),
            "cart_friction": Parameter(0.1, 0.0, 10.0, "N s/m", "viscous friction on the rail"),
            "pivot_damping": Parameter(0.002, 0.0, 0.5, "N m s", "viscous friction of the pivot"),
        }

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (5,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        x, angle, speed, spin = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        return State(x, jnp.pi + angle, speed, spin)

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        force = p["motor_strength"] * action[0]
        for _ in range(SUBSTEPS):
            state = advanced(state, force, p, DT / SUBSTEPS)
        height = (1 + jnp.cos(state.angle)) / 2
        calm = 1 / (1 + (state.spin / CALM) ** 2)
        return state, height * calm * (1 - (state.x / RAIL) ** 2), jnp.bool_(False)

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        where = state.x / RAIL, jnp.cos(state.angle), jnp.sin(state.angle)
        return jnp.stack([*where, state.speed, state.spin / FASTEST])

    def state_from(self, obs: jax.Array, p: Mapping[str, jax.Array]) -> State:
        x, cos, sin, speed, spin = obs
        return State(x * RAIL, jnp.arctan2(sin, cos), speed, spin * FASTEST)

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the rail from the side; friction shows as rust."""
        wide, high = WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE
        metre, rail = wide / METRES, high * 0.55
        image = Image.new("RGB", (wide, high), SKY)
        draw = ImageDraw.Draw(image)
        middle = wide / 2 + float(state.x) * metre
        rust = np.clip(p["cart_friction"] / 4 + p["pivot_damping"] / 0.06, 0, 1)
        fill = tuple(int(c) for c in OILED + (RUSTY - OILED) * rust)
        end = RAIL * metre + 40
        draw.rectangle((wide / 2 - end, rail - 4, wide / 2 + end, rail + 4), fill=BAR)
        for side in (-end, end):
            draw.rectangle(
                (wide / 2 + side - 6, rail - 24, wide / 2 + side + 6, rail + 24), fill=BAR
            )
        draw.rounded_rectangle((middle - 44, rail - 24, middle + 44, rail + 24), 8, fill=fill)
        angle, length = float(state.angle), p["pole_length"] * metre
        tip = middle + length * np.sin(angle), rail - length * np.cos(angle)
        draw.line((middle, rail, *tip), fill=POLE, width=14)
        for x, y in ((middle, rail), tip):
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=POLE)
        draw.ellipse((middle - 5, rail - 5, middle + 5, rail + 5), fill=TEXT)
        return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def accelerations(
    state: State, force: jax.Array, p: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Of the cart, in m/s², and of the pole, in rad/s²."""
    sin, cos = jnp.sin(state.angle), jnp.cos(state.angle)
    half, whole = p["pole_length"] / 2, p["cart_mass"] + p["pole_mass"]
    moment = p["pole_mass"] * half
    push = force - p["cart_friction"] * state.speed
    pushed = (push + moment * state.spin**2 * sin) / whole
    torque = -p["pivot_damping"] * state.spin
    turn = p["gravity"] * sin - cos * pushed + torque / moment
    spin = turn / (half * (4 / 3 - p["pole_mass"] * cos**2 / whole))
    return pushed - moment * spin * cos / whole, spin


def advanced(state: State, force: jax.Array, p: Mapping[str, jax.Array], dt: float) -> State:
    """The state after `dt` seconds: speeds first, then positions with the new speeds."""
    speed_up, spin_up = accelerations(state, force, p)
    speed, spin = state.speed + dt * speed_up, state.spin + dt * spin_up
    x = state.x + dt * speed
    speed = jnp.where(jnp.abs(x) > RAIL, 0.0, speed)
    return State(jnp.clip(x, -RAIL, RAIL), state.angle + dt * spin, speed, spin)


cart_pole = CartPole()
