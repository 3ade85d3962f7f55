"""The picture of a road and what is on it, for `drive`, from behind the wheel or from above.

It is drawn by rows, as old racing games did it. All that depends on the distance is worked out
once a row, so that a pixel costs a little arithmetic for each thing that may cover it. A colour is
a list of red, green and blue in [0, 1], each an array of its own, and constants are multiplied by
rather than divided by: XLA then makes long vector loops of it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

HALF_ROAD, KERB = 4.0, 0.7  # m
CAR_WIDTH, CAR_LENGTH, CAR_HEIGHT = 2.0, 4.4, 1.5  # m
SIZE = 48  # pixels a side

# Rows are numbered from −1 (top) to 1 (bottom), and columns likewise.
FOCAL = 1.4  # length of the lens, in half widths of the picture
HORIZON = -0.2
ABOVE = 17.0  # m in half a picture from above
OWN_ROW = 0.45  # of the own car, from above
OVERHEAD = 12.0  # m of fog and rain between the ground and the camera above it
FASTEST = 35.0  # m/s, at the end of the speed bar
SUN = 0.25  # rad, where the sun stands
NIGHT, DUSK = 0.05, 0.35  # daylight

Rgb = Sequence[Array] | Sequence[float]
DARK, LAMP, OWN_PAINT = (0.06, 0.07, 0.09), (1.0, 0.06, 0.04), (0.85, 0.12, 0.10)
# The parts of a car from the ground up, or from its rear to its front: from where to where; half
# the width, and that of what is in the middle; how much of the sides is paint and how much lamp,
# and how much of the middle is paint. The rest is dark.
FROM_BEHIND = (
    (-0.12, 0.06, 1.12, 0.00, 0.0, 0.0, 0.0),  # shadow
    (0.06, 0.22, 1.00, 0.60, 0.0, 0.0, 0.0),  # tyres
    (0.22, 0.38, 1.00, 0.00, 1.0, 0.0, 1.0),
    (0.38, 0.60, 1.00, 0.55, 0.0, 1.0, 1.0),  # rear lamps
    (0.60, 0.66, 0.96, 0.00, 1.0, 0.0, 1.0),
    (0.66, 0.90, 0.82, 0.66, 1.0, 0.0, 0.1),  # window
    (0.90, 1.00, 0.72, 0.00, 1.0, 0.0, 1.0),
)
FROM_ABOVE = (
    (0.00, 0.07, 0.94, 0.55, 0.0, 1.0, 1.0),  # rear lamps
    (0.07, 0.16, 1.00, 0.00, 1.0, 0.0, 1.0),
    (0.16, 0.30, 0.94, 0.70, 1.0, 0.0, 0.1),  # rear window
    (0.30, 0.52, 0.94, 0.00, 1.0, 0.0, 1.0),
    (0.52, 0.70, 0.94, 0.76, 1.0, 0.0, 0.1),  # windscreen
    (0.70, 0.92, 1.00, 0.00, 1.0, 0.0, 1.0),
    (0.92, 1.00, 0.90, 0.00, 1.0, 0.0, 1.0),
)


class Sight(NamedTuple):
    """What there is to see."""

    course: Callable[[Array], Array]
    """How far right of straight ahead the centre line is so many metres on, `[n]` to `[n]`, m."""
    bearing: Array
    """The car's direction, which moves the hills and the sun, rad."""
    place: Array
    """Along the road, m."""
    speed: Array
    """m/s."""
    gap: Array
    """`[cars]`, how far ahead the other cars are, the nearest first, m."""
    side: Array
    """`[cars]`, how far right of the centre line they are, m."""
    paint: Array
    """`[cars]`, the hue of each, in turns."""


def _mix(one: Rgb, other: Rgb, share: Array | float) -> list[Array]:
    return [jnp.asarray(a + (b - a) * share) for a, b in zip(one, other, strict=True)]


def _times(colour: Rgb, by: Rgb) -> list[Array]:
    return [jnp.asarray(a * b) for a, b in zip(colour, by, strict=True)]


def _unit(x: Array) -> Array:
    """Within [0, 1]; a bound that is not 0 spares compiled code the care of −0 and NaN."""
    return jnp.clip(x, 1e-30, 1.0)


def _soft(edge: Array) -> Array:
    """How much of a pixel lies inside an edge that is `edge` pixels away from its middle."""
    return _unit(edge + 0.5)


def _by_light(daylight: Array, night: Rgb, dusk: Rgb, day: Rgb) -> list[Array]:
    """The colour of a light between its colours at night, at dusk and in the sun."""
    early = _unit((daylight - NIGHT) * (1 / (DUSK - NIGHT)))
    return _mix(_mix(night, dusk, early), day, _high(daylight))


def _high(daylight: Array) -> Array:
    """0 when the sun is on the horizon, 1 when it is high."""
    return _unit((daylight - DUSK) * (1 / (1 - DUSK)))


def _hue(cos: Array, sin: Array) -> list[Array]:
    """A vivid colour for each angle round the circle of hues; red is at 0."""
    thirds = [2 * np.pi * i / 3 for i in range(3)]
    return [0.5 + 0.5 * (cos * np.cos(third) + sin * np.sin(third)) for third in thirds]


class _Palette(NamedTuple):
    """A way of painting everything, as an angle: nothing changes at 0."""

    cos: Array
    sin: Array

    def paint(self, colour: Rgb, turns: int, tint: float = 0.2) -> list[Array]:
        """The colour after `turns` round all hues for one turn of the palette."""
        cos, sin = self.cos, self.sin
        for _ in range(turns - 1):
            cos, sin = cos * self.cos - sin * self.sin, sin * self.cos + cos * self.sin
        grey = (colour[0] + colour[1] + colour[2]) * (1 / 3)
        spread = [channel - grey for channel in colour]
        hue = _hue(cos, sin)
        # A rotation about the grey axis (Rodrigues' formula for a vector at right angles to it).
        return [
            _unit(
                grey * (1.0 + 0.25 * sin)
                + spread[i] * cos
                + (spread[i - 1] - spread[i - 2]) * (3**-0.5 * sin)
                + tint * (1.0 - self.cos) * (hue[i] - 0.5)
            )
            for i in range(3)
        ]


def _stripes(place: Array, period: float, sharp: Array) -> Array:
    """1 and 0 in turn along the road, half a period each, with `sharp` pixels to the metre."""
    turns = place * (1 / period)
    inside = period * (0.25 - jnp.abs(turns - jnp.floor(turns) - 0.5))
    return 0.5 + (_soft(inside * sharp) - 0.5) * _unit(period / 2 * sharp)


def _hash(index: Array, seed: Array) -> Array:
    """Random bits `uint32` for every index; the finaliser of MurmurHash3."""
    bits = index * np.uint32(0x9E3779B9) + seed
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


@lru_cache
def _fixed(size: int) -> dict[str, np.ndarray]:
    """What is the same in every picture, `[size, size]` each.

    The own car from behind the wheel and from above is packed: red, green and blue, and in the
    highest byte how much of what is behind it can be seen.
    """
    fine = 4
    at = (2 * np.arange(size * fine) + 1) / (size * fine) - 1
    v, u = np.meshgrid(at, at, indexing="ij")

    def packed(layers: Sequence[tuple[np.ndarray, Sequence[float]]]) -> np.ndarray:
        image = np.zeros((*u.shape, 4))
        image[..., 3] = 1.0
        for where, colour in [*layers, (v > 0.89, (0.02, 0.02, 0.03))]:
            image[where] = (*colour, 0.0)
        small = image.reshape(size, fine, size, fine, 4).mean((1, 3))
        shifts = np.array([0, 8, 16, 24], np.uint32)
        return (np.rint(small * 255).astype(np.uint32) << shifts).sum(-1, dtype=np.uint32)

    bonnet = 0.62 + 0.16 * u**2 + 4.0 * np.maximum(np.abs(u) - 0.78, 0.0) ** 2
    rim = np.hypot(u, v - 1.12)
    behind = [
        (v > bonnet, (0.62, 0.09, 0.08)),
        ((v > bonnet + 0.03) & (np.abs(u) < 0.34 + 0.2 * v), (0.80, 0.14, 0.12)),
        (v > 0.83 + 0.03 * u**2, (0.10, 0.10, 0.12)),
        ((rim > 0.40) & (rim < 0.48), (0.03, 0.03, 0.04)),
    ]
    above = []
    along = (OWN_ROW - v) * ABOVE / CAR_LENGTH + 0.5
    aside = np.abs(u) * ABOVE / (CAR_WIDTH / 2)
    for start, end, half, inner, side, lamp, middle in FROM_ABOVE:
        rows = (along >= start) & (along < end)
        for width, paint, lit in ((half, side, lamp), (inner, middle, 0.0)):
            shares = zip(DARK, OWN_PAINT, LAMP, strict=True)
            colour = [a + (b - a) * paint + (c - a) * lit for a, b, c in shares]
            above.append((rows & (aside < width), colour))

    # Streaks of rain are six rows of an observation long, and lean by one column in four.
    column, row = np.arange(size) // max(1, size // 96), np.arange(size)[:, None] * SIZE // size
    lane = column[None] + column[:, None] // 4
    return {
        "own behind": packed(behind),
        "own above": packed(above),
        "streak": (lane * 4096 + (row + 5 * lane) // 6).astype(np.uint32),
        "index": np.arange(size * size, dtype=np.uint32).reshape(size, size),
    }


def render(sight: Sight, p: Mapping[str, Array], seed: Array, size: int = SIZE) -> Array:
    """Bytes `[size, size, 3]`; `seed`, a `uint32`, is for rain and camera noise."""
    at = jnp.asarray(np.float32((2 * np.arange(size) + 1) / size - 1))
    pixels = size / 2  # to a unit of `at`
    above = p["view"] > 0.5
    daylight, rain, fog = p["daylight"], p["rain"], p["fog"]
    angle = 2 * np.pi * p["palette"]
    palette = _Palette(jnp.cos(angle), jnp.sin(angle))

    # Light and air.
    light = _by_light(daylight, (0.10, 0.12, 0.20), (0.72, 0.50, 0.48), (1.0, 1.0, 1.0))
    dimness = [1.0 / channel for channel in light]
    lamps = _unit(1.25 - 2.5 * daylight)
    overcast = _times(light, (0.62, 0.65, 0.69))
    zenith = _by_light(daylight, (0.01, 0.02, 0.06), (0.25, 0.19, 0.46), (0.20, 0.46, 0.90))
    rim = _by_light(daylight, (0.05, 0.06, 0.13), (0.98, 0.52, 0.25), (0.75, 0.88, 0.98))
    rim = _mix(palette.paint(rim, 2), overcast, 0.85 * rain)
    foggy = _unit(3.0 * fog)
    veil = _mix(rim, _times(overcast, (1.15, 1.15, 1.15)), foggy)
    zenith = _mix(palette.paint(zenith, 2), _times(overcast, (0.8, 0.8, 0.8)), 0.85 * rain)
    zenith = _mix(zenith, veil, 0.9 * fog)
    thickness = 0.002 + 0.005 * rain + 0.12 * fog * fog

    # Rows: how far away the ground is that they show, and what lies on it.
    horizon = HORIZON - FOCAL * p["camera_pitch"]
    offset = jnp.where(above, 0.0, p["camera_offset"])
    below = at - horizon
    slope = jnp.maximum(below, 0.6 / size)
    distance = jnp.where(above, (OWN_ROW - at) * ABOVE, FOCAL * p["camera_height"] / slope)
    metres = jnp.where(above, ABOVE, distance * (1 / FOCAL))  # in half a picture
    across = pixels / metres
    along = jnp.where(above, pixels / ABOVE, pixels * slope / distance)
    ground = jnp.where(above, 1.0, _soft(below * pixels))
    haze = 1.0 - jnp.exp(-thickness * jnp.where(above, OVERHEAD, distance))
    place = sight.place + distance
    sky = _mix(veil, zenith, _unit(-below * (1 / 0.9)))

    def surface(colour: Rgb) -> list[Array]:
        return _mix(sky, _mix(_times(colour, light), veil, haze), ground)

    wide, short = _stripes(place, 16.0, along), _stripes(place, 4.0, along)
    white = palette.paint((0.96, 0.96, 0.92), 4)
    red = palette.paint((0.82, 0.14, 0.12), 3)
    grass = palette.paint((0.36, 0.62, 0.20), 1), palette.paint((0.25, 0.49, 0.14), 1)
    tar = _times(
        palette.paint((0.36, 0.36, 0.38), 2), [(1.0 - 0.4 * rain) * (1.0 - 0.1 * wide)] * 3
    )
    shine = 0.55 * rain * jnp.abs(distance) / (jnp.abs(distance) + 12.0)
    thin = jnp.minimum(1.0, 0.2 * across)
    ahead = jnp.where(distance > 0, ground, 0.0)
    behind_hills = jnp.where(above, 0.0, 1.0 - ground)
    sun_row = at - (horizon - 0.16 - 0.5 * _high(daylight))
    rows = {
        "at": at,
        "metres": metres,
        "across": across,
        "middle": sight.course(distance) - offset,
        "thin": thin,
        "dash": thin * _stripes(place, 8.0, along),
        "grass": surface(_mix(*grass, wide)),
        "kerb": surface(_mix(red, white, short)),
        "road": surface(_mix(tar, _times(rim, dimness), shine)),
        "line": surface(white),
        "sky": behind_hills,
        "sun": sun_row * sun_row,
        "sunny": behind_hills * (1.0 - rain) * (1.0 - foggy),
        "beam": lamps * ahead / (1.0 + distance * distance * (1 / 400)),
        "reach": jnp.where(above, metres / (1.0 + 0.35 * jnp.maximum(distance, 0.0)), 1.0),
        "bar": _soft((at - 0.92) * pixels) * _soft((0.98 - at) * pixels),
    }

    # Other cars: what each row shows of them, and their colours.
    away = jnp.maximum(sight.gap - CAR_LENGTH / 2, 0.5)
    scale = jnp.where(above, 1 / ABOVE, FOCAL / away)
    column = (sight.course(sight.gap) + sight.side - offset) * scale
    foot = OWN_ROW - (sight.gap - CAR_LENGTH / 2) * (1 / ABOVE)
    foot = jnp.where(above, foot, horizon + scale * p["camera_height"])
    height = scale * jnp.where(above, CAR_LENGTH, CAR_HEIGHT)
    visible = jnp.where(above | (sight.gap > CAR_LENGTH / 2 + 0.8), 1.0, 0.0)
    hazy = 1.0 - jnp.exp(-thickness * jnp.where(above, OVERHEAD, away))
    lit = [channel + lamps / (1.0 + away * away * (1 / 400)) for channel in light]
    turn = 2 * np.pi * sight.paint + angle
    hue = [0.15 + 0.75 * channel for channel in _hue(jnp.cos(turn), jnp.sin(turn))]
    colours = [_mix(colour, veil, hazy) for colour in (_times(DARK, lit), _times(hue, lit), LAMP)]

    def by_row(car: int) -> dict[str, Array]:
        def edge(column: int, part: int) -> Array:
            up = jnp.where(above, FROM_ABOVE[part][column], FROM_BEHIND[part][column])
            return _soft((foot[car] - at - height[car] * up) * pixels)

        steps = [edge(0, part) for part in range(len(FROM_BEHIND))] + [edge(1, -1)]

        def total(column: int) -> Array:
            """A column of the table of parts, times how much of the row each part fills."""
            sums = jnp.zeros_like(at)
            for i, (one, two) in enumerate(zip(FROM_BEHIND, FROM_ABOVE, strict=True)):
                sums += (steps[i] - steps[i + 1]) * jnp.where(above, two[column], one[column])
            return sums

        filled = steps[0] - steps[-1]
        once = 1.0 / jnp.maximum(filled, 1e-3)
        half = scale[car] * (CAR_WIDTH / 2) * pixels
        return {
            "cover": filled * visible[car],
            "half": total(2) * once * half,
            "inner": total(3) * once * half,
            "side paint": total(4) * once,
            "side lamp": total(5) * once,
            "middle paint": total(6) * once,
        }

    cars = range(sight.gap.shape[0])
    rows["cars"] = [by_row(car) for car in cars]

    # Columns: the hills, the sun and the speed.
    bearing = sight.bearing + at * (1 / FOCAL)
    hills = 0.05 * jnp.sin(3 * bearing + 1) + 0.03 * jnp.sin(8 * bearing)
    hills = horizon - 0.09 - hills - 0.012 * jnp.sin(19 * bearing)
    hill = _mix(_times(palette.paint((0.36, 0.50, 0.46), 2), light), rim, 0.25)
    hill = _mix(hill, veil, 1.0 - jnp.exp(-200.0 * thickness))
    sun_column = at - FOCAL * (SUN - sight.bearing)
    sun = _by_light(daylight, (0.8, 0.8, 0.9), (1.0, 0.80, 0.45), (1.0, 0.98, 0.85))
    glow = 0.1 + 0.5 * _unit(3.0 * daylight)
    speed = _soft((1.8 / FASTEST * sight.speed - 0.9 - at) * pixels)

    contrast = p["contrast"] * (1.0 - 0.25 * rain)
    gain, shift = contrast * p["brightness"], 0.5 * (1.0 - contrast) * p["brightness"]
    saturation = p["saturation"] * (1.0 - 0.4 * rain)
    noisy = 12**0.5 / 1023 * p["camera_noise"]

    def draw(row: dict) -> Array:
        """The pixels of a row, red, green and blue packed into one `int32` each."""
        x = jnp.abs(at * row["metres"] - row["middle"])
        across, thin = row["across"], row["thin"]
        rgb = _mix(row["grass"], row["kerb"], _soft((HALF_ROAD + KERB - x) * across))
        rgb = _mix(rgb, row["road"], _soft((HALF_ROAD - x) * across))
        edge = jnp.minimum(_soft((0.1 - jnp.abs(x - HALF_ROAD + 0.3)) * across), thin)
        rgb = _mix(rgb, row["line"], edge + jnp.minimum(_soft((0.1 - x) * across), row["dash"]))
        far = sun_column * sun_column + row["sun"]
        disc = jnp.maximum(_unit(1.6 - 90.0 * far), glow * _unit(1.0 - 2.0 * far) ** 2)
        rgb = _mix(rgb, sun, disc * row["sunny"])
        rgb = _mix(rgb, hill, _soft((row["at"] - hills) * pixels) * row["sky"])
        beam = row["beam"] * _unit(1.4 - (at * row["reach"]) ** 2)
        rgb = [rgb[i] * (1.0 + beam * dimness[i]) for i in range(3)]
        for i in reversed(cars):
            car = row["cars"][i]
            dark, paint, lamp = ([channel[i] for channel in colour] for colour in colours)
            side = _mix(_mix(dark, paint, car["side paint"]), lamp, car["side lamp"])
            middle = _mix(dark, paint, car["middle paint"])
            aside = jnp.abs(at - column[i]) * pixels
            colour = _mix(side, middle, _soft(car["inner"] - aside))
            rgb = _mix(rgb, colour, _soft(car["half"] - aside) * car["cover"])
        own = jnp.where(above, row["own above"], row["own behind"])
        own = [((own >> (8 * i)) & 255).astype(jnp.int32).astype(jnp.float32) for i in range(4)]
        own = [channel * (1 / 255) for channel in own]
        rgb = [rgb[i] * own[3] + own[i] * light[i] for i in range(3)]
        rgb = _mix(rgb, (1.0, 0.75, 0.1), row["bar"] * speed)

        drop = (_hash(row["streak"], seed) >> 8).astype(jnp.int32) < 0.13 * 2**24 * rain
        rgb = _mix(rgb, [channel + 0.15 for channel in overcast], jnp.where(drop, 0.35, 0.0))
        grey = (rgb[0] + rgb[1] + rgb[2]) * (1 / 3)
        noise = _hash(row["index"], seed + 1)
        packed = jnp.zeros(size, jnp.int32)
        for i in range(3):
            value = (grey + saturation * (rgb[i] - grey)) * gain + shift
            uniform = ((noise >> (10 * i)) & 1023).astype(jnp.int32) - 511.5
            value = _unit(value + noisy * uniform)
            packed |= (value * 255.0 + 0.5).astype(jnp.int32) << (8 * i)
        return packed

    fixed = {name: jnp.asarray(value) for name, value in _fixed(size).items()}
    # A loop over rows, and packed pixels, for speed: XLA would otherwise work out anew for every
    # pixel what belongs to its row, and for every colour what belongs to its pixel.
    packed = lax.map(draw, rows | fixed)
    shifts = np.array([0, 8, 16], np.int32)[None, None]
    return ((packed[..., None] >> shifts) & 255).astype(jnp.uint8)
