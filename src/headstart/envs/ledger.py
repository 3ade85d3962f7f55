"""A tally of all that environments are stepped in this process, by who has them stepped; what is
charged is held against it (`runs/audit.py`)."""

from collections import Counter

OUTSIDE = "outside"
"""Of whoever started copies himself."""
HARNESS, SOURCE, TARGET = "harness", "source", "target"
"""Evaluation and recordings, and the two handles."""

stepped: Counter[str] = Counter()
"""Steps by account."""
