"""A world from above, for whoever draws paths in it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class FloorMap(NamedTuple):
    """A world from above: what is drawn below the paths that were taken in it."""

    bounds: tuple[float, float, float, float]
    """Left, right, bottom, top."""
    blocks: Sequence[tuple[float, float, float, float]]
    """What cannot be entered: left, bottom, width, height."""
    marks: Mapping[str, tuple[float, float]]
    """Places by name."""
    walls: Sequence[Sequence[tuple[float, float]]] = ()
    """Thin walls: lines through these places."""
