"""Distributions over one parameter, and their product over several.

Sampling takes a NumPy generator; densities are with respect to the Lebesgue measure, or to the
counting measure for `Fixed` and `Choice`.
"""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from headstart.errors import HeadstartError, unknown


@runtime_checkable
class Distribution(Protocol):
    @property
    def mean(self) -> float: ...
    @property
    def support(self) -> tuple[float, float]: ...
    @property
    def values_taken(self) -> tuple[float, ...] | None:
        """The only values that it takes, if they can be listed."""
        ...

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """The values below which a share of the mass lies; `share` in [0, 1]."""
        ...

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray: ...
    def log_prob(self, value: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Fixed:
    """All mass on one value."""

    value: float

    def __post_init__(self):
        _require(
            math.isfinite(self.value),
            f"a fixed parameter must be finite, got {self.value}",
        )

    @property
    def mean(self) -> float:
        return float(self.value)

    @property
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    @property
    def values_taken(self) -> tuple[float, ...]:
        return (self.value,)

    def quantile(self, share: np.ndarray) -> np.ndarray:
        return np.full(np.shape(share), float(self.value))

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.full(n, float(self.value))

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(value) == self.value, 0.0, -np.inf)


@dataclass(frozen=True)
class Uniform:
    """Density 1 / (high − low) on [low, high]."""

    low: float
    high: float

    def __post_init__(self):
        _require_interval("Uniform", self.low, self.high)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def values_taken(self) -> None:
        return None

    def quantile(self, share: np.ndarray) -> np.ndarray:
        return self.low + (self.high - self.low) * np.asarray(share)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.quantile(rng.random(n))

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        inside = (np.asarray(value) >= self.low) & (np.asarray(value) <= self.high)
        return np.where(inside, -math.log(self.high - self.low), -np.inf)


@dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform: density 1 / (x log(high / low)) on [low, high], low > 0."""

    low: float
    high: float

    def __post_init__(self):
        _require_interval("LogUniform", self.low, self.high)
        _require(self.low > 0, f"LogUniform needs low > 0, got {self.low}")

    @property
    def mean(self) -> float:
        return (self.high - self.low) / math.log(self.high / self.low)

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def values_taken(self) -> None:
        return None

    def quantile(self, share: np.ndarray) -> np.ndarray:
        low, high = math.log(self.low), math.log(self.high)
        return np.exp(low + (high - low) * np.asarray(share))

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.quantile(rng.random(n))

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        value = np.asarray(value, float)
        inside = (value >= self.low) & (value <= self.high)
        density = -np.log(np.where(inside, value, 1.0)) - math.log(math.log(self.high / self.low))
        return np.where(inside, density, -np.inf)


@dataclass(frozen=True)
class Normal:
    """A normal truncated to [low, high]; `loc` and `scale` are those before truncation."""

    loc: float
    scale: float
    low: float
    high: float

    def __post_init__(self):
        _require_interval("Normal", self.low, self.high)
        _require(
            math.isfinite(self.loc) and 0 < self.scale < math.inf,
            f"Normal needs a finite loc and a finite scale > 0, got {self.loc} and {self.scale}",
        )
        _require(
            self._mass() > 0,
            f"Normal({self.loc}, {self.scale}) has no mass on [{self.low}, {self.high}]: "
            "move the interval towards loc or raise the scale",
        )

    @property
    def _bounds(self) -> tuple[float, float, float]:
        """The interval in units of scale, mirrored into the left tail, and the sign that undoes
        it: there the distribution function keeps its digits."""
        a, b = (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale
        return (-b, -a, -1.0) if a > 0 else (a, b, 1.0)

    def _mass(self) -> float:
        a, b, _ = self._bounds
        return _cumulative(b) - _cumulative(a)

    @property
    def mean(self) -> float:
        a, b, sign = self._bounds
        return self.loc + sign * self.scale * (_density(a) - _density(b)) / self._mass()

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def values_taken(self) -> None:
        return None

    def quantile(self, share: np.ndarray) -> np.ndarray:
        from scipy.special import ndtri

        a, b, sign = self._bounds
        below = np.asarray(share) if sign > 0 else 1 - np.asarray(share)
        z = ndtri(_cumulative(a) + (_cumulative(b) - _cumulative(a)) * below)
        return np.clip(self.loc + sign * self.scale * z, self.low, self.high)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.quantile(rng.random(n))

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        value = np.asarray(value, float)
        z = (value - self.loc) / self.scale
        density = (
            -0.5 * z**2 - math.log(self.scale * math.sqrt(2 * math.pi)) - math.log(self._mass())
        )
        return np.where((value >= self.low) & (value <= self.high), density, -np.inf)


def truncated(mean: float, std: float, low: float, high: float) -> Normal:
    """The normal on [low, high] that has this mean and deviation, or the nearest that there is."""
    from scipy.optimize import least_squares
    from scipy.stats import truncnorm

    width = high - low

    def made(x: np.ndarray) -> tuple[float, float]:
        return float(low + width * x[0]), float(width * math.exp(x[1]))

    def misses(x: np.ndarray) -> np.ndarray:
        loc, scale = made(x)
        cut = truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)
        return np.array([cut.mean() - mean, cut.std() - std]) / std

    start = [(mean - low) / width, math.log(std / width)]
    found = least_squares(misses, start, bounds=([-1, -12], [2, 1]))
    return Normal(*made(found.x), low, high)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Choice:
    """One of `values`, with `probs` that sum to one (equal if not given)."""

    values: tuple[float, ...]
    probs: tuple[float, ...] = ()

    def __post_init__(self):
        values = tuple(float(value) for value in self.values)
        _require(len(values) > 0, "Choice needs at least one value")
        _require(all(map(math.isfinite, values)), f"Choice needs finite values, got {values}")
        _require(len(set(values)) == len(values), f"Choice names a value twice: {values}")
        probs = tuple(self.probs) or (1 / len(values),) * len(values)
        _require(
            len(probs) == len(values),
            f"Choice has {len(values)} values and {len(probs)} probabilities: give one for each",
        )
        _require(
            min(probs) >= 0 and abs(sum(probs) - 1) < 1e-9,
            f"Choice needs probabilities that are ≥ 0 and sum to 1, got a sum of {sum(probs):g}",
        )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "probs", probs)

    @property
    def mean(self) -> float:
        return float(np.dot(self.values, self.probs))

    @property
    def support(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    @property
    def values_taken(self) -> tuple[float, ...]:
        return self.values

    def quantile(self, share: np.ndarray) -> np.ndarray:
        below = np.cumsum(self.probs)[:-1]
        return np.asarray(self.values)[np.searchsorted(below, share, side="right")]

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.quantile(rng.random(n))

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        hit = np.asarray(value, float)[..., None] == np.asarray(self.values)
        with np.errstate(divide="ignore"):
            return np.log((hit * np.asarray(self.probs)).sum(-1))


class Product:
    """Independent distributions over named parameters, in the order given.

    Values are arrays of shape `[n, parameters]`.
    """

    def __init__(self, marginals: Mapping[str, Distribution]):
        self.marginals = dict(marginals)

    @property
    def mean(self) -> np.ndarray:
        return np.array([marginal.mean for marginal in self.marginals.values()])

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        columns = [marginal.sample(rng, n) for marginal in self.marginals.values()]
        return np.stack(columns, axis=1) if columns else np.empty((n, 0))

    def log_prob(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, float)
        _require(
            values.ndim == 2 and values.shape[1] == len(self.marginals),
            f"expected values of shape [n, {len(self.marginals)}], got {list(values.shape)}",
        )
        marginals = self.marginals.values()
        terms = [marginal.log_prob(values[:, i]) for i, marginal in enumerate(marginals)]
        return np.sum(terms, axis=0) if terms else np.zeros(len(values))


KINDS: dict[str, type] = {
    "fixed": Fixed,
    "uniform": Uniform,
    "log-uniform": LogUniform,
    "normal": Normal,
    "choice": Choice,
}


def parse(value: object) -> Distribution:
    """A number, a distribution, or a table such as `{uniform = [3, 9]}` as a distribution.

    Raises:
        HeadstartError: the table names no known distribution, or its numbers do not fit it.
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        raise HeadstartError(f"a parameter is a number or a distribution, not {value!r}")
    if isinstance(value, int | float | np.floating | np.integer):
        return Fixed(_as_float(value, "a parameter"))
    if not isinstance(value, Mapping):
        if isinstance(value, tuple(KINDS.values())):
            return value  # pyright: ignore[reportReturnType]
        raise HeadstartError(f"a parameter is a number or a distribution, not {value!r}")
    _require(
        len(value) == 1,
        f"name one distribution, as in {{uniform = [3, 9]}}; got {dict(value)}",
    )
    name, arguments = next(iter(cast(Mapping[str, Any], value).items()))
    if name not in KINDS:
        raise unknown("distribution", name, KINDS)
    kind, names = KINDS[name], [field.name for field in fields(KINDS[name])]
    if isinstance(arguments, Mapping):
        for argument in arguments:
            if argument not in names:
                raise unknown(f"field of {name}", argument, names)
        keywords: dict[str, Any] = dict(arguments)
    elif kind is Choice:
        keywords = {"values": arguments if isinstance(arguments, list | tuple) else [arguments]}
    else:
        arguments = arguments if isinstance(arguments, list | tuple) else [arguments]
        _require(
            len(arguments) == len(names),
            f"{name} takes {len(names)} numbers ({', '.join(names)}), got {len(arguments)}",
        )
        keywords = dict(zip(names, arguments, strict=True))
    for argument, number in keywords.items():
        for item in number if isinstance(number, list | tuple) else [number]:
            _require(
                isinstance(item, int | float) and not isinstance(item, bool),
                f"{name}.{argument} must be a number, got {item!r}",
            )
            _as_float(item, f"{name}.{argument}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in keywords.items()})
    except TypeError as error:
        raise HeadstartError(f"{name} takes {', '.join(names)}: {error}") from None


def as_table(distribution: Distribution) -> object:
    """The inverse of `parse`, in plain JSON and TOML types."""
    if isinstance(distribution, Fixed):
        return float(distribution.value)
    name = next(name for name, kind in KINDS.items() if isinstance(distribution, kind))
    values = {field.name: getattr(distribution, field.name) for field in fields(KINDS[name])}
    return {name: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}


def _cumulative(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _density(z: float) -> float:
    return math.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


def _as_float(number: Any, what: str) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of hundreds of digits
        raise HeadstartError(f"{what} is larger than any number that is computed with") from None


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise HeadstartError(message)


def _require_interval(name: str, low: float, high: float) -> None:
    _require(
        math.isfinite(low) and math.isfinite(high) and low < high,
        f"{name} has no mass on [{low}, {high}]: low must be below high, and both finite",
    )
