"""A point mass that is to get somewhere, with obstacles in its way or without.

In the open every way around is nearly as good as the straight one, so that many solve the task. An
obstacle on the straight way leaves only the others. In the maze the goal is behind a wall, unless
it is moved, and nothing is paid before it is found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

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
    SIDE,
    SUPERSAMPLE,
    PointMass,
    State,
    draw_mass,
    length,
    pushed,
)
from headstart.problem.parameter import Parameter

THICK = 0.6  # metres, of an obstacle: more than a step at full speed
GOAL = (220, 68, 68)

Block = tuple[float, float, float, float]
Pixel = Callable[[float, float], tuple[float, float]]
"""Where a place in metres is in a picture."""


@dataclass(frozen=True)
class Navigation(PointMass):
    """The reward of a step is how much nearer the goal is than before, at most 1:

        (|x − g| − |x' − g|) / (FULL_SPEED · DT)

    The action is a push in x and y, shortened to length 1 where it is longer. Who meets a wall
    slides along it. The observation is the position in units of 10 m and the velocity in units
    of full speed; it tells nothing of goals and obstacles.
    """

    name: str = "navigation"
    horizon: int = 80
    dt: float = DT
    bounds: ClassVar[Block] = (-2.0, 10.0, -6.0, 6.0)
    """Left, right, bottom and top of the arena, in metres."""
    start_at: ClassVar[tuple[float, float]] = (0.0, 0.0)
    goal: ClassVar[tuple[float, float]] = (8.0, 0.0)
    near: ClassVar[float] = 0.7
    """Metres from the goal that count as there."""
    pays_late: ClassVar[bool] = False
    """Whether nothing is paid before the goal is found."""

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        left, right, bottom, top = self.bounds
        x, y = self.goal
        text, rare = "where to get, from", self.pays_late
        return {
            "goal_x": Parameter(x, left, right, "m", f"{text} west to east", rare=rare),
            "goal_y": Parameter(y, bottom, top, "m", f"{text} south to north", rare=rare),
            **self._wall_parameters,
        }

    @property
    def _wall_parameters(self) -> dict[str, Parameter]:
        """What stands in the way."""
        text = "a wall across the way, from south to north; 0: none"
        return {"obstacle": Parameter(0.0, 0.0, 9.6, "m", text)}

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        """At the start, at rest, within 0.1 m."""
        near = jax.random.uniform(key, (2,), minval=-0.1, maxval=0.1)
        return State(jnp.array(self.start_at) + near, jnp.zeros(2))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        far = jnp.array(jnp.inf)
        led = pushed(state, action, DRAG, -far, far)
        (x, y), (old_x, old_y) = led.position, state.position
        x_free = self._free(x, old_y, p)
        y_free = self._free(jnp.where(x_free, x, old_x), y, p)
        free = jnp.stack([x_free, y_free])
        after = State(
            jnp.where(free, led.position, state.position), jnp.where(free, led.velocity, 0.0)
        )
        return after, self._reward(state.position, after.position, p), jnp.bool_(False)

    def _reward(self, before: jax.Array, after: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        goal = jnp.stack(self._goal(p))
        return (length(before - goal) - length(after - goal)) / (FULL_SPEED * DT)

    def _free(self, x: jax.Array, y: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        """Whether a place is in the arena, and no wall is there."""
        left, right, bottom, top = self.bounds
        free = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        for west, south, width, height in self._walls(p):
            free &= (x <= west) | (x >= west + width) | (y <= south) | (y >= south + height)
        return free

    def _walls(self, p: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Blocks that may stand: left, bottom, width and height; nowhere if one of these is 0."""
        x, y = ((a + b) / 2 for a, b in zip(self.start_at, self.goal, strict=True))
        return [(x - THICK / 2, y - p["obstacle"] / 2, THICK, p["obstacle"])]

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """The arena from above, in metres."""
        walls = [wall for wall in self._walls(p) if min(wall[2:]) > 0]
        return FloorMap(self.bounds, walls, {"start": self.start_at, "goal": self._goal(p)})

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the arena from above. The line is the way of the next half
        second; the ring is as near to the goal as counts."""
        left, right, bottom, top = self.bounds
        high = SIDE * SUPERSAMPLE
        metre = high / (top - bottom)
        wide = round(metre * (right - left))

        def pixel(x: float, y: float) -> tuple[float, float]:
            return (x - left) * metre, (top - y) * metre

        image = Image.new("RGB", (wide, high), GRASS)
        draw = ImageDraw.Draw(image)
        for x, y, width, height in self._walls(p):
            if min(width, height) > 0:
                draw.rectangle((*pixel(x, y + height), *pixel(x + width, y)), fill=FENCE)
        draw.rectangle((0, 0, wide - 1, high - 1), outline=FENCE, width=8)
        self._draw_goal(draw, pixel, p)
        draw_mass(draw, pixel, state)
        size = wide // SUPERSAMPLE, SIDE
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS))

    def _draw_goal(self, draw: ImageDraw.ImageDraw, pixel: Pixel, p: Mapping[str, float]) -> None:
        draw.ellipse(around(pixel, self._goal(p), self.near), outline=GOAL, width=5)

    def _goal(self, p: Mapping[str, Any]) -> tuple[Any, Any]:
        return p["goal_x"], p["goal_y"]


@dataclass(frozen=True)
class Maze(Navigation):
    """The goal is behind a wall, unless it is moved, and 1 is paid for every step that ends `near`
    it."""

    name: str = "maze"
    bounds: ClassVar[Block] = (0.0, 5.0, 0.0, 4.0)
    start_at: ClassVar[tuple[float, float]] = (0.7, 0.7)
    goal: ClassVar[tuple[float, float]] = (0.7, 3.3)
    pays_late: ClassVar[bool] = True

    @property
    def _wall_parameters(self) -> dict[str, Parameter]:
        text = "a wall from the west, between start and goal; 0: none"
        return {"wall": Parameter(3.6, 0.0, 3.6, "m", text)}

    def _reward(self, before: jax.Array, after: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        return 1.0 * (length(after - jnp.stack(self._goal(p))) < self.near)

    def _walls(self, p: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return [(0.0, 1.6, p["wall"], 0.8)]


def around(
    pixel: Pixel, place: tuple[float, float], radius: float
) -> tuple[float, float, float, float]:
    """The box of a circle in a picture: left, top, right and bottom."""
    x, y = place
    return *pixel(x - radius, y + radius), *pixel(x + radius, y - radius)


navigation = Navigation()
maze = Maze()
