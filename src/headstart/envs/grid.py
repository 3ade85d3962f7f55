"""A 9 × 9 grid with a wall across the short way, after Eysenbach et al., arXiv 2006.13916.

The agent starts at the left and its goal is in the right lower corner. Where there is a wall, the
only way leads over its top:

    . . . . . . . . .
    . . . . . . . . .
    . . . . # . . . .
    . . . . # . . . .
    . . . . # . . . .
    . . . . # . . . .
    S . . . # . . . .
    S . . . # . . . .
    S . . . # . . . G
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
from headstart.problem.parameter import Parameter

SIZE = 9
STARTS = 3  # rows of the first column, from the bottom
GOAL = (SIZE - 1, 0)
WALL_COLUMN, WALL_HEIGHT = SIZE // 2, SIZE - 2
UP, DOWN, RIGHT, LEFT = range(4)

CELL, SUPERSAMPLE = 27, 2
PAPER, LINE, WALL, START, END, AGENT = (
    (250, 250, 248),
    (215, 219, 222),
    (70, 80, 90),
    (214, 226, 238),
    (128, 185, 128),
    (214, 121, 58),
)


class State(NamedTuple):
    """The agent's column, and its row counted from the bottom."""

    x: jax.Array
    y: jax.Array


@dataclass(frozen=True)
class Grid(JaxEnvironment):
    """Reward 1 at the goal, which ends the episode: the return says whether it was reached.

    The actions are `UP`, `DOWN`, `RIGHT` and `LEFT`; a move into a wall or off the grid leaves the
    agent where it is. It sees its column and row, scaled to [−1, 1].
    """

    name: str = "grid"
    horizon: int = 50
    observation_names: tuple[str, ...] = ("column", "row")
    action_names: tuple[str, ...] = ("up", "down", "right", "left")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "wall": Parameter(0, 0, 1, "1", "1: a wall blocks every shortest path", integer=True),
            "slip": Parameter(0.0, 0.0, 1.0, "probability", "that a random move is made instead"),
        }

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(4)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        row = (jax.random.bits(key) % STARTS).astype(jnp.int32)
        return State(jnp.int32(0), row)

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        # One word serves both draws: most of a step's time goes into random numbers.
        bits = jax.random.bits(key)
        slips = (bits >> 8).astype(jnp.float32) < p["slip"] * 2**24
        action = jnp.where(slips, (bits & 3).astype(jnp.int32), action)
        along = 1 - 2 * (action % 2)
        sideways = action // 2
        x, y = state.x + sideways * along, state.y + (1 - sideways) * along
        free = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE) & ~_is_wall(x, y, p)
        state = State(jnp.where(free, x, state.x), jnp.where(free, y, state.y))
        reached = (state.x == GOAL[0]) & (state.y == GOAL[1])
        return state, reached.astype(jnp.float32), reached

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return jnp.stack([state.x, state.y]) * jnp.float32(2 / (SIZE - 1)) - 1

    def position(self, obs: np.ndarray) -> np.ndarray:
        """Column and row `[..., 2]` from observations `[..., 2]`."""
        return (obs + 1) * (SIZE - 1) / 2

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """The grid from above, in columns and rows."""
        cells = [(x - 0.5, y - 0.5, 1.0, 1.0) for x, y in np.argwhere(walls(p))]
        edge = SIZE - 0.5
        return FloorMap((-0.5, edge, -0.5, edge), cells, {"start": (0.0, 1.0), "goal": GOAL})

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the grid from above, the agent a disc."""
        cell = CELL * SUPERSAMPLE
        image = Image.new("RGB", (SIZE * cell, SIZE * cell), PAPER)
        draw = ImageDraw.Draw(image)

        def box(x: int, y: int, margin: int = 0) -> tuple[int, int, int, int]:
            left, top = x * cell, (SIZE - 1 - y) * cell
            return left + margin, top + margin, left + cell - margin, top + cell - margin

        for row in range(STARTS):
            draw.rectangle(box(0, row), fill=START)
        draw.rectangle(box(*GOAL), fill=END)
        for x, y in np.ndindex(SIZE, SIZE):
            draw.rectangle(box(x, y), outline=LINE, width=SUPERSAMPLE)
        for x, y in np.argwhere(walls(p)).tolist():
            draw.rectangle(box(x, y), fill=WALL)
        draw.ellipse(box(int(state.x), int(state.y), cell // 5), fill=AGENT)
        side = SIZE * CELL
        return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def walls(p: Mapping[str, float]) -> np.ndarray:
    """`[column, row]`, whether there is a wall; rows are counted from the bottom."""
    x, y = np.indices((SIZE, SIZE))
    return np.asarray(_is_wall(x, y, p))


def _is_wall(x, y, p):
    return (p["wall"] > 0) & (x == WALL_COLUMN) & (y < WALL_HEIGHT)


grid = Grid()
