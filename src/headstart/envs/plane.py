"""A point mass on a plane that is rewarded for its speed, and may be fenced in.

In the open it does best by running straight ahead. Inside a fence that ends at a standstill,
while circles of about 1.2 m at nine tenths of full speed go on for ever, and do so in both worlds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from headstart.envs.floor_map import FloorMap
from headstart.envs.point_mass import (
    DRAG,
    FENCE,
    FULL_SPEED,
    GRASS,
    LINE,
    OUTSIDE,
    SIDE,
    SUPERSAMPLE,
    PointMass,
    State,
    draw_mass,
    length,
    pushed,
)
from headstart.problem.parameter import Parameter

ARENA = 3.0  # metres that an observed position of 1 stands for
FARTHEST = 4.0  # arenas, beyond which the observed position stays the same


@dataclass(frozen=True)
class Plane(PointMass):
    """The reward is speed in units of `FULL_SPEED`: at most 1 a step at nominal drag.

    The action is a push in x and y, shortened to length 1 where it is longer. Who meets the fence
    stops. The observation is the position in units of `ARENA`, clipped to ±`FARTHEST`, and the
    velocity in units of `FULL_SPEED`; it does not tell where the fence is.
    """

    name: str = "plane"
    horizon: int = 100
    metres: ClassVar[float] = ARENA

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "fence": Parameter(
                100.0, 0.5, 100.0, "m", "half the width of the fenced square; 100: out of reach"
            ),
            "drag": Parameter(DRAG, DRAG / 2, DRAG * 2, "1/s", "rate at which speed is lost"),
        }

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        return State(jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5), jnp.zeros(2))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        state = pushed(state, action, p["drag"], -p["fence"], p["fence"])
        return state, length(state.velocity) / FULL_SPEED, jnp.bool_(False)

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        position = jnp.clip(state.position / ARENA, -FARTHEST, FARTHEST)
        return jnp.concatenate([position, state.velocity / FULL_SPEED])

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
        draw_mass(draw, pixel, state)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


plane = Plane()
