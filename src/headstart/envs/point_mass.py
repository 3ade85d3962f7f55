"""A point mass that is pushed about on a plane: what its worlds share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from PIL import ImageDraw

from headstart.envs.jax_env import JaxEnvironment

DT = 0.1  # seconds
FULL_SPEED = 2.0  # m/s, at nominal drag
DRAG = 4.0  # 1/s
THRUST = FULL_SPEED * DRAG  # m/s², at an action of length 1

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
class PointMass(JaxEnvironment):
    """The action is a push in x and y, shortened to length 1 where it is longer; the observation
    tells the position and the velocity."""

    observation_names: tuple[str, ...] = ("x", "y", "x speed", "y speed")
    action_names: tuple[str, ...] = ("push x", "push y")

    metres: ClassVar[float] = 10.0
    """That an observed position of 1 stands for."""

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return jnp.concatenate([state.position / self.metres, state.velocity / FULL_SPEED])

    def position(self, obs: np.ndarray) -> np.ndarray:
        """Metres `[..., 2]` from observations `[..., 4]`."""
        return obs[..., :2] * self.metres

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (4,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)


def pushed(
    state: State, action: jax.Array, drag: jax.Array | float, low: jax.Array, high: jax.Array
) -> State:
    """After a step of pushing between walls at `low` and `high`, in metres, one or `[2]`: the exact
    solution of v' = push − drag · v, and a stop where a wall is met."""
    push = THRUST * action / jnp.maximum(1.0, length(action))
    settled = push / drag
    velocity = settled + (state.velocity - settled) * jnp.exp(-drag * DT)
    position = state.position + settled * DT + (state.velocity - velocity) / drag
    inside = jnp.clip(position, low, high)
    return State(inside, jnp.where((inside != position).any(), 0.0, velocity))


def length(vector: jax.Array) -> jax.Array:
    return jnp.sqrt((vector**2).sum())


def draw_mass(
    draw: ImageDraw.ImageDraw, pixel: Callable[[float, float], tuple[float, float]], state: State
) -> None:
    """The mass, and a line along the way of its next half second."""
    here = np.asarray(state.position)
    x, y = pixel(*here.tolist())
    ahead = pixel(*(here + np.asarray(state.velocity) / 2).tolist())
    draw.line((x, y, *ahead), fill=ARROW, width=6)
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill=AGENT)
