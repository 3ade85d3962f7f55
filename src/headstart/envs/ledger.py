"""A tally of all that environments are stepped, by whose copies they are; what is charged is held
against it (`runs/audit.py`)."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Tally:
    """How often copies were stepped."""

    steps: int = 0


outside: ContextVar[Tally | None] = ContextVar("outside", default=None)
"""Of the copies that somebody started himself, in this run."""
