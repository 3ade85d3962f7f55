"""Nested tuples, dicts and modules whose leaves are arrays."""

from typing import Any

PyTree = Any
"""JAX gives them no type of their own."""
