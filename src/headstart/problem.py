"""What is to be solved: a source, a target, and what may be taken from the target."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from headstart import distributions
from headstart.distributions import Choice, Distribution, Fixed, Product
from headstart.errors import HeadstartError, unknown


@dataclass(frozen=True, init=False)
class Domain:
    """An environment and the parameters it is run with.

    A number fixes a parameter; a distribution makes the domain a distribution over MDPs, from
    which every episode draws its own. A parameter that is not named keeps its nominal value.

        Domain("hopper", torso_mass=Normal(6, 1.5, low=3, high=9))
    """

    environment: str
    parameters: Mapping[str, Distribution]

    def __init__(self, environment: str, /, **parameters: object):
        object.__setattr__(self, "environment", environment)
        parsed = {name: distributions.parse(value) for name, value in parameters.items()}
        object.__setattr__(self, "parameters", parsed)

    def __hash__(self):
        return hash((self.environment, tuple(self.parameters.items())))

    @property
    def distribution(self) -> Product:
        """The product distribution of the parameters that the domain names."""
        return Product(self.parameters)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of the parameters that are drawn anew each episode."""
        return tuple(n for n, d in self.parameters.items() if not isinstance(d, Fixed))

    def with_parameters(self, **parameters: object) -> "Domain":
        """The same environment with some parameters replaced or added."""
        return Domain(self.environment, **{**self.parameters, **parameters})

    def at_mean(self) -> "Domain":
        """The single MDP in the middle: every distribution replaced by its mean, or by the one of
        its values that is nearest to it."""
        middles = {name: _middle(marginal) for name, marginal in self.parameters.items()}
        return Domain(self.environment, **middles)

    def as_table(self) -> dict[str, Any]:
        """Plain types, as in a problem's TOML file and in `config.json`."""
        parameters = {n: distributions.as_table(d) for n, d in self.parameters.items()}
        return {"environment": self.environment, **parameters}

    def __str__(self):
        shown = (f"{name}={_show(d)}" for name, d in self.parameters.items())
        return f"{self.environment}({', '.join(shown)})"


@dataclass(frozen=True)
class Access:
    """What may be taken from the target."""

    observations: int = 0
    """Target observations given to pre-training, without actions or rewards, recorded some steps
    apart."""
    behaviour: str = "random"
    """Who acted when they were recorded: `random`, or a demonstrator of the environment's."""
    steps: int = 0
    """Target steps that pre-training may take itself."""
    rewards: bool = False
    """Whether pre-training sees the rewards of those steps."""
    shots: tuple[int, ...] = (0, 1, 5, 20, 100)
    """Episodes of adaptation after which the return is reported."""

    def __post_init__(self):
        object.__setattr__(self, "shots", tuple(self.shots))
        for name in ("observations", "steps"):
            if not _is_count(getattr(self, name)):
                raise HeadstartError(
                    f"access.{name} must be a whole number ≥ 0, got {getattr(self, name)!r}"
                )
        if not isinstance(self.behaviour, str):
            raise HeadstartError(f"access.behaviour must be a text, got {self.behaviour!r}")
        if not isinstance(self.rewards, bool):
            raise HeadstartError(f"access.rewards must be true or false, got {self.rewards!r}")
        counts = bool(self.shots) and all(map(_is_count, self.shots))
        if not counts or list(self.shots) != sorted(set(self.shots)):
            raise HeadstartError(
                f"access.shots must be whole numbers ≥ 0 in rising order, got {list(self.shots)}"
            )


@dataclass(frozen=True)
class TransferProblem:
    """A source, a target, and the access to it; `sweep` and `episodes` are for the evaluation."""

    name: str
    source: Domain
    target: Domain
    access: Access = field(default_factory=Access)
    sweep: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """One target parameter and the values at which the report shows the return."""
    episodes: int = 16
    """Evaluation episodes for each shot, by the harness, never charged to the method."""
    sweep_episodes: int = 6
    """Evaluation episodes at each value of the sweep."""
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method fields that differ here from their defaults, such as the length of pre-training."""
    description: str = ""

    def __post_init__(self):
        for name in ("name", "description"):
            if not isinstance(getattr(self, name), str):
                raise HeadstartError(f"{name} must be a text, got {getattr(self, name)!r}")
        for name, table in self.methods.items():
            if not isinstance(table, Mapping):
                raise HeadstartError(f"methods.{name} must be a table of fields, got {table!r}")
        if not re.fullmatch(r"[\w.-]+", self.name) or self.name.startswith("."):
            raise HeadstartError(
                f"a problem's name must be made of letters, digits, - and _, got {self.name!r}"
            )
        for name in ("episodes", "sweep_episodes"):
            if not _is_count(getattr(self, name)) or getattr(self, name) < 1:
                raise HeadstartError(
                    f"{name} must be a whole number ≥ 1, got {getattr(self, name)!r}"
                )
        if len(self.sweep) > 1:
            raise HeadstartError(f"sweep takes one parameter, got {', '.join(self.sweep)}")
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
            "methods": {name: dict(table) for name, table in self.methods.items()},
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
    for key in ("access", "sweep", "methods"):
        if not isinstance(table.setdefault(key, {}), Mapping):
            raise HeadstartError(f"{key} must be a table, got {table[key]!r}")
    _check_keys("key of [access]", table["access"], {f.name for f in fields(Access)})
    if not isinstance(table["access"].get("shots", []), list | tuple):
        raise HeadstartError(f"access.shots must be a list, got {table['access']['shots']!r}")
    problem = TransferProblem(
        name=table.pop("name", name),
        source=_domain(table.pop("source"), "source"),
        target=_domain(table.pop("target"), "target"),
        access=Access(**table.pop("access")),
        **table,
    )
    return problem


def read(path: Path) -> TransferProblem:
    """The problem in a TOML file; its name is the file's unless the file says another.

    Raises:
        HeadstartError: the file is not readable, is not TOML, or does not describe a problem.
    """
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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


def _domain(table: object, place: str) -> Domain:
    if not isinstance(table, Mapping):
        raise HeadstartError(f"[{place}] must be a table with an environment, got {table!r}")
    parameters = dict(table)
    environment = parameters.pop("environment", None)
    if not isinstance(environment, str):
        raise HeadstartError(f'[{place}] names no environment: add environment = "hopper"')
    try:
        return Domain(environment, **parameters)
    except HeadstartError as error:
        raise HeadstartError(f"[{place}] {error}") from None


def _check_keys(kind: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise unknown(kind, key, known)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _middle(distribution: Distribution) -> float:
    mean = distribution.mean
    if isinstance(distribution, Choice):
        return min(distribution.values, key=lambda value: abs(value - mean))
    return mean


def _show(distribution: Distribution) -> str:
    return f"{distribution.mean:g}" if isinstance(distribution, Fixed) else str(distribution)
