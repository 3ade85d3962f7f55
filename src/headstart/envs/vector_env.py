"""Copies of an environment stepped at once, each drawing its parameters anew at every episode."""

# Gymnasium's spaces leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from headstart.envs.context import Told, shown, told
from headstart.envs.environment import (
    UNLIMITED,
    Environment,
    HostEnvironment,
    Reading,
    check_domain,
    check_expert,
)
from headstart.envs.goals import check_goals
from headstart.envs.ledger import Tally, outside
from headstart.envs.spec import (
    ACTION_MASK,
    CONTEXT,
    DRAWN,
    EXPERT,
    PRIVILEGED,
    Actions,
    EnvSpec,
    Group,
    Obs,
    actions_of,
    groups_of,
    is_plain,
    scaled,
)
from headstart.errors import HeadstartError, SimulationError
from headstart.problem.domain import Domain
from headstart.pytree import PyTree

ENDLESS = 20_000
"""Steps of one episode after which an environment that sets no horizon is taken for one that never
ends."""


class Step(NamedTuple):
    """One step of every copy, rows of `[copies, ...]`.

    `next_obs` is where the action led, and what to bootstrap from; `obs` is what to act on next,
    which differs from it where an episode ended and another began; `succeeded`, whether the
    environment calls the step a success: 1, 0, or NaN where it does not say.
    """

    reward: np.ndarray
    next_obs: Obs
    terminated: np.ndarray
    truncated: np.ndarray
    obs: Obs
    succeeded: np.ndarray | None = None


class TimeStep(NamedTuple):
    """What the world tells a policy before it acts, one row for each copy."""

    obs: PyTree
    """Observation groups by name."""
    last_action: PyTree
    last_reward: Any
    begins: Any
    """Where memory starts afresh here: at an episode's start."""


class Scanned(NamedTuple):
    """Experience from a compiled loop, `[time, env, ...]`; see `Step`."""

    obs: PyTree
    action: PyTree
    reward: Any
    next_obs: PyTree
    terminated: Any
    truncated: Any


Act = Callable[[PyTree, TimeStep, PyTree, Any], tuple[PyTree, PyTree]]
"""From a policy, what it is told, its memory and the key of this step, or none: an action, and the
memory."""


@runtime_checkable
class VectorEnv(Protocol):
    """What a policy acts in: copies under way of one domain.

    Actions are `[copies, n]` in [−1, 1], or `[copies, ...]` indices where they are discrete.
    """

    @property
    def num(self) -> int: ...
    @property
    def spec(self) -> EnvSpec: ...
    def reset(self, rows: np.ndarray | None = None) -> Obs:
        """Start an episode in each of `rows` (all of them if not given): groups `[rows, ...]`."""
        ...

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """Step every copy, or only `rows`; ended episodes are followed by new ones at once.

        With `rows`, nothing is reset: an ended episode waits for `reset(rows)`.
        """
        ...

    def scan(
        self,
        act: Act,
        policy: PyTree,
        told: TimeStep,
        memory: PyTree,
        steps: int,
        key: Any,
        spent: Scanned | None = None,
    ) -> tuple[Scanned, TimeStep, PyTree] | None:
        """`steps` steps of every copy in one compiled call, and what to go on from.

        Nothing where the host must step. `spent` is experience of these copies that nobody reads
        any more: its observations may be written over, and are gone then.
        """
        ...


@runtime_checkable
class Draws(Protocol):
    """What parameters of episodes are drawn from."""

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`[n, parameters]`, those that a domain names, in its order."""
        ...


class AbstractVectorEnv(ABC):
    """A `VectorEnv` with all that belongs to the harness: parameters, states, pictures."""

    alike = True
    """Whether the last `restore` led to where the state was saved."""
    tally: Tally
    """Where its steps are counted; who subclasses this counts them there."""

    def __init__(
        self, environment: Environment, domain: Domain, num: int, seed: int, expert: str | None
    ):
        check_domain(environment, domain)
        if expert is not None:
            check_expert(environment, expert)
        self.environment, self.num, self.tally = environment, num, outside.get() or Tally()
        self.spec = spec_of(environment, domain, expert)
        self._plain = (
            next(iter(self.spec.groups)) if is_plain(environment.observation_space) else ""
        )
        self._distribution: Draws = domain.distribution
        self._told = _told(environment, domain)
        declared = environment.parameters
        self.columns = [list(declared).index(name) for name in domain.parameters]
        """Of the values, those that the domain names."""
        self._varied = domain.varied
        self._pinned = False
        nominal = [p.nominal for p in declared.values()]
        self.values = np.tile(np.array(nominal, float), (num, 1))
        """The parameters that each copy runs with now, `[copies, parameters]`."""
        for column, marginal in zip(self.columns, domain.parameters.values(), strict=True):
            self.values[:, column] = marginal.mean
        self.reseed(seed)

    @abstractmethod
    def reset(self, rows: np.ndarray | None = None) -> Obs: ...

    @abstractmethod
    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step: ...

    def scan(self, *arguments: Any, **options: Any) -> tuple[Scanned, TimeStep, PyTree] | None:
        """See `VectorEnv`; nothing where the host must step."""
        return None

    def _shown(self, rows: np.ndarray) -> Obs:
        """The groups that are added to what some copies observe."""
        if not self._told:
            return {}
        return shown(self.environment.parameters, self._told, self.values[rows])

    @property
    @abstractmethod
    def age(self) -> np.ndarray:
        """Steps taken in the current episode of each copy."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays; see `restore`."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state` with the same bits."""

    @abstractmethod
    def picture(self) -> np.ndarray | None:
        """The first copy as `[height, width, 3]` bytes; nothing if it cannot be drawn."""

    def masses_and_inertias(self) -> dict[str, np.ndarray] | None:
        """See `Engine`; nothing where there are no bodies."""
        return None

    def start_from(self, obs: Obs) -> np.ndarray:
        """Put copy `i` into the state that `obs` shows of it, with its pinned parameters.

        Returns:
            `[copies]`, whether the observation tells the whole state.

        Raises:
            HeadstartError: the environment's state cannot be told from an observation.
        """
        raise HeadstartError(
            f"{self.environment.name} cannot be started from an observation, which the posterior "
            "over its parameters needs: give its engine start_from, or in JAX state_from"
        )

    def pin(self, values: np.ndarray) -> None:
        """From the next reset on, copy `i` always runs with `values[i]` instead of a draw."""
        self.values[:, self.columns] = values
        self._pinned = True

    def draw_by(self, draws: Draws) -> None:
        """From the next reset on, draw parameters by this, and show those that vary as the group
        `drawn`."""
        self._distribution = draws
        drawn = told(self.environment.parameters, self._varied, self.environment.name)
        self._told = self._told | {DRAWN: drawn}
        groups = {**self.spec.groups, DRAWN: _of_parameters(drawn)}
        self.spec = replace(self.spec, groups=groups)

    def reseed(self, seed: int) -> None:
        """Draw from here on as new copies with this seed would."""
        self._rng = np.random.Generator(np.random.PCG64(seed))


class HostVectorEnv(AbstractVectorEnv):
    """Copies that an engine steps on the host."""

    def __init__(
        self, environment: HostEnvironment, domain: Domain, num: int, seed: int, expert: str | None
    ):
        super().__init__(environment, domain, num, seed, expert)
        self._engine = environment.engine(num)
        self._t = np.zeros(num, np.int64)
        self._over = np.ones(num, bool)
        self._all = np.arange(num)
        self._bounds = _bounds(environment.action_space)

    @property
    def age(self) -> np.ndarray:
        return self._t

    def reset(self, rows: np.ndarray | None = None) -> Obs:
        rows = self._all if rows is None else rows
        if self.columns and not self._pinned:
            drawn = self._distribution.sample(self._rng, len(rows))
            self.values[rows[:, None], self.columns] = drawn
        self._t[rows] = 0
        self._over[rows] = False
        try:
            self._engine.set_parameters(rows, self.values[rows])
            return self._read(rows, self._engine.reset(rows, self._rng))
        except HeadstartError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """As in `VectorEnv`.

        Raises:
            SimulationError: the environment raised, or returned a number that is not finite.
        """
        stepped = self._all if rows is None else rows
        if self._over[stepped].any():
            raise SimulationError("an episode that has ended must be reset before its next step")
        if not np.isfinite(action).all():
            raise SimulationError(
                "the policy chose an action that is not finite: learning has diverged; lower the "
                "learning rate"
            )
        self.tally.steps += len(stepped)
        if self._bounds is not None:
            action = scaled(*self._bounds, action)
        try:
            reward, reading, terminated, truncated = self._engine.step(stepped, action, self._rng)
        except HeadstartError:
            raise
        except Exception as error:
            raise self._broken(error) from error
        self._finite(stepped, "reward", reward)
        next_obs = self._read(stepped, reading)
        self._t[stepped] += 1
        truncated = (truncated | (self._t[stepped] >= self.spec.horizon)) & ~terminated
        if self.spec.horizon == UNLIMITED and self._t.max() >= ENDLESS:
            raise SimulationError(
                f"an episode of {self.environment.name} has not ended after {ENDLESS} steps: give "
                "its domain a horizon, as in horizon = 1000, or wrap it in a TimeLimit"
            )
        obs = next_obs
        self._over[stepped] = terminated | truncated
        if rows is None:
            ended = np.flatnonzero(terminated | truncated)
            if len(ended):
                obs = with_rows(next_obs, ended, self.reset(ended))
        return Step(reward, next_obs, terminated, truncated, obs, self._engine.succeeded)

    def state(self) -> dict[str, np.ndarray]:
        own = {"values": self.values, "t": self._t, "over": self._over}
        own["rng"] = rng_to_array(self._rng)
        return own | {f"engine.{k}": v for k, v in self._engine.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.values[:] = state["values"]
        self._t[:] = state["t"]
        self._over[:] = state["over"]
        self._rng = rng_from_array(state["rng"])
        self._engine.set_parameters(self._all, self.values)
        self._engine.restore(below("engine.", state))
        self.alike = self._engine.alike

    def start_from(self, obs: Obs) -> np.ndarray:
        if not self.environment.starts_from_observations:
            return super().start_from(obs)
        self._t[:] = 0
        self._over[:] = False
        self._engine.set_parameters(self._all, self.values)
        return self._engine.start_from(obs[self._plain])

    def picture(self) -> np.ndarray | None:
        return self._engine.picture()

    def masses_and_inertias(self) -> dict[str, np.ndarray] | None:
        return self._engine.masses_and_inertias()

    def _read(self, rows: np.ndarray, reading: Reading) -> Obs:
        """What an engine says, as groups, and what the domain shows of the parameters."""
        groups: Obs = {self._plain: reading} if self._plain else reading  # pyright: ignore
        for name, array in groups.items():
            self._check_as_declared(name, array)
            self._finite(rows, "observation", array)
        return groups | self._shown(rows)

    def _check_as_declared(self, name: str, array: np.ndarray) -> None:
        group = self.spec.groups[name]
        as_declared = array.shape[1:] == group.shape
        if group.kind == "choice" and as_declared:
            as_declared = bool(((array >= 0) & (array < np.array(group.choices))).all())
        if not as_declared:
            found = (
                array[0].tolist() if group.kind == "choice" else f"shape {list(array.shape[1:])}"
            )
            raise SimulationError(
                f"{self.environment.name} declares {name} as {group}, and returned {found}: "
                "mend its observation_space, or what it returns"
            )

    def _finite(self, rows: np.ndarray, what: str, array: np.ndarray) -> None:
        if np.isfinite(array).all():
            return
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))[0]
        row = int(rows[bad])
        raise SimulationError(
            f"{self.environment.name} returned a {what} that is not finite at step "
            f"{int(self._t[row])} of an episode with {self._describe(row)}: narrow the range of "
            "its parameters, or mend the environment"
        )

    def _broken(self, error: Exception) -> SimulationError:
        return SimulationError(
            f"{self.environment.name} raised {type(error).__name__}: {error}; mend the "
            "environment, then resume the run"
        )

    def _describe(self, row: int) -> str:
        pairs = zip(self.environment.parameters, self.values[row], strict=True)
        return ", ".join(f"{name}={value:g}" for name, value in pairs) or "no parameters"


def _told(environment: Environment, domain: Domain) -> dict[str, tuple[Told, ...]]:
    shown = (CONTEXT, domain.shows), (PRIVILEGED, domain.shows_critic)
    return {
        group: told(environment.parameters, names, environment.name)
        for group, names in shown
        if names
    }


def spec_of(environment: Environment, domain: Domain, expert: str | None = None) -> EnvSpec:
    """What a domain looks like to who acts in it.

    Raises:
        HeadstartError: the environment has a group of its own by the name of one that is added.
    """
    groups, actions = _named(
        environment,
        groups_of(environment.name, environment.observation_space),
        actions_of(environment.name, environment.action_space),
    )
    added = {name: _of_parameters(shown) for name, shown in _told(environment, domain).items()}
    if expert is not None:
        added[EXPERT] = _described(actions)
    for name in added.keys() & groups.keys():
        raise HeadstartError(
            f"{environment.name} observes a group {name!r} of its own, and Headstart would add one "
            "of that name: rename the environment's"
        )
    if environment.goals is not None:
        check_goals(environment.name, groups)
    groups |= added
    horizon = domain.horizon or environment.horizon
    return EnvSpec(environment.name, groups, actions, horizon, environment.goals)


def _of_parameters(shown: tuple[Told, ...]) -> Group:
    names = tuple(name for one in shown for name in one.names)
    return Group((len(names),), names=names, told=shown)


def _named(
    environment: Environment, groups: dict[str, Group], actions: Actions
) -> tuple[dict[str, Group], Actions]:
    """Groups and actions with the names that the environment gives them.

    Raises:
        HeadstartError: they are not as many as the entries, or two are the same.
    """
    seen, done = tuple(environment.observation_names), tuple(environment.action_names)
    plain = groups.get("state", Group((0,)))
    for what, names, size in (
        ("observation_names", seen, plain.shape[0]),
        ("action_names", done, actions.width),
    ):
        if names and (len(names) != size or len(set(names)) < size):
            raise HeadstartError(
                f"{environment.name} has {len(set(names))} different {what} for {size} entries: "
                "give each one a name of its own"
            )
    if seen:
        groups = {**groups, "state": replace(plain, names=seen)}
    masked = ACTION_MASK in groups and actions.discrete and not actions.shape
    if masked and groups[ACTION_MASK].shape != (actions.width,):
        raise HeadstartError(
            f"{environment.name} has {actions.width} actions, and {ACTION_MASK}, which is to tell "
            f"which of them there are, is {groups[ACTION_MASK]}: give it one entry for each"
        )
    return groups, replace(actions, names=done, masked=masked)


def _described(actions: Actions) -> Group:
    return Group(actions.shape, "choice" if actions.discrete else "vector", actions.choices)


def _bounds(space: spaces.Space[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Between which actions in [−1, 1] are scaled, low and high; nothing but for a bounded Box."""
    if not isinstance(space, spaces.Box) or not np.isfinite(space.high).all():
        return None
    return np.float64(space.low).ravel(), np.float64(space.high).ravel()


def with_rows(obs: Obs, rows: np.ndarray, new: Obs) -> Obs:
    """A copy of observations with some rows replaced."""
    found = {name: group.copy() for name, group in obs.items()}
    for name, group in found.items():
        group[rows] = new[name]
    return found


def below(prefix: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {n.removeprefix(prefix): array for n, array in state.items() if n.startswith(prefix)}


def rng_to_array(rng: np.random.Generator) -> np.ndarray:
    """The state of a PCG64 generator as six 64-bit words."""
    state: Any = rng.bit_generator.state
    wide = (state["state"]["state"], state["state"]["inc"])
    words = [number >> shift & (2**64 - 1) for number in wide for shift in (0, 64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def rng_from_array(words: np.ndarray) -> np.random.Generator:
    """The inverse of `rng_to_array`."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(word) for word in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
