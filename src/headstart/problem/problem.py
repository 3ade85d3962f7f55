"""What is to be solved: a source, a target, and what may be taken from the target."""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnnecessaryIsInstance=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, unknown
from headstart.problem import distributions
from headstart.problem.access import Access, is_count
from headstart.problem.distributions import Fixed
from headstart.problem.domain import Domain, mixture

MOST_EPISODES = 10**6
"""That a policy is evaluated by."""


@dataclass(frozen=True)
class TransferProblem:
    """A source, a target, and the access to it; `sweep` and `episodes` are for the evaluation."""

    name: str
    source: Domain
    target: Domain
    access: Access = field(default_factory=Access)
    sweep: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """One target parameter, or two, and the values at which the report shows the return."""
    episodes: int = 16
    """Evaluation episodes for each shot, by the harness, never charged to the method."""
    sweep_episodes: int = 6
    """Evaluation episodes at each value of the sweep."""
    learner: Mapping[str, Any] = field(default_factory=dict)
    """The learner of every method: `algorithm`, and its fields that differ from their defaults."""
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method fields that differ here from their defaults, such as the length of pre-training."""
    description: str = ""
    graft: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Where the spaces of source and target differ and names do not say how: by observation group,
    and as `actions`, which of the source's entries each of the target's is, by name or number."""

    def __post_init__(self):
        for name in ("name", "description"):
            if not isinstance(getattr(self, name), str):
                raise HeadstartError(f"{name} must be a text, got {getattr(self, name)!r}")
        if not isinstance(self.learner, Mapping):
            raise HeadstartError(f"learner must be a table of fields, got {self.learner!r}")
        for kind in ("methods", "graft"):
            for name, table in getattr(self, kind).items():
                if not isinstance(table, Mapping):
                    raise HeadstartError(f"{kind}.{name} must be a table, got {table!r}")
        if not re.fullmatch(r"[\w.-]+", self.name) or self.name.startswith("."):
            raise HeadstartError(
                f"a problem's name must be made of letters, digits, - and _, got {self.name!r}"
            )
        if self.source.environment == self.target.environment:
            if not self.target.declares:
                target = self.target.declaring(self.source.declares)
                object.__setattr__(self, "target", target)
            elif self.source.declares != self.target.declares:
                raise HeadstartError(
                    f"source and target declare other parameters of {self.source.environment}: "
                    "declare them once, under [source]"
                )
        for name in ("episodes", "sweep_episodes"):
            number = getattr(self, name)
            if not is_count(number) or not 1 <= number <= MOST_EPISODES:
                raise HeadstartError(
                    f"{name} must be a whole number from 1 to {MOST_EPISODES}, got {number!r}"
                )
        if len(self.sweep) > 2:
            raise HeadstartError(f"sweep takes one parameter or two, got {', '.join(self.sweep)}")
        for name, values in self.sweep.items():
            if not isinstance(values, list | tuple) or not values:
                raise HeadstartError(f"sweep.{name} must be a list of numbers, got {values!r}")
            if not all(isinstance(distributions.parse(value), Fixed) for value in values):
                raise HeadstartError(f"sweep.{name} must be a list of numbers, got {values!r}")
        object.__setattr__(self, "sweep", {k: tuple(map(float, v)) for k, v in self.sweep.items()})

    def as_table(self) -> dict[str, Any]:
        """Plain types: `from_table(problem.as_table())` is the same problem."""
        access = {f.name: getattr(self.access, f.name) for f in fields(Access)}
        return {
            "name": self.name,
            "description": self.description,
            "episodes": self.episodes,
            "sweep_episodes": self.sweep_episodes,
            "source": self.source.as_table(),
            "target": self.target.as_table(),
            "access": {**access, "shots": list(self.access.shots)},
            "sweep": {name: list(values) for name, values in self.sweep.items()},
            "learner": dict(self.learner),
            "methods": {name: dict(table) for name, table in self.methods.items()},
            **({"graft": {k: dict(v) for k, v in self.graft.items()}} if self.graft else {}),
        }


def from_table(table: Mapping[str, Any], name: str = "problem") -> TransferProblem:
    """A problem from plain types.

    Raises:
        HeadstartError: a key is unknown or missing, or a value does not fit.
    """
    table = dict(table)
    _check_keys("key", table, {f.name for f in fields(TransferProblem)})
    for key in ("source", "target"):
        if key not in table:
            raise HeadstartError(f"the problem has no [{key}] table: add one with an environment")
    for key in ("access", "sweep", "learner", "methods", "graft"):
        if not isinstance(table.setdefault(key, {}), Mapping):
            raise HeadstartError(f"{key} must be a table, got {table[key]!r}")
    _check_keys("key of [access]", table["access"], {f.name for f in fields(Access)})
    if not isinstance(table["access"].get("shots", []), list | tuple):
        raise HeadstartError(f"access.shots must be a list, got {table['access']['shots']!r}")
    source = _domain(table.pop("source"), "source")
    problem = TransferProblem(
        name=table.pop("name", name),
        source=source,
        target=_domain(table.pop("target"), "target", source),
        access=Access(**table.pop("access")),
        **table,
    )
    return problem


def read(path: Path | str) -> TransferProblem:
    """The problem in a TOML file; its name is the file's unless the file says another.

    Raises:
        HeadstartError: the file is not readable, is not TOML, or does not describe a problem.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # not only tomllib's own
        raise HeadstartError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise HeadstartError(f"cannot read {path}: {error.strerror}") from None
    try:
        return from_table(table, path.stem)
    except HeadstartError as error:
        raise HeadstartError(f"{path}: {error}") from None


def with_access(problem: TransferProblem, **changes: Any) -> TransferProblem:
    """The same problem with some of its access changed."""
    return replace(problem, access=replace(problem.access, **changes))


def _domain(table: object, place: str, source: Domain | None = None) -> Domain:
    """A domain from its table, or a mixture from several; a target that names no environment is of
    the source's mixture."""
    if isinstance(table, list):  # [[source]], several times
        table = {"tasks": table}
    if not isinstance(table, Mapping):
        raise HeadstartError(f"[{place}] must be a table with an environment, got {table!r}")
    parameters: dict[str, Any] = dict(table)
    environment = parameters.pop("environment", None)
    near = difflib.get_close_matches("environment", parameters, cutoff=0.8)
    if environment is None and near:
        raise unknown(f"key of [{place}]", near[0], ["environment"])
    if "declares" in parameters:
        raise unknown(f"key of [{place}]", "declares", ["parameters"])
    try:
        if "tasks" in parameters and environment is not None:
            raise HeadstartError("is an environment or a mixture of tasks: leave one of them out")
        if "tasks" in parameters:
            return _mixture(parameters, place)
        if environment is None and source is not None and source.tasks:
            own: dict[str, Any] = {name: getattr(source, name) for name in OWN}
            own |= {name: parameters.pop(name) for name in OWN if name in parameters}
            drawn = source.with_parameters(**parameters)
            return drawn.showing(own["shows"], own["shows_critic"]).lasting(own["horizon"])
        if not isinstance(environment, str):
            raise HeadstartError('names no environment: add environment = "hopper"')
        return Domain(environment, declares=parameters.pop("parameters", None), **parameters)
    except HeadstartError as error:
        raise HeadstartError(f"[{place}] {error}") from None


OWN = ("shows", "shows_critic", "horizon")
"""Keys of a mixture that are no parameters."""


def _mixture(table: dict[str, Any], place: str) -> Domain:
    own = {name: table.pop(name) for name in OWN if name in table}
    tasks: list[Domain] = []
    weights: list[float] = []
    parts = table.pop("tasks")
    for number, part in enumerate(parts if isinstance(parts, list) else [parts]):
        if not isinstance(part, Mapping):
            raise HeadstartError(f"task {number} must be a table, got {part!r}")
        parameters: dict[str, Any] = dict(part)
        weights.append(parameters.pop("weight", 1.0))
        tasks.append(_domain(parameters, f"{place}, task {number}"))
    return mixture(tasks, weights, **own).with_parameters(**table)


def _check_keys(kind: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise unknown(kind, key, known)
