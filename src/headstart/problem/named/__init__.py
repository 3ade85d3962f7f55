"""The named problems."""

from pathlib import Path

from headstart import registry
from headstart.errors import HeadstartError, unknown
from headstart.problem.named import (
    appearance,
    exploration,
    goals,
    memory,
    off_dynamics,
    robustness,
    skills,
    tasks,
)
from headstart.problem.problem import TransferProblem, read

FILES = (robustness, off_dynamics, appearance, memory, exploration, skills, goals, tasks)
PROBLEMS = {problem.name: problem for file in FILES for problem in file.PROBLEMS}


def find(name: str) -> TransferProblem:
    """One of ours by name, a TOML file, or `module:attribute`.

    Raises:
        HeadstartError: there is no such problem, or it does not describe one.
    """
    if name in PROBLEMS:
        return PROBLEMS[name]
    if name.endswith(".toml") or "/" in name:
        return read(Path(name))
    if ":" in name:
        found = registry.attribute(name)
        if not isinstance(found, TransferProblem):
            raise HeadstartError(f"{name} is a {type(found).__name__}, not a TransferProblem")
        return found
    raise unknown("problem", name, PROBLEMS)
