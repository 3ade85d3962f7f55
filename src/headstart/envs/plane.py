"""A point mass on a plane that is rewarded for its speed, and may be fenced in.

In the open it does best by running straight ahead. Inside a fence that ends at a standstill,
while circles of about 1.2 m at nine tenths of full speed go on for ever, and do so in both worlds.
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

from headstart.envs.floor_map import FloorMap
from headstart.envs.jax_env import JaxEnvironment
from headstart.envs.spec import Parameter

DT = 0.1  # seconds
FULL_SPEED = 2.0  # m/s, at nominal drag
DRAG = 4.0  # 1/s
THRUST = FULL_SPEED * DRAG  # m/s², at an action of length 1
ARENA = 3.0  # metres that an observed position of 1 stands for
FARTHEST = 4.0  # arenas, beyond which the observed position stays the same

SIDE, SUPERSAMPLE = 240, 2
GRASS, OUTSIDE, LINE, FENCE, AGENT, ARROW = (
    (226, 236, 218),
    (205, 212, 204),
    (200, 212, 192),
    (120, 82, 48),
    (214, 121, 58),
    (70, 80, 90),
)


class State(NamedTuple):
    """Position `[2]` in metres and velocity `[2]` in m/s."""

    position: jax.Array
    velocity: jax.Array


@dataclass(frozen=True)
class Plane(JaxEnvironment):
    """The reward is speed in units of `FULL_SPEED`: at most 1 a step at nominal drag.

    The action is a push in x and y, shortened to length 1 where it is longer. Who meets the fence
    stops. The observation is the position in units of `ARENA`, clipped to ±`FARTHEST`, and the
    velocity in units of `FULL_SPEED`; it does not tell where the fence is.
    """

    name: str = "plane"
    horizon: int = 100

    observation_names: tuple[str, ...] = ("x", "y", "x speed", "y speed")
    action_names: tuple[str, ...] = ("push x", "push y")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "fence": Parameter(
                100.0, 0.5, 100.0, "m", "half the width of the fenced square; 100: out of reach"
            ),
            "drag": Parameter(DRAG, DRAG / 2, DRAG * 2, "1/s", "rate at which speed is lost"),
        }

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (4,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        return State(jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5), jnp.zeros(2))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        moved = glided(state, action, p["drag"])
        stopped = (jnp.abs(moved.position) > p["fence"]).any()
        state = State(
            jnp.clip(moved.position, -p["fence"], p["fence"]),
            jnp.where(stopped, 0.0, moved.velocity),
        )
        return state, length(state.velocity) / FULL_SPEED, jnp.bool_(False)

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        position = jnp.clip(state.position / ARENA, -FARTHEST, FARTHEST)
        return jnp.concatenate([position, state.velocity / FULL_SPEED])

    def position(self, obs: np.ndarray) -> np.ndarray:
        """Metres `[..., 2]` from observations `[..., 4]`."""
        return obs[..., :2] * ARENA

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """The plane from above, in metres, with the fence if it is near."""
        fence, thick = p["fence"], 0.1
        if fence > FARTHEST * ARENA:
            reach = 2 * ARENA
            return FloorMap((-reach, reach, -reach, reach), [], {"start": (0.0, 0.0)})
        out, long = fence + thick, 2 * (fence + thick)
        fences = [
            (-out, -out, thick, long), (fence, -out, thick, long),
            (-out, -out, long, thick), (-out, fence, long, thick),
        ]  # fmt: skip
        return FloorMap((-out, out, -out, out), fences, {"start": (0.0, 0.0)})

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the fenced square from above, or 10 m of it if it is wider.

        The grid is in metres; the line is the way of the next half second.
        """
        side, fence = SIDE * SUPERSAMPLE, p["fence"]
        near = fence <= 2 * ARENA
        half = 1.15 * fence if near else 5.0
        middle = np.zeros(2) if near else np.asarray(state.position, np.float64)
        metre = side / (2 * half)

        def pixel(x: float, y: float) -> tuple[float, float]:
            return side / 2 + (x - middle[0]) * metre, side / 2 - (y - middle[1]) * metre

        image = Image.new("RGB", (side, side), OUTSIDE)
        draw = ImageDraw.Draw(image)
        left, top = pixel(-fence, fence)
        right, bottom = pixel(fence, -fence)
        draw.rectangle((left, top, right, bottom), fill=GRASS)
        for m in range(-int(fence), int(fence) + 1):
            draw.line((*pixel(m, -fence), *pixel(m, fence)), fill=LINE, width=2)
            draw.line((*pixel(-fence, m), *pixel(fence, m)), fill=LINE, width=2)
        draw.rectangle((left - 8, top - 8, right + 8, bottom + 8), outline=FENCE, width=8)
        ahead = state.position + state.velocity / 2
        here = pixel(*np.asarray(state.position).tolist())
        draw.line((*here, *pixel(*np.asarray(ahead).tolist())), fill=ARROW, width=6)
        x, y = here
        draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill=AGENT)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def glided(state: State, action: jax.Array, drag: jax.Array | float) -> State:
    """After a step of pushing, where nothing is in the way: the exact solution of
    v' = push − drag · v."""
    push = THRUST * action / jnp.maximum(1.0, length(action))
    settled = push / drag
    velocity = settled + (state.velocity - settled) * jnp.exp(-drag * DT)
    position = state.position + settled * DT + (state.velocity - velocity) / drag
    return State(position, velocity)


def length(vector: jax.Array) -> jax.Array:
    return jnp.sqrt((vector**2).sum())


plane = Plane()
