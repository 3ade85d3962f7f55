"""What every environment declares, and the host's kind: an engine that steps copies of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces

from headstart.envs.context import Told, told
from headstart.envs.floor_map import FloorMap
from headstart.envs.goals import Goals
from headstart.envs.spec import Obs
from headstart.errors import HeadstartError, unknown
from headstart.problem.distributions import Distribution
from headstart.problem.domain import Domain
from headstart.problem.parameter import Parameter

if TYPE_CHECKING:
    from headstart.envs.vector_env import AbstractVectorEnv

UNLIMITED = 2**62
"""The horizon of an environment that sets none."""
SUCCESS = "is_success", "success"
"""Under which names an environment's `info` tells that a step was a success."""
Reading = Obs | np.ndarray
"""What an engine says is observed: groups, or one array where the space is a plain one."""


class Environment(ABC):
    """A simulator or game.

    `horizon` is the number of steps after which an episode is truncated. Subclasses declare the
    attributes below, as fields, properties or class attributes.
    """

    name: str
    parameters: Mapping[str, Parameter]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    horizon: int
    observation_names: tuple[str, ...] = ()
    """Of the entries of a plain vector, if they have any: by them, what was learned in one
    environment is joined to another."""
    action_names: tuple[str, ...] = ()
    """Of the numbers of an action, or of what there is to choose from, if they have any."""
    dt: float = 0.02
    """Seconds of a step, for moving pictures."""
    experts: Mapping[str, Callable[..., Any]] = {}
    """Who may act seeing the environment's state, by name."""

    versions: Mapping[str, str] = {}
    """Of what it is made of, for results: of more than every environment of ours is."""
    goals: Goals | None = None
    """What the goals that it observes are worth, if it has any."""
    place_group: str = "state"
    """The observation group that `position` reads, of an environment with a floor map."""
    starts_from_observations: bool = False
    """Whether a copy can be put into the state that an observation shows."""

    @abstractmethod
    def start(
        self, domain: Domain, num: int, seed: int, expert: str | None = None
    ) -> "AbstractVectorEnv":
        """`num` copies of the environment with a domain's parameters; see `envs.start`."""

    def itself(self) -> gymnasium.Env[Any, Any] | None:
        """A copy as its author wrote it, if that is one of Gymnasium's."""
        return None

    def declaring(self, declares: Mapping[str, Parameter]) -> "Environment":
        """The same with more parameters, by attribute or argument.

        Raises:
            HeadstartError: there is no such attribute or argument.
        """
        raise HeadstartError(
            f"{self.name} declares its parameters itself, and only those of a Gymnasium "
            f"environment can be declared in a domain: leave out parameters.{next(iter(declares))}"
        )

    def how_to_declare(self, name: str) -> str:
        """How a domain could have a parameter that is not declared, if it could."""
        return ""

    def floor_map(self, p: Mapping[str, float]) -> FloorMap | None:
        """The environment from above, with parameters `p`; nothing if it cannot be seen so."""
        return None

    def position(self, obs: np.ndarray) -> np.ndarray:
        """Where on the floor map `[..., 2]` an observation, its `place_group`, was made."""
        raise NotImplementedError(f"{self.name} has no floor map")


class Engine(ABC):
    """A fixed number of copies of one environment, each with parameters of its own.

    `rows` are the indices of the copies concerned, `values` the parameters in declared order.
    Arrays that come back have one row for each of `rows`. Actions come scaled to a Box's bounds.
    """

    alike = True
    """Whether the last `restore` led to where the state was saved."""
    succeeded: np.ndarray | None = None
    """Of the copies that were stepped last, whether the environment calls the step a success: 1, 0,
    or NaN where it does not say. An engine that knows sets it at every step."""

    @abstractmethod
    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None: ...

    @abstractmethod
    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> Reading:
        """Start an episode; the first observations."""

    @abstractmethod
    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading, np.ndarray, np.ndarray]:
        """`reward, observation, terminated, truncated` for `action` `[rows, ...]`."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state` with the same bits."""

    def start_from(self, observation: np.ndarray) -> np.ndarray:
        """Put copy `i` into the state that `observation[i]` shows; whether it tells all of it.

        An environment whose engine can do so sets `starts_from_observations`.
        """
        raise NotImplementedError

    def picture(self) -> np.ndarray | None:
        """The first copy, `[height, width, 3]` bytes; nothing if it cannot be drawn."""
        return None

    def masses_and_inertias(self) -> dict[str, np.ndarray] | None:
        """Of the first copy: `mass [bodies]`, `inertia [bodies, 3]`, and what was derived as the
        mass of everything below the root, `subtree [1]`; nothing where there are no bodies."""
        return None


def told_success(info: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """What an `info` says of success, 1 or 0 for each; NaN where it says nothing of that shape."""
    for found in (np.asarray(info[name]) for name in SUCCESS if name in info):
        if found.shape == shape and found.dtype.kind in "bif":
            return np.array(found != 0, float)
    return np.full(shape, np.nan)


class HostEnvironment(Environment):
    """An environment that an engine steps on the host."""

    @abstractmethod
    def engine(self, num: int) -> Engine:
        """`num` copies."""

    def start(
        self, domain: Domain, num: int, seed: int, expert: str | None = None
    ) -> "AbstractVectorEnv":
        from headstart.envs.vector_env import HostVectorEnv

        return HostVectorEnv(self, domain, num, seed, expert)


def check_domain(environment: Environment, domain: Domain) -> None:
    """Hold a domain's parameters against what its environment declares.

    Raises:
        HeadstartError: a parameter is not declared, or reaches outside its range.
    """
    if domain.horizon is not None and domain.horizon > environment.horizon:
        raise HeadstartError(
            f"episodes of {environment.name} end after {environment.horizon} steps: horizon must "
            f"be at most that, got {domain.horizon}"
        )
    for shown in (domain.shows, domain.shows_critic):
        for one in told(environment.parameters, shown, environment.name):
            _check_told(one, domain.parameters.get(one.name))
    for name, distribution in domain.parameters.items():
        if name not in environment.parameters:
            error = unknown(f"parameter of {environment.name}", name, environment.parameters)
            raise HeadstartError(f"{error}{environment.how_to_declare(name)}")
        declared = environment.parameters[name]
        low, high = distribution.support
        if low < declared.low or high > declared.high:
            raise HeadstartError(
                f"{environment.name}.{name} lies in [{declared.low:g}, {declared.high:g}] "
                f"{declared.unit}, but the domain asks for [{low:g}, {high:g}]"
            )
        values = distribution.values_taken
        if declared.integer and (values is None or any(value != int(value) for value in values)):
            raise HeadstartError(
                f"{environment.name}.{name} takes whole numbers: use a number or a choice"
            )


def _check_told(one: Told, drawn: Distribution | None) -> None:
    """Raises:
    HeadstartError: there is no text for something that is drawn.
    """
    if one.form != "text" or drawn is None:
        return
    if drawn.values_taken is None:
        raise HeadstartError(
            f"{one.name} has texts for {len(one.texts)} values, and any of a range is drawn: use a "
            f"choice, or show it as {one.name}:number"
        )
    for value in drawn.values_taken:
        one.check(value)


def check_expert(environment: Environment, name: str) -> None:
    """Raises:
    HeadstartError: the environment has no such expert.
    """
    if name not in environment.experts:
        raise unknown(f"expert of {environment.name}", name, environment.experts)
