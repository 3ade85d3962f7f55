"""A puck on a table that a camera sees from above: what is observed is a picture, and so are goals.

Whether two pictures are of one place is known to the environment, which finds the puck in them, and
is what a learner would have to find out.
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, Shaped

from headstart.envs.goals import ACHIEVED, DESIRED, Goals
from headstart.envs.jax_env import JaxEnvironment
from headstart.problem.parameter import Parameter

PIXELS, METRES = 24, 2.8
"""A side of the picture."""
RADIUS = 0.2  # metres, of the puck: the deviation of its brightness
STEP = 0.1  # metres, at most, along each axis
CENTRES = (np.arange(PIXELS, dtype=np.float32) + 0.5) * METRES / PIXELS - METRES / 2
CELL = 10
TABLE, PUCK, GOAL = np.array([(226, 232, 222), (70, 80, 90), (214, 121, 58)], np.float32)


@dataclass(frozen=True)
class Seen(Goals):
    """A step costs 1 unless the puck is within a distance of where the goal's picture has it."""

    tolerance: float = 0.1
    """In metres."""

    def place(self, picture: Shaped[Array, "... h w 1"]) -> Float[Array, "... 2"]:
        """Where the puck is, in metres to the right and up: the middle of what is bright."""
        bright = picture[..., 0].astype(jnp.float32)
        across, along = bright.sum(-2), bright.sum(-1)
        total = jnp.maximum(across.sum(-1), 1.0)
        return jnp.stack([across @ CENTRES / total, along @ -CENTRES / total], axis=-1)

    def reward(
        self, achieved: Shaped[Array, "... h w 1"], goal: Shaped[Array, "... h w 1"]
    ) -> Float[Array, "..."]:
        return jnp.where(self.success(achieved, goal), 0.0, -1.0)

    def success(
        self, achieved: Shaped[Array, "... h w 1"], goal: Shaped[Array, "... h w 1"]
    ) -> Bool[Array, "..."]:
        apart = self.place(achieved) - self.place(goal)
        return jnp.sqrt((apart**2).sum(-1)) <= self.tolerance


class State(NamedTuple):
    """Where the puck is, and where it is to be, in metres."""

    place: jax.Array
    goal: jax.Array


@dataclass(frozen=True)
class Puck(JaxEnvironment):
    """An action moves the puck, by 0.1 m at most along each axis; it stays on the table, which is
    2 m wide. Start and goal are anywhere on it."""

    name: str = "puck"
    horizon: int = 50
    dt: float = 0.1
    goals: Goals = Seen()
    action_names: tuple[str, ...] = ("right", "up")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {"light": Parameter(1.0, 0.2, 1.0, "1", "how bright the pictures are")}

    @cached_property
    def observation_space(self) -> spaces.Dict:
        picture = spaces.Box(0, 255, (PIXELS, PIXELS, 1), np.uint8)
        return spaces.Dict(dict.fromkeys(("observation", ACHIEVED, DESIRED), picture))

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        return State(*jax.random.uniform(key, (2, 2), minval=-1.0, maxval=1.0))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        place = jnp.clip(state.place + STEP * jnp.clip(action, -1.0, 1.0), -1.0, 1.0)
        after = state._replace(place=place)
        pictures = (seen_from_above(at, p["light"]) for at in after)
        return after, self.goals.reward(*pictures), jnp.bool_(False)

    def observe(
        self, state: State, p: Mapping[str, jax.Array], key: jax.Array
    ) -> dict[str, jax.Array]:
        now, wanted = (seen_from_above(at, p["light"]) for at in state)
        return {"observation": now, ACHIEVED: now, DESIRED: wanted}

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the puck, dark, and where it is to be."""
        image = np.broadcast_to(TABLE, (PIXELS, PIXELS, 3))
        for place, colour in ((state.goal, GOAL), (state.place, PUCK)):
            there = np.asarray(seen_from_above(jnp.asarray(place), 1.0)) / np.float32(255)
            image = image + (colour - image) * there * p["light"]
        return image.astype(np.uint8).repeat(CELL, 0).repeat(CELL, 1)


def seen_from_above(
    place: Float[Array, "2"], light: Float[Array, ""] | float
) -> Shaped[Array, "h w 1"]:
    """Bytes: a puck that is bright in the middle, on a dark table."""
    right = jnp.exp(-((CENTRES - place[0]) ** 2) / (2 * RADIUS**2))
    up = jnp.exp(-((-CENTRES - place[1]) ** 2) / (2 * RADIUS**2))
    return jnp.round(255 * light * up[:, None, None] * right[None, :, None]).astype(jnp.uint8)


puck = Puck()
