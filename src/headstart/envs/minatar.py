"""MinAtar's games (Young and Tian, 2019, 1903.03176): Atari's ideas on 10 × 10 cells, in JAX.

The games are `pgx`'s. All have the same six actions and ten channels, the last of which are empty
in those that have fewer objects: so that one policy can play all of them.
"""

# pgx's functions have no types that are known.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.jax_env import JaxEnvironment
from headstart.errors import HeadstartError
from headstart.problem.parameter import Parameter
from headstart.pytree import PyTree

SIDE, CHANNELS, CELL = 10, 10, 24
STICKY = 0.1
COLOURS = np.array(
    [
        (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0),
        (86, 180, 233), (240, 228, 66), (150, 75, 0), (120, 120, 120), (240, 240, 240),
    ],
    np.uint8,
)  # fmt: skip
"""Of the channels, in pictures; the last that is on is seen."""
GAMES = {
    "asterix": "MinAtarAsterix", "breakout": "MinAtarBreakout", "freeway": "MinAtarFreeway",
    "seaquest": "MinAtarSeaquest", "space_invaders": "MinAtarSpaceInvaders",
}  # fmt: skip
if find_spec("pgx") is None:
    raise HeadstartError("MinAtar needs pgx: install it by pip install 'headstart[minatar]'")
# Not while a function is traced: pgx makes arrays when it is imported.
KINDS: dict[str, Any] = {
    game: getattr(import_module(f"pgx.minatar.{game}"), kind) for game, kind in GAMES.items()
}


@dataclass(frozen=True)
class MinAtar(JaxEnvironment):
    """One of the games. The reward is its score, and it ends as it does; who plays on is cut short
    after `horizon` steps.

    The actions are to do nothing, to go left, up, right or down, and to fire. Each is replaced by
    the one before with the probability `sticky`. What is seen is an image of 10 × 10 cells and 10
    channels of bytes, 255 where there is something.
    """

    game: str
    horizon: int = 2500
    dt: float = 0.1
    action_names: tuple[str, ...] = ("nothing", "left", "up", "right", "down", "fire")

    @property
    def name(self) -> str:
        return f"minatar-{self.game.replace('_', '-')}"

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        text = "that the action before is repeated"
        return {"sticky": Parameter(STICKY, 0.0, 1.0, "probability", text, rare=True)}

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (SIDE, SIDE, CHANNELS), np.uint8)

    @cached_property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(6)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> PyTree:
        return self._made(p).init(key)

    def step(
        self, state: PyTree, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[PyTree, jax.Array, jax.Array]:
        after = self._made(p).step(state, action, key)
        return after, after.rewards[0], after.terminated

    def observe(self, state: PyTree, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        seen = state.observation.astype(jnp.uint8) * jnp.uint8(255)
        return jnp.pad(seen, ((0, 0), (0, 0), (0, CHANNELS - seen.shape[-1])))

    def _made(self, p: Mapping[str, jax.Array]) -> Any:
        """The game with these parameters."""
        return KINDS[self.game](use_minimal_action_set=False, sticky_action_prob=p["sticky"])

    def picture(self, state: PyTree, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: a colour for each channel."""
        seen = np.asarray(state.observation)
        cells = np.full((SIDE, SIDE, 3), 24, np.uint8)
        for channel in range(seen.shape[-1]):
            cells[seen[..., channel]] = COLOURS[channel]
        return cells.repeat(CELL, 0).repeat(CELL, 1)


asterix, breakout, freeway, seaquest, space_invaders = map(MinAtar, GAMES)
