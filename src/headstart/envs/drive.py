"""A winding road with slower cars on it, seen from behind the wheel: a small pixel world in JAX.

The world is kept in road coordinates: how far along the road (`s`), how far right of its centre
line (`y`), and the heading relative to it. A road bends as a sum of three sines of `s`. Daylight,
rain, fog, colours and camera change the picture only; grip, engine, wind, traffic and bends change
the driving only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array, lax

from headstart.envs.drive_picture import CAR_LENGTH, CAR_WIDTH, HALF_ROAD, SIZE, Sight, render
from headstart.envs.jax_env import JaxEnvironment
from headstart.problem.parameter import Parameter

PICTURE = 192  # pixels a side, for people
CARS = 3
LANE = HALF_ROAD / 2  # m, from the centre line to the middle of a lane
DT = 0.1  # s
GRAVITY = 9.81  # m/s²
BRAKE, ROLLING, DRAG = 7.0, 0.3, 0.005  # m/s², m/s², 1/m
TURN_RATE = 0.5  # rad/s, at full lock
TURN_RADIUS = 8.0  # m, at full lock and walking pace
FULL_SPEED = 25.0  # m/s, at which a step is worth 1
TRAFFIC_SPEED = 11.0  # m/s
BEHIND = 9.0  # m, where a car that was overtaken is forgotten
WAVES = 2 * np.pi / np.array([97.0, 163.0, 271.0], np.float32)  # 1/m, of the bends
SHARES = np.array([0.4, 0.35, 0.25], np.float32)  # of the tightest curvature


class State(NamedTuple):
    """Where the car is on the road, and the others around it; scalars but for the last four."""

    s: Array
    """Along the road, m."""
    y: Array
    """To the right of the centre line, m."""
    heading: Array
    """To the right of the road's direction, rad."""
    speed: Array
    """m/s."""
    phase: Array
    """`[3]`, of the road's bends at its start, rad."""
    gap: Array
    """`[cars]`, how far ahead the other cars are, the nearest first, m."""
    lane: Array
    """`[cars]`, −1 for the left lane and 1 for the right."""
    paint: Array
    """`[cars]`, the hue of each, in [0, 1)."""


@dataclass(frozen=True)
class Drive(JaxEnvironment):
    """Drive far in 20 s: round the bends, past slower cars and not off the road.

    An action is `3 · steering + pedal`: left, straight, right; brake, coast, gas. A step's reward
    is its progress along the road, 1 at 25 m/s. Leaving the road or touching a car ends the
    episode.
    """

    name: str = "drive"
    action_names: tuple[str, ...] = tuple(
        f"{way}, {pedal}"
        for way in ("left", "straight", "right")
        for pedal in ("brake", "coast", "gas")
    )
    horizon: int = 200
    dt: float = DT

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "grip": Parameter(0.9, 0.2, 0.9, "1", "friction between tyres and road"),
            "engine": Parameter(4.0, 2.0, 8.0, "m/s²", "acceleration at full gas"),
            "wind": Parameter(0.0, -3.0, 3.0, "m/s", "sideways drift, to the right"),
            "traffic": Parameter(2.0, 0.0, 4.0, "1/100 m", "other cars"),
            "bends": Parameter(0.02, 0.0, 0.03, "1/m", "curvature of the tightest bend"),
            "view": Parameter(0, 0, 1, "", "0 from behind the wheel, 1 from above", integer=True),
            "daylight": Parameter(1.0, 0.05, 1.0, "1", "1 sun, 0.35 dusk, 0.05 night"),
            "rain": Parameter(0.0, 0.0, 1.0, "1", "streaks, grey light and a wet road"),
            "fog": Parameter(0.0, 0.0, 1.0, "1", "1 hides what is 25 m away"),
            "palette": Parameter(0.0, -0.5, 0.5, "turn", "repaints everything; ±0.5 are the same"),
            "saturation": Parameter(1.0, 0.0, 1.5, "1", "0 is black and white"),
            "brightness": Parameter(1.0, 0.5, 1.5, "1", "of the camera"),
            "contrast": Parameter(1.0, 0.4, 1.6, "1", "of the camera"),
            "camera_noise": Parameter(0.0, 0.0, 0.2, "1", "standard deviation; white is 1"),
            "camera_height": Parameter(2.2, 1.4, 4.0, "m", "above the road, behind the wheel"),
            "camera_pitch": Parameter(0.0, -0.15, 0.15, "rad", "downwards, behind the wheel"),
            "camera_offset": Parameter(0.0, -1.0, 1.0, "m", "to the right, behind the wheel"),
        }

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(9)

    @property
    def experts(self) -> dict[str, Callable[[State, Mapping[str, Array]], Array]]:
        """Who may drive while observations are recorded: `good` drivers, and `bad` ones."""
        from headstart.envs.drivers import careful, reckless

        return {"good": careful, "bad": reckless}

    def reset(self, p: Mapping[str, Array], key: Array) -> State:
        """In a lane at 8 to 16 m/s, on a road of its own."""
        phase, place, cars = jax.random.split(key, 3)
        side, y, heading, speed = jax.random.uniform(place, (4,))
        spread, lane, paint = jax.random.uniform(cars, (3, CARS))
        return State(
            s=jnp.float32(0.0),
            y=_lane(side) * LANE + y - 0.5,
            heading=0.1 * (heading - 0.5),
            speed=8.0 + 8.0 * speed,
            phase=jax.random.uniform(phase, (3,), maxval=2 * np.pi),
            gap=jnp.cumsum(_spacing(p, spread)),
            lane=_lane(lane),
            paint=paint,
        )

    def step(
        self, state: State, action: Array, p: Mapping[str, Array], key: Array
    ) -> tuple[State, Array, Array]:
        """One step of 0.1 s: the next state, the reward, and whether the episode ended there."""
        steering, pedal = action // 3 - 1, action % 3 - 1
        hold = p["grip"] * GRAVITY
        speed = state.speed
        drag = DRAG * speed**2 + ROLLING
        push = jnp.where(pedal > 0, p["engine"], jnp.where(pedal < 0, -BRAKE, 0.0))
        faster = jnp.maximum(speed + DT * (jnp.clip(push, -hold, hold) - drag), 0.0)
        # What the tyres cannot hold, the car does not turn: it slides to the outside of the bend.
        turn = jnp.minimum(
            jnp.minimum(TURN_RATE, speed / TURN_RADIUS), hold / jnp.maximum(speed, 1.0)
        )
        bend = curvature(state, p)
        along = speed * jnp.cos(state.heading) / (1.0 - bend * state.y)
        heading = state.heading + DT * (steering * turn - bend * along)
        y = state.y + DT * (speed * jnp.sin(state.heading) + p["wind"])
        gap = state.gap + DT * (TRAFFIC_SPEED - along)

        spread, lane, paint = jax.random.uniform(key, (3,))
        passed = gap[0] < -BEHIND
        moved = State(
            s=state.s + DT * along,
            y=y,
            heading=heading,
            speed=faster,
            phase=state.phase,
            gap=_replace_first(gap, gap[-1] + _spacing(p, spread), passed),
            lane=_replace_first(state.lane, _lane(lane), passed),
            paint=_replace_first(state.paint, paint, passed),
        )
        beside = jnp.abs(moved.lane * LANE - y) < 0.95 * CAR_WIDTH
        crashed = jnp.any(beside & (jnp.abs(moved.gap) < CAR_LENGTH))
        backwards = jnp.abs(heading) > np.pi / 2
        return moved, along / FULL_SPEED, crashed | backwards | (jnp.abs(y) > HALF_ROAD)

    def observe(self, state: State, p: Mapping[str, Array], key: Array) -> Array:
        """What the camera sees, bytes `[48, 48, 3]`; the key is for rain and camera noise."""
        return _look(state, p, jax.random.key_data(key)[-1], SIZE)

    def picture(self, state: State, p: Mapping[str, float]) -> Array:
        """The same for people, bytes `[192, 192, 3]`."""
        return _look(state, p, lax.bitcast_convert_type(jnp.asarray(state.s), jnp.uint32), PICTURE)


@partial(jax.jit, static_argnums=3)
def _look(state: State, p: Mapping[str, Array], seed: Array, size: int) -> Array:
    sight = Sight(
        course=lambda ahead: _course(state, p, ahead) - state.y - state.heading * ahead,
        bearing=_bearing(state, p),
        place=state.s,
        speed=state.speed,
        gap=state.gap,
        side=state.lane * LANE,
        paint=state.paint,
    )
    return render(sight, p, seed, size)


def curvature(state: State, p: Mapping[str, Array], ahead: float | Array = 0.0) -> Array:
    """Of the road `ahead` metres further on, 1/m; positive to the right."""
    return p["bends"] * jnp.sum(SHARES * jnp.sin(state.phase + WAVES * (state.s + ahead)))


def _course(state: State, p: Mapping[str, Array], ahead: Array) -> Array:
    """How far right of the car's tangent to the road its centre line is `ahead` `[n]` metres on.

    The double integral of the curvature.
    """
    metres = jnp.zeros_like(ahead)
    # One wave at a time: XLA is slow to sum over an axis of three.
    for wave, share, phase in zip(WAVES, SHARES, state.phase, strict=True):
        start = phase + wave * state.s
        bent = (jnp.sin(start + wave * ahead) - jnp.sin(start)) * (1 / wave)
        metres += share / wave * (ahead * jnp.cos(start) - bent)
    return p["bends"] * metres


def _bearing(state: State, p: Mapping[str, Array]) -> Array:
    """Where the car points, rad: the integral of the curvature, and the heading on the road."""
    turned = jnp.sum(SHARES / WAVES * jnp.cos(state.phase + WAVES * state.s))
    return state.heading - p["bends"] * turned


def _lane(uniform: Array) -> Array:
    return jnp.where(uniform < 0.5, -1.0, 1.0)


def _spacing(p: Mapping[str, Array], uniform: Array) -> Array:
    """Metres to the next car: 60 to 140 % of the mean."""
    return (0.6 + 0.8 * uniform) * 100.0 / jnp.maximum(p["traffic"], 1e-3)


def _replace_first(values: Array, last: Array, really: Array) -> Array:
    """Drop the first of `values` and append `last`."""
    return jnp.where(really, jnp.concatenate([values[1:], last[None]]), values)


drive = Drive()
