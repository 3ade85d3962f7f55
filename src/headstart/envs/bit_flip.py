"""Bits to be flipped until they are as wanted (Andrychowicz et al., NeurIPS 2017, 1707.01495).

Every step costs 1 until the goal is met. Random actions never meet it once there are more than a
dozen bits, and then there is no reward to learn from.
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

from headstart.envs.goals import ACHIEVED, DESIRED, Goals, Near
from headstart.envs.jax_env import JaxEnvironment
from headstart.envs.spec import ACTION_MASK
from headstart.problem.parameter import Parameter

MOST = 50
GOALS = Near(0.5, ends=True)
CELL, GAP, COLUMNS = 24, 3, 10
PAPER, OFF, ON, WRONG = (250, 250, 248), (214, 226, 238), (70, 80, 90), (214, 121, 58)


class State(NamedTuple):
    """Bits and wanted bits, `[50]`, of which the first few count."""

    bits: jax.Array
    goal: jax.Array


@dataclass(frozen=True)
class BitFlip(JaxEnvironment):
    """Action i flips bit i. An episode has as many steps as bits, and ends when the goal is met.

    A bit is seen as −1 or 1. There is room for 50; those beyond `bits` are 0, and are not flipped.
    """

    name: str = "bit-flip"
    horizon: int = MOST
    dt: float = 0.3
    goals: Goals = GOALS

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        count = Parameter(15, 1, MOST, "1", "how many bits there are", integer=True)
        return {"bits": count}

    @cached_property
    def observation_space(self) -> spaces.Dict:
        low = {"observation": -1.0, ACHIEVED: -1.0, DESIRED: -1.0, ACTION_MASK: 0.0}
        return spaces.Dict({n: spaces.Box(x, 1.0, (MOST,), np.float32) for n, x in low.items()})

    @cached_property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(MOST)

    def limit(self, p: Mapping[str, jax.Array]) -> jax.Array:
        return p["bits"].astype(jnp.int32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        """Bits and goal uniformly at random."""
        drawn = jax.random.bernoulli(key, shape=(2, MOST)) & self._there(p)[None]
        return State(*drawn.astype(jnp.float32))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        flips = (jnp.arange(MOST) == action) & self._there(p)
        state = state._replace(bits=jnp.where(flips, 1 - state.bits, state.bits))
        met = self.goals.success(state.bits, state.goal)
        return state, self.goals.reward(state.bits, state.goal), met

    def observe(
        self, state: State, p: Mapping[str, jax.Array], key: jax.Array
    ) -> dict[str, jax.Array]:
        there = self._there(p).astype(jnp.float32)
        bits, goal = ((2 * x - 1) * there for x in state)
        return {"observation": bits, ACHIEVED: bits, DESIRED: goal, ACTION_MASK: there}

    def _there(self, p: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.arange(MOST) < p["bits"]

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the bits above and the wanted ones below, dark where they are
        1, and framed where they differ."""
        count = int(p["bits"])
        lines = -(-count // COLUMNS)
        size = COLUMNS * CELL + GAP, (2 * lines + 1) * CELL + GAP
        image = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(image)
        for below, bits in enumerate((state.bits, state.goal)):
            for i in range(count):
                x, y = i % COLUMNS * CELL, (i // COLUMNS + below * (lines + 1)) * CELL
                wrong = state.bits[i] != state.goal[i]
                draw.rectangle(
                    (x + GAP, y + GAP, x + CELL - 1, y + CELL - 1), fill=ON if bits[i] else OFF,
                    outline=WRONG if wrong else None, width=GAP,
                )  # fmt: skip
        return np.asarray(image)


bit_flip = BitFlip()
