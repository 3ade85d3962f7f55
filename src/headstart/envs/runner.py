"""A point mass that is rewarded for getting away from where it started, whichever way.

On an open plane every direction is as good as any other. In a hallway one is: who has settled on
another in the open runs into a wall there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from PIL import Image, ImageDraw

from headstart.envs.floor_map import FloorMap
from headstart.envs.jax_env import JaxEnvironment
from headstart.envs.plane import (
    AGENT,
    ARROW,
    DRAG,
    DT,
    FENCE,
    FULL_SPEED,
    GRASS,
    LINE,
    SIDE,
    SUPERSAMPLE,
    State,
    glided,
    length,
)
from headstart.envs.spec import Parameter

OPEN = 100.0  # metres, half the width of a hallway whose walls are out of reach
METRES = 10.0  # that an observed position of 1 stands for
REACH = 11.0  # metres either way in a picture


@dataclass(frozen=True)
class Runner(JaxEnvironment):
    """The reward of a step is how much further from its start the runner is than before, at most 1:

        (|x'| − |x|) / (FULL_SPEED · DT)

    or, where it is `directed`, how far it came in the direction that it is to run in. The action is
    a push in x and y, shortened to length 1 where it is longer. Who meets a wall stops. The
    hallway is closed behind the start. The observation is the position in units of `METRES` and the
    velocity in units of full speed; it tells nothing of walls or directions.
    """

    name: str = "runner"
    horizon: int = 50
    dt: float = DT

    observation_names: tuple[str, ...] = ("x", "y", "x speed", "y speed")
    action_names: tuple[str, ...] = ("push x", "push y")

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "hallway": Parameter(OPEN, 0.3, OPEN, "m", "half its width; 100: an open plane"),
            "leads": Parameter(0.0, -180.0, 180.0, "°", "where the hallway leads, from the east"),
            "directed": Parameter(0, 0, 1, "", "1: only one direction is rewarded", integer=True),
            "direction": Parameter(0.0, -180.0, 180.0, "°", "the direction that is then rewarded"),
        }

    @cached_property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (4,), np.float32)

    @cached_property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, p: Mapping[str, jax.Array], key: jax.Array) -> State:
        """At the start, at rest, within 0.1 m."""
        return State(jax.random.uniform(key, (2,), minval=-0.1, maxval=0.1), jnp.zeros(2))

    def step(
        self, state: State, action: jax.Array, p: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[State, jax.Array, jax.Array]:
        moved = glided(state, action, DRAG)
        along, across = _axes(p["leads"])
        place = jnp.stack([moved.position @ along, moved.position @ across])
        lowest = jnp.stack([-p["hallway"], -p["hallway"]])
        inside = jnp.clip(place, lowest, jnp.stack([OPEN, p["hallway"]]))
        met = (inside != place).any()
        position = inside[0] * along + inside[1] * across
        # In the open nothing is turned there and back, so that nothing is rounded.
        position = jnp.where(met, position, moved.position)
        after = State(position, jnp.where(met, 0.0, moved.velocity))
        way = _axes(p["direction"])[0]
        away = length(after.position) - length(state.position)
        gained = jnp.where(p["directed"] > 0, (after.position - state.position) @ way, away)
        return after, gained / (FULL_SPEED * DT), jnp.bool_(False)

    def observe(self, state: State, p: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return jnp.concatenate([state.position / METRES, state.velocity / FULL_SPEED])

    def position(self, obs: np.ndarray) -> np.ndarray:
        """Metres `[..., 2]` from observations `[..., 4]`."""
        return obs[..., :2] * METRES

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
        here = np.asarray(state.position)
        x, y = pixel(*here.tolist())
        draw.line((x, y, *pixel(*(here + np.asarray(state.velocity) / 2).tolist())), ARROW, 6)
        draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill=AGENT)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))

    def floor_map(self, p: Mapping[str, float]) -> FloorMap:
        """10 m either way from above, in metres, with the hallway's walls."""
        bounds = (-REACH, REACH, -REACH, REACH)
        return FloorMap(bounds, [], {"start": (0.0, 0.0)}, _walls(p))


def _axes(degrees: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Unit vectors along a direction and to the left of it."""
    angle = jnp.deg2rad(degrees)
    along = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return along, jnp.stack([-along[1], along[0]])


def _walls(p: Mapping[str, float]) -> list[list[tuple[float, float]]]:
    """Lines of walls, if there are any near."""
    half = p["hallway"]
    if half >= OPEN:
        return []
    angle = np.deg2rad(p["leads"])
    along = np.array([np.cos(angle), np.sin(angle)])
    left = np.array([-along[1], along[0]])
    far = 2 * METRES * along
    corners = [far + half * left, half * (left - along), -half * (left + along), far - half * left]
    return [[(float(x), float(y)) for x, y in corners]]


runner = Runner()
