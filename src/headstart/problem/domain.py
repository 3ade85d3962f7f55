"""A domain: an environment, the parameters it is run with, and what is shown of them."""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnnecessaryIsInstance=false

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.errors import HeadstartError
from headstart.problem import distributions, parameter
from headstart.problem.access import is_count
from headstart.problem.distributions import Choice, Distribution, Fixed, Product
from headstart.problem.parameter import Parameter

TASK = "task"
"""The parameter of a mixture that says which of its domains an episode is of."""


@dataclass(frozen=True, init=False)
class Domain:
    """An environment and the parameters it is run with.

    A number fixes a parameter; a distribution makes the domain a distribution over MDPs, from
    which every episode draws its own. A parameter that is not named keeps its nominal value.

        Domain("hopper", torso_mass=Normal(6, 1.5, low=3, high=9), shows=["torso_mass"])

    Args:
        environment: its name, as `headstart list` has it, `gym:ID`, `pool:ID`, or
            `module:function`.
        shows: parameters that the policy is shown, as the observation group `context`; each as the
            environment says, or as `name:form`, where the form is number, angle, one-hot or text.
        shows_critic: parameters that only the critic is shown, as the group `privileged`.
        horizon: steps after which an episode is truncated, if the environment's are not to be.
        declares: parameters of a Gymnasium environment that does not declare them itself; the
            table `parameters` in TOML.
        text: what is to be done in it, for a mixture that shows its `task:text`.
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
    text: str
    tasks: tuple["Domain", ...]
    """Of a mixture, the environments that it is made of; see `mixture`."""

    def __init__(
        self,
        environment: str,
        /,
        shows: Sequence[str] = (),
        shows_critic: Sequence[str] = (),
        horizon: int | None = None,
        declares: Mapping[str, object] | None = None,
        text: str = "",
        **parameters: object,
    ):
        if not isinstance(text, str):
            raise HeadstartError(f"text must be a text, got {text!r}")
        if not isinstance(declares, Mapping | None):
            raise HeadstartError(f"parameters must be a table, got {declares!r}")
        _set(
            self,
            environment=environment,
            parameters={name: distributions.parse(it) for name, it in parameters.items()},
            shows=_names("shows", shows),
            shows_critic=_names("shows_critic", shows_critic),
            horizon=_steps(horizon),
            declares={name: parameter.declared(name, it) for name, it in (declares or {}).items()},
            text=text,
            tasks=(),
        )

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
        more = self.shows, self.shows_critic, self.horizon, self.text, self.tasks
        more += tuple(self.declares.items())
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

    def with_only(self, parameters: Mapping[str, object]) -> "Domain":
        """The same environment with these parameters alone."""
        parsed = {name: distributions.parse(it) for name, it in parameters.items()}
        return _changed(self, parameters=parsed)

    def at_mean(self) -> "Domain":
        """The single MDP in the middle: every distribution replaced by its mean, or by the one of
        its values that is nearest to it; of a mixture, the likeliest of its domains."""
        middles = {name: _middle(name, marginal) for name, marginal in self.parameters.items()}
        return self.with_only(middles)

    def declaring(self, declares: Mapping[str, Parameter]) -> "Domain":
        """The same with these parameters declared."""
        return _changed(self, declares=declares)

    def showing(self, shows: Sequence[str] = (), shows_critic: Sequence[str] = ()) -> "Domain":
        """The same, showing these parameters alone."""
        return _changed(
            self, shows=_names("shows", shows), shows_critic=_names("shows_critic", shows_critic)
        )

    def lasting(self, horizon: int | None) -> "Domain":
        """The same, its episodes truncated after so many steps."""
        return _changed(self, horizon=_steps(horizon))

    def apart(self) -> tuple["Domain", ...]:
        """The domains of a mixture, showing nothing, with what the mixture says of their
        parameters; of any other, itself alone."""
        labels = labels_of(self.tasks)
        return tuple(
            task.with_only(
                {
                    name.removeprefix(f"{label}."): it
                    for name, it in self.parameters.items()
                    if name.startswith(f"{label}.")
                }
            )
            for label, task in zip(labels, self.tasks, strict=True)
        ) or (self,)

    def as_table(self) -> dict[str, Any]:
        """Plain types, as in a problem's TOML file and in `config.json`."""
        parameters = {n: distributions.as_table(d) for n, d in self.parameters.items()}
        own = {name: parameter.as_table(it) for name, it in self.declares.items()}
        shown = {"shows": list(self.shows), "shows_critic": list(self.shows_critic)}
        tasks = [task.as_table() for task in self.tasks]
        return {
            **({"tasks": tasks} if tasks else {"environment": self.environment}),
            **parameters,
            **{name: names for name, names in shown.items() if names},
            **({} if self.horizon is None else {"horizon": self.horizon}),
            **({"parameters": own} if own else {}),
            **({"text": self.text} if self.text else {}),
        }

    def __str__(self):
        shown = (f"{name}={_show(d)}" for name, d in self.parameters.items())
        told = f", showing {', '.join(self.shows)}" if self.shows else ""
        told += "" if self.horizon is None else f", {self.horizon} steps long"
        return f"{self.environment}({', '.join(shown)}){told}"


def mixture(
    tasks: Sequence[Domain],
    weights: Sequence[float] | None = None,
    shows: Sequence[str] = (),
    shows_critic: Sequence[str] = (),
    horizon: int | None = None,
) -> Domain:
    """The joint MDP of several domains: one of them is drawn with the first state, and stays for
    the episode. Its parameters are `task`, the number of the domain that was drawn, and those of
    every domain, as `environment.name`. A mixture of one is that domain.

        mixture([Domain("hopper"), Domain("walker")], weights=[2, 1], shows=["task"])

    Args:
        tasks: the domains; a parameter that one of them shows, all show that have it.
        weights: how often each is drawn, in any unit; equally if not given.
        shows: of its parameters, what the policy is shown besides; `task` as one-hot.
        shows_critic: of its parameters, what only the critic is shown besides.
        horizon: steps after which any episode is truncated.

    Raises:
        HeadstartError: there is no domain, or a weight is none.
    """
    if not tasks or any(task.tasks for task in tasks):
        raise HeadstartError(f"a mixture is made of one or more plain domains, got {len(tasks)}")
    numbers = [1.0] * len(tasks) if weights is None else list(weights)
    fits = [_is_weight(w) for w in numbers]
    if len(numbers) != len(tasks) or not all(fits) or not 0 < sum(numbers) < math.inf:
        raise HeadstartError(
            f"the weights of {len(tasks)} domains must be as many numbers ≥ 0, one of them above "
            f"0, got {numbers}"
        )
    total = sum(numbers)
    pair = ("shows", shows), ("shows_critic", shows_critic)
    own = {kind: list(_names(kind, names)) for kind, names in pair}
    if len(tasks) == 1:
        only = tasks[0].showing([*tasks[0].shows, *shows], [*tasks[0].shows_critic, *shows_critic])
        return only.lasting(only.horizon if horizon is None else horizon)
    drawn = Choice(tuple(range(len(tasks))), tuple(w / total for w in numbers))
    parameters: dict[str, object] = {TASK: drawn}
    labels = labels_of(tasks)
    for label, task in zip(labels, tasks, strict=True):
        parameters |= {f"{label}.{name}": it for name, it in task.parameters.items()}
        for kind, names in own.items():
            names += [name for name in vars(task)[kind] if name not in names]
    joined = "+".join(labels)
    made = Domain.of(joined, parameters, own["shows"], own["shows_critic"], horizon)
    return _changed(made, tasks=tuple(task.with_only({}).showing() for task in tasks))


def _is_weight(x: object) -> bool:
    """Whether it is a number ≥ 0 that can be computed with."""
    return isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < 1e300


def _set(domain: Domain, **fields: object) -> None:
    for name, value in fields.items():
        object.__setattr__(domain, name, value)


def _changed(domain: Domain, **fields: object) -> Domain:
    changed = copy.copy(domain)
    _set(changed, **fields)
    return changed


def labels_of(tasks: Sequence[Domain]) -> tuple[str, ...]:
    """The environments of a mixture by names that differ: a second hopper is `hopper-2`."""
    names = [task.environment for task in tasks]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return tuple(f"{n}-{k + 1}" if k else n for n, k in zip(names, before, strict=True))


def _steps(horizon: int | None) -> int | None:
    if horizon is not None and not (is_count(horizon) and horizon):
        raise HeadstartError(f"horizon must be a whole number of steps ≥ 1, got {horizon!r}")
    return horizon


def _names(kind: str, shown: Sequence[str]) -> tuple[str, ...]:
    texts = isinstance(shown, list | tuple) and all(isinstance(s, str) for s in shown)
    if not texts or len(set(shown)) < len(shown):
        raise HeadstartError(
            f'{kind} must be a list of parameters, as in ["gravity"], got {shown!r}'
        )
    return tuple(shown)


def _middle(name: str, distribution: Distribution) -> float:
    mean = distribution.mean
    if not isinstance(distribution, Choice):
        return mean
    if name == TASK:
        return distribution.values[int(np.argmax(distribution.probs))]
    return min(distribution.values, key=lambda value: abs(value - mean))


def _show(distribution: Distribution) -> str:
    if isinstance(distribution, Choice):
        alike = len(set(distribution.probs)) == 1
        pairs = zip(distribution.values, distribution.probs, strict=True)
        return "one of " + ", ".join(f"{v:g}" + ("" if alike else f" ({p:.0%})") for v, p in pairs)
    return f"{distribution.mean:g}" if isinstance(distribution, Fixed) else str(distribution)
