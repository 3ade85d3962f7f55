"""A point mass in a winding maze, which is to get to any place that it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.goals import ACHIEVED, DESIRED, Goals, Near
from headstart.envs.navigation import Block, Maze
from headstart.envs.point_mass import State
from headstart.problem.parameter import Parameter

SIZE = 6.0  # metres a side
TOLERANCE = 0.1  # in units of 5 m
GOALS = Near(TOLERANCE)


@dataclass(frozen=True)
class PointMaze(Maze):
    """A step costs 1 unless it ends within half a metre of the goal, and an episode goes on there.

    What is observed is the position in units of 5 m and the velocity in units of full speed; the
    goal is a position.
    """

    name: str = "point-maze"
    horizon: int = 100
    goals: Goals | None = GOALS
    observation_names: tuple[str, ...] = ()
    place_group: str = "observation"
    bounds: ClassVar[Block] = (0.0, SIZE, 0.0, SIZE)
    start_at: ClassVar[tuple[float, float]] = (0.6, 0.6)
    goal: ClassVar[tuple[float, float]] = (5.4, 5.4)
    metres: ClassVar[float] = 5.0
    near: ClassVar[float] = TOLERANCE * metres

    @property
    def _wall_parameters(self) -> dict[str, Parameter]:
        text = "from one side, each of two walls, by turns; 0: none"
        return {"wall": Parameter(4.5, 0.0, 4.5, "m", text)}

    @cached_property
    def observation_space(self) -> spaces.Dict:  # pyright: ignore
        sizes = {"observation": 4, ACHIEVED: 2, DESIRED: 2}
        return spaces.Dict(
            {name: spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()}
        )

    def observe(  # pyright: ignore
        self, state: State, p: Mapping[str, jax.Array], key: jax.Array
    ) -> dict[str, jax.Array]:
        seen = super().observe(state, p, key)
        wanted = jnp.stack(self._goal(p)) / self.metres
        return {"observation": seen, ACHIEVED: seen[:2], DESIRED: wanted.astype(jnp.float32)}

    def _reward(self, before: jax.Array, after: jax.Array, p: Mapping[str, jax.Array]) -> jax.Array:
        goal = jnp.stack(self._goal(p)) / self.metres
        return GOALS.reward(after / self.metres, goal)

    def _walls(self, p: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """One from the west and one from the east, a third of the way up each."""
        return [(0.0, 1.8, p["wall"], 0.4), (SIZE - p["wall"], 3.8, p["wall"], 0.4)]


point_maze = PointMaze()
