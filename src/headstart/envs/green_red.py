"""A room with a green place to reach and a red one to keep out of: a task that is no goal.

A goal is told, as in `point-maze`, so that what was learned there can be carried here. But the
reward depends on the way as well, and no goal says "keep out of the red".
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from PIL import ImageDraw

from headstart.envs.floor_map import FloorMap
from headstart.envs.goals import Goals
from headstart.envs.navigation import Block, Pixel, around
from headstart.envs.point_mass import DT, FULL_SPEED, length
from headstart.envs.point_maze import SIZE, PointMaze
from headstart.problem.parameter import Parameter

GREEN, RED, TOLD = (86, 156, 84), (226, 130, 122), (70, 80, 90)


@dataclass(frozen=True)
class GreenRed(PointMaze):
    """A step is worth how much nearer the green it leads, at most 1, and costs `red` where it ends
    in the red:

        (|x − g| − |x′ − g|) / (FULL_SPEED · DT) − red · 1[x′ in the red]

    The green is near the far corner, and the red a square on the straight way there, which can be
    passed on either side. The goal that is told changes nothing of the reward.
    """

    name: str = "green-red"
    goals: Goals | None = None
    near: ClassVar[float] = 1.0
    red: ClassVar[Block] = (1.5, 1.5, 3.0, 3.0)
    """Left, bottom, width and height, in metres."""

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        x, y = self.goal
        text = "the goal that is told, from"
        return {
            "goal_x": Parameter(x, 0.0, SIZE, "m", f"{text} west to east"),
            "goal_y": Parameter(y, 0.0, SIZE, "m", f"{text} south to north"),
            "red": Parameter(2.0, 0.0, 20.0, "1", "what a step that ends in the red costs besides"),
        }

    def _reward(self, before: jax.Array, after: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        green = jnp.array(self.goal)
        nearer = length(before - green) - length(after - green)
        return nearer / (FULL_SPEED * DT) - p["red"] * self.in_red(after)

    def in_red(self, place: Any) -> Any:
        """Whether places `[..., 2]`, in metres, are in the red, by NumPy or by JAX."""
        west, south, width, height = self.red
        x, y = place[..., 0], place[..., 1]
        return (x > west) & (x < west + width) & (y > south) & (y < south + height)

    def in_green(self, place: Any) -> Any:
        """Whether places `[..., 2]`, in metres, are in the green, by NumPy or by JAX."""
        x, y = self.goal
        return (place[..., 0] - x) ** 2 + (place[..., 1] - y) ** 2 <= self.near**2

    def _walls(self, p: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return []

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """The room from above, in metres; `red` is in the middle of the square."""
        west, south, width, height = self.red
        middle = west + width / 2, south + height / 2
        marks = {"start": self.start_at, "green": self.goal, "red": middle}
        return FloorMap(self.bounds, [], marks)

    def _draw_goal(self, draw: ImageDraw.ImageDraw, pixel: Pixel, p: Mapping[str, float]) -> None:
        """The red, the green, and a ring around the goal that is told."""
        west, south, width, height = self.red
        draw.rectangle((*pixel(west, south + height), *pixel(west + width, south)), fill=RED)
        draw.ellipse(around(pixel, self.goal, self.near), fill=GREEN)
        draw.ellipse(around(pixel, self._goal(p), self.near), outline=TOLD, width=4)


green_red = GreenRed()
