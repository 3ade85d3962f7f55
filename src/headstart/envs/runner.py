"""A point mass that is rewarded for getting away from where it started, whichever way.

On an open plane every direction is as good as any other. Between walls one may be: who has settled
on another in the open runs into a wall there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from headstart.envs.floor_map import FloorMap
from headstart.envs.point_mass import (
    DRAG,
    DT,
    FENCE,
    FULL_SPEED,
    GRASS,
    LINE,
    SIDE,
    SUPERSAMPLE,
    PointMass,
    State,
    draw_mass,
    length,
    pushed,
)
from headstart.problem.parameter import Parameter

OPEN = 100.0  # metres, to walls that are out of reach
WHICHEVER = -1.0  # in place of a direction
COMPASS = (
    "east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east",
)  # fmt: skip
REACH = 11.0  # metres either way in a picture


@dataclass(frozen=True)
class Runner(PointMass):
    """The reward of a step is how much further from its start the runner is than before, at most 1,
    or how far it came in a `direction` w, if there is one:

        v = (|x'| − |x|) / (FULL_SPEED · DT)   or   v = w · (x' − x) / (FULL_SPEED · DT)

    What is beyond a `speed` s that it is to keep counts against it: the reward is s − |v − s|, at
    most s. The action is a push in x and y, shortened to length 1 where it is longer. Who meets a
    wall stops. The observation is the position in units of 10 m and the velocity in units of full
    speed; it tells nothing of walls or directions.
    """

    name: str = "runner"
    horizon: int = 50
    dt: float = DT

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        walls = {
            side: Parameter(OPEN, 0.3, OPEN, "m", f"from the start to the {side} wall; 100: none")
            for side in ("east", "north", "west", "south")
        }
        texts = tuple((45.0 * k, f"run {name}") for k, name in enumerate(COMPASS))
        return walls | {
            "direction": Parameter(
                WHICHEVER, WHICHEVER, 360.0, "°", "to run in, from the east to the north; −1: any",
                form="angle", texts=texts,
            ),
            "speed": Parameter(1.0, 0.1, 1.0, "× full speed", "to be kept"),
            "pay": Parameter(1.0, 0.01, 100.0, "1", "what the reward is multiplied with"),
        }  # fmt: skip

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        """At the start, at rest, within 0.1 m."""
        return State(jax.random.uniform(key, (2,), minval=-0.1, maxval=0.1), jnp.zeros(2))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        low = jnp.stack([-p["west"], -p["south"]])
        after = pushed(state, action, DRAG, low, jnp.stack([p["east"], p["north"]]))
        turned = p["direction"] * (jnp.pi / 180)
        way = jnp.stack([jnp.cos(turned), jnp.sin(turned)])
        away = length(after.position) - length(state.position)
        along = ((after.position - state.position) * way).sum()
        pace = jnp.where(p["direction"] < 0, away, along) / (FULL_SPEED * DT)
        reward = p["speed"] - jnp.abs(pace - p["speed"])
        return after, p["pay"] * reward, jnp.bool_(False)

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: 11 m either way from above. The grid is in metres; the line
        is the way of the next half second."""
        side = SIDE * SUPERSAMPLE
        metre = side / (2 * REACH)

        def pixel(x: float, y: float) -> tuple[float, float]:
            return side / 2 + x * metre, side / 2 - y * metre

        image = Image.new("RGB", (side, side), GRASS)
        draw = ImageDraw.Draw(image)
        for m in range(-int(REACH), int(REACH) + 1):
            draw.line((*pixel(m, -REACH), *pixel(m, REACH)), fill=LINE, width=2)
            draw.line((*pixel(-REACH, m), *pixel(REACH, m)), fill=LINE, width=2)
        for wall in _walls(p):
            draw.line([pixel(*corner) for corner in wall], fill=FENCE, width=10, joint="curve")
        draw_mass(draw, pixel, state)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """11 m either way from above, in metres, with the walls that are near."""
        bounds = (-REACH, REACH, -REACH, REACH)
        return FloorMap(bounds, [], {"start": (0.0, 0.0)}, _walls(p))


def _walls(p: Mapping[str, float]) -> list[list[tuple[float, float]]]:
    """Lines of the walls that are near, from corner to corner or out of sight."""
    far = 2 * REACH
    east, north, west, south = (min(p[side], far) for side in ("east", "north", "west", "south"))
    sides = {
        "east": [(east, -south), (east, north)], "north": [(east, north), (-west, north)],
        "west": [(-west, north), (-west, -south)], "south": [(-west, -south), (east, -south)],
    }  # fmt: skip
    return [line for side, line in sides.items() if p[side] < OPEN]


runner = Runner()
