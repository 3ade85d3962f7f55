"""One shot at a target 70 m away in the wind, after Eysenbach et al., arXiv 2006.13916.

An arrow shot at the angle θ lands y = 70 sin θ + f / cos² θ metres beside the centre, with
f ~ N(wind, gust²). The reward is −y²/2, for which both the expected reward and the
maximum-entropy objective log E[exp r] are known: y is normal with some mean m and deviation s, so

    E[r] = −(m² + s²) / 2          log E[exp r] = −m² / (2 (1 + s²)) − log(1 + s²) / 2.

Over ±2°, s changes by 0.12 % of itself, so both are largest where m = 0, at
sin θ ≈ −wind / 70 m: −0.82° in a wind of 1 m (the paper's source) and 0° in none (its target).
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

from headstart.envs.jax_env import JaxEnvironment
from headstart.problem.parameter import Parameter

DISTANCE = 70.0  # metres
WIDEST = 2.0  # degrees, at an action of 1

SIDE, SUPERSAMPLE = 240, 2
METRES = 8.0  # across the picture; the distance is not to scale
GRASS, WOOD, STRING, TEXT = (226, 236, 218), (120, 82, 48), (120, 130, 120), (70, 80, 90)
FACE = ((244, 244, 240), (60, 60, 66), (84, 150, 205), (208, 74, 66), (240, 205, 70))
RING = 0.2  # metres

Numbers = float | np.ndarray


class State(NamedTuple):
    """Where the arrow landed, in metres beside the centre, and whether it has been shot."""

    y: jax.Array
    shot: jax.Array


@dataclass(frozen=True)
class Archery(JaxEnvironment):
    """A single step: the action is an angle, and the observation after it tells `State`.

    Winds beyond ±2.44 m are more than the widest angle can make up for.
    """

    name: str = "archery"
    horizon: int = 1
    observation_names: tuple[str, ...] = ("beside", "shot")
    action_names: tuple[str, ...] = ("angle",)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "wind": Parameter(0.0, -3.0, 3.0, "m", "mean drift of the arrow"),
            "gust": Parameter(0.3, 0.05, 3.0, "m", "standard deviation of the drift"),
        }

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (2,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        return State(jnp.float32(0), jnp.float32(0))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        drift = p["wind"] + p["gust"] * jax.random.normal(key)
        angle = jnp.radians(WIDEST * action[0])
        y = DISTANCE * jnp.sin(angle) + drift / jnp.cos(angle) ** 2
        return State(y, jnp.float32(1)), -(y**2) / 2, jnp.bool_(True)

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return jnp.stack([state.y, state.shot])

    def picture(self, state: State, p: Mapping[str, float]) -> np.ndarray:
        """`[height, width, 3]` bytes: the archer below, the target's face above."""
        side = SIDE * SUPERSAMPLE
        metre, middle, face, bow = side / METRES, side / 2, side * 0.3, side * 0.86
        image = Image.new("RGB", (side, side), GRASS)
        draw = ImageDraw.Draw(image)

        def disc(x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

        for ring, colour in enumerate(FACE):
            disc(middle, face, (len(FACE) - ring) * RING * metre, colour)
        draw.arc((middle - 44, bow - 30, middle + 44, bow + 58), 200, 340, fill=WOOD, width=8)
        disc(middle, bow + 14, 14, TEXT)
        label = f"wind {p['wind']:.2g} ± {p['gust']:.2g} m"
        draw.text((12, side - 40), label, fill=TEXT, font_size=24)
        if state.shot:
            x = middle + float(np.clip(state.y, -METRES / 2, METRES / 2)) * metre
            draw.line((middle, bow - 30, x, face), fill=STRING, width=3)
            disc(x, face, 11, (255, 255, 255))
            disc(x, face, 8, TEXT)
            draw.text((12, 10), f"{float(state.y):+.2f} m", fill=TEXT, font_size=24)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def expected_reward(degrees: Numbers, p: Mapping[str, float]) -> Numbers:
    """E[r] of shooting at angles in degrees `[...]`, as above."""
    mean, deviation = _landing(degrees, p)
    return -(mean**2 + deviation**2) / 2


def soft_reward(degrees: Numbers, p: Mapping[str, float]) -> Numbers:
    """log E[exp r] of shooting at angles in degrees `[...]`, as above."""
    mean, deviation = _landing(degrees, p)
    return -(mean**2) / (2 * (1 + deviation**2)) - np.log1p(deviation**2) / 2


def _landing(degrees: Numbers, p: Mapping[str, float]) -> tuple[Numbers, Numbers]:
    angle = np.radians(degrees)
    stretch = 1 / np.cos(angle) ** 2
    return DISTANCE * np.sin(angle) + p["wind"] * stretch, p["gust"] * stretch


archery = Archery()
