"""A domain: an environment, the parameters it is run with, and what is shown of them."""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnnecessaryIsInstance=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.errors import HeadstartError
from headstart.problem import distributions, parameter
from headstart.problem.access import is_count
from headstart.problem.distributions import Choice, Distribution, Fixed, Product
from headstart.problem.parameter import Parameter


@dataclass(frozen=True, init=False)
class Domain:
    """An environment and the parameters it is run with.

    A number fixes a parameter; a distribution makes the domain a distribution over MDPs, from
    which every episode draws its own. A parameter that is not named keeps its nominal value.

        Domain("hopper", torso_mass=Normal(6, 1.5, low=3, high=9), shows=["torso_mass"])

    Args:
        environment: its name, as `headstart list` has it, `gym:ID`, or `module:function`.
        shows: parameters that the policy is shown, as the observation group `context`.
        shows_critic: parameters that only the critic is shown, as the group `privileged`.
        horizon: steps after which an episode is truncated, if the environment's are not to be.
        declares: parameters of a Gymnasium environment that does not declare them itself; the
            table `parameters` in TOML.
        parameters: a number or a distribution for each parameter that is not nominal.

    Raises:
        HeadstartError: a value is neither, or what is shown is not a list of names, or the horizon
            is not a whole number, or what is declared is no parameter.
    """

    environment: str
    parameters: Mapping[str, Distribution]
    shows: tuple[str, ...]
    shows_critic: tuple[str, ...]
    horizon: int | None
    declares: Mapping[str, Parameter]

    def __init__(
        self,
        environment: str,
        /,
        shows: Sequence[str] = (),
        shows_critic: Sequence[str] = (),
        horizon: int | None = None,
        declares: Mapping[str, object] | None = None,
        **parameters: object,
    ):
        object.__setattr__(self, "environment", environment)
        if horizon is not None and not (is_count(horizon) and horizon):
            raise HeadstartError(f"horizon must be a whole number of steps ≥ 1, got {horizon!r}")
        object.__setattr__(self, "horizon", horizon)
        parsed = {name: distributions.parse(value) for name, value in parameters.items()}
        object.__setattr__(self, "parameters", parsed)
        if not isinstance(declares, Mapping | None):
            raise HeadstartError(f"parameters must be a table, got {declares!r}")
        own = {name: parameter.declared(name, it) for name, it in (declares or {}).items()}
        object.__setattr__(self, "declares", own)
        for name, shown in (("shows", shows), ("shows_critic", shows_critic)):
            texts = isinstance(shown, list | tuple) and all(isinstance(s, str) for s in shown)
            if not texts or len(set(shown)) < len(shown):
                raise HeadstartError(
                    f'{name} must be a list of parameters, as in ["gravity"], got {shown!r}'
                )
            object.__setattr__(self, name, tuple(shown))

    @staticmethod
    def of(
        environment: str,
        parameters: Mapping[str, object],
        shows: Sequence[str] = (),
        shows_critic: Sequence[str] = (),
        horizon: int | None = None,
        declares: Mapping[str, object] | None = None,
    ) -> "Domain":
        """A domain from a mapping of parameters."""
        named: Any = parameters
        return Domain(environment, shows, shows_critic, horizon, declares, **named)

    def __hash__(self):
        more = self.shows, self.shows_critic, self.horizon, *self.declares.items()
        return hash((self.environment, *self.parameters.items(), *more))

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
        return self.with_only({**self.parameters, **parameters})

    def at_mean(self) -> "Domain":
        """The single MDP in the middle: every distribution replaced by its mean, or by the one of
        its values that is nearest to it."""
        middles = {name: _middle(marginal) for name, marginal in self.parameters.items()}
        return self.with_only(middles)

    def declaring(self, declares: Mapping[str, object]) -> "Domain":
        """The same with these parameters declared."""
        more = self.shows, self.shows_critic, self.horizon, declares
        return Domain.of(self.environment, self.parameters, *more)

    def with_only(self, parameters: Mapping[str, object]) -> "Domain":
        """The same environment with these parameters alone."""
        more = self.shows, self.shows_critic, self.horizon, self.declares
        return Domain.of(self.environment, parameters, *more)

    def as_table(self) -> dict[str, Any]:
        """Plain types, as in a problem's TOML file and in `config.json`."""
        parameters = {n: distributions.as_table(d) for n, d in self.parameters.items()}
        own = {name: parameter.as_table(it) for name, it in self.declares.items()}
        shown = {"shows": list(self.shows), "shows_critic": list(self.shows_critic)}
        return {
            "environment": self.environment,
            **parameters,
            **{name: names for name, names in shown.items() if names},
            **({} if self.horizon is None else {"horizon": self.horizon}),
            **({"parameters": own} if own else {}),
        }

    def __str__(self):
        shown = (f"{name}={_show(d)}" for name, d in self.parameters.items())
        told = f", showing {', '.join(self.shows)}" if self.shows else ""
        told += "" if self.horizon is None else f", {self.horizon} steps long"
        return f"{self.environment}({', '.join(shown)}){told}"


def _middle(distribution: Distribution) -> float:
    mean = distribution.mean
    if isinstance(distribution, Choice):
        return min(distribution.values, key=lambda value: abs(value - mean))
    return mean


def _show(distribution: Distribution) -> str:
    return f"{distribution.mean:g}" if isinstance(distribution, Fixed) else str(distribution)
