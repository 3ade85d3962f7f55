"""Contestants in one process, in short turns one after another; ratios are medians over turns."""

import importlib.util
import statistics
import time
from collections.abc import Callable

Turn = Callable[[float], float]
"""Run for about so many seconds; what was done per second."""


def installed(*libraries: str) -> list[str]:
    """Those that are there; what they need and lack is an error, and not a peer left out."""
    return [name for name in libraries if importlib.util.find_spec(name.replace("-", "_"))]


def timed(step: Callable[[], int]) -> Turn:
    """A turn of `step`, which says how much it did."""

    def turn(seconds: float) -> float:
        start, steps = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds or not steps:
            steps += step()
        return steps / spent

    return turn


def best(turns: dict[int, Turn], seconds: float) -> int:
    """The setting that a contestant is fastest with."""
    warm = {setting: turn(0.0) and turn(seconds) for setting, turn in turns.items()}
    return max(warm, key=lambda setting: warm[setting])


def compared(turns: dict[str, Turn], seconds: float, rounds: int) -> tuple[dict, dict]:
    """Each contestant's median speed, and the median ratio of the first one to each other."""
    for turn in turns.values():
        turn(1.0)  # compile
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            speeds[name].append(turn(seconds / rounds))
    first, *others = turns
    ratios = {
        name: statistics.median(a / b for a, b in zip(speeds[first], speeds[name], strict=True))
        for name in others
    }
    return {name: statistics.median(values) for name, values in speeds.items()}, ratios
