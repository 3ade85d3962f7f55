"""Published claims, re-run.

A study is a module with `run(out, workers)`, which gives its table of results, `stored()`, the one
that came with this version, `shown(table)` for a person, and `claims(table)`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from headstart.errors import unknown

STUDIES = {
    "epopt-hopper": "EPOpt on the hopper: robustness to the torso's mass, and its posterior",
}


@dataclass(frozen=True)
class Claim:
    """A sentence, whether the numbers bear it out, and the numbers."""

    text: str
    holds: bool
    evidence: str


def find(name: str) -> ModuleType:
    """Raises:
    HeadstartError: there is no such study.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return importlib.import_module(f"headstart.studies.{name.replace('-', '_')}")
