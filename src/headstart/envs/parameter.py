"""What may be fixed or varied about an environment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """Something about an environment that a domain may fix or vary."""

    nominal: float
    low: float
    high: float
    unit: str = "1"
    meaning: str = ""
    integer: bool = False
    rare: bool = False
    """Whether random actions hardly ever meet what it changes, so that `check` cannot see it."""
