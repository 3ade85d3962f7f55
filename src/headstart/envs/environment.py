"""What an environment declares, and how many of them are stepped at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces

from headstart.errors import HeadstartError, SimulationError, unknown
from headstart.problem import Domain


@dataclass(frozen=True)
class Parameter:
    """Something about an environment that a domain may fix or vary."""

    nominal: float
    low: float
    high: float
    unit: str = "1"
    meaning: str = ""
    integer: bool = False


class Engine(Protocol):
    """A fixed number of copies of one environment, each with parameters of its own.

    `rows` are the indices of the copies concerned, `values` the parameters in declared order.
    Arrays that come back have one row for each of `rows`.
    """

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None: ...
    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Start an episode; the first observations `[rows, ...]`."""
        ...

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`reward, observation, terminated, truncated` for `action` `[rows, ...]`."""
        ...

    def state(self) -> dict[str, np.ndarray]: ...
    def restore(self, state: Mapping[str, np.ndarray]) -> None: ...


class Declared(Protocol):
    """What every environment says of itself: what it looks like, and what may be varied.

    `horizon` is the number of steps after which an episode is truncated.
    """

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Parameter]: ...
    @property
    def observation_space(self) -> spaces.Box: ...
    @property
    def action_space(self) -> spaces.Box | spaces.Discrete: ...
    @property
    def horizon(self) -> int: ...


class Environment(Declared, Protocol):
    """A simulator or game, and how to start it."""

    def engine(self, num: int) -> Engine: ...


class Step(NamedTuple):
    """One step of every copy, rows of `[copies, ...]`.

    `next_obs` is where the action led, and what to bootstrap from; `obs` is what to act on next,
    which differs from it where an episode ended and another began.
    """

    reward: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    obs: np.ndarray


class Batch:
    """Copies of an environment, each drawing its parameters anew at every episode.

    Actions are `[copies, action size]` in [−1, 1], scaled to the environment's bounds after
    clipping, or `[copies]` integers where actions are discrete.
    """

    def __init__(self, environment: Environment, domain: Domain, num: int, seed: int):
        check_domain(environment, domain)
        self.environment = environment
        self.num = num
        self.action_space = environment.action_space
        self._distribution = domain.distribution
        self._columns = [list(environment.parameters).index(name) for name in domain.parameters]
        self._nominal = np.array([p.nominal for p in environment.parameters.values()])
        self.reseed(seed)
        self._engine = environment.engine(num)
        self._t = np.zeros(num, np.int64)
        self._over = np.ones(num, bool)
        self._all = np.arange(num)
        self._pinned = False
        self.values = np.tile(self._nominal, (num, 1))
        """The parameters that each copy runs with now, `[copies, parameters]`."""

    def pin(self, values: np.ndarray) -> None:
        """From the next reset on, copy `i` always runs with `values[i]` instead of a draw."""
        self.values[:, self._columns] = values
        self._pinned = True

    def reseed(self, seed: int) -> None:
        """Draw from here on as a new batch with this seed would."""
        self._rng = np.random.Generator(np.random.PCG64(seed))

    @property
    def age(self) -> np.ndarray:
        """Steps taken in the current episode of each copy."""
        return self._t

    def reset(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Start an episode in each of `rows` (all of them if not given): `[rows, ...]`."""
        rows = self._all if rows is None else rows
        if self._columns and not self._pinned:
            drawn = self._distribution.sample(self._rng, len(rows))
            self.values[rows[:, None], self._columns] = drawn
        self._t[rows] = 0
        self._over[rows] = False
        try:
            self._engine.set_parameters(rows, self.values[rows])
            return self._finite(rows, "observation", self._engine.reset(rows, self._rng))
        except HeadstartError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """Step every copy, or only `rows`; ended episodes are followed by new ones at once.

        With `rows`, nothing is reset: an ended episode waits for `reset(rows)`.

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
        try:
            reward, next_obs, terminated, truncated = self._engine.step(
                stepped, self._scaled(action), self._rng
            )
        except HeadstartError:
            raise
        except Exception as error:
            raise self._broken(error) from error
        self._finite(stepped, "reward", reward)
        self._finite(stepped, "observation", next_obs)
        self._t[stepped] += 1
        truncated = (truncated | (self._t[stepped] >= self.environment.horizon)) & ~terminated
        obs = next_obs
        self._over[stepped] = terminated | truncated
        if rows is None:
            ended = np.flatnonzero(terminated | truncated)
            if len(ended):
                obs = next_obs.copy()
                obs[ended] = self.reset(ended)
        return Step(reward, next_obs, terminated, truncated, obs)

    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays; see `restore`."""
        own = {"values": self.values, "t": self._t, "over": self._over, "rng": words(self._rng)}
        return own | {f"engine.{k}": v for k, v in self._engine.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state` with the same bits."""
        self.values[:] = state["values"]
        self._t[:] = state["t"]
        self._over[:] = state["over"]
        self._rng = generator(state["rng"])
        self._engine.set_parameters(self._all, self.values)
        prefix = "engine."
        inner = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        self._engine.restore(inner)

    def start_from(self, observation: np.ndarray) -> np.ndarray:
        """Put copy `i` into the state that `observation[i]` shows, with its pinned parameters.

        Returns:
            `[copies]`, whether the observation tells the whole state.

        Raises:
            HeadstartError: the environment's state cannot be told from an observation.
        """
        start = getattr(self._engine, "start_from", None)
        if start is None:
            raise HeadstartError(
                f"{self.environment.name} cannot be started from an observation, which the "
                "posterior over its parameters needs: give its engine a start_from method"
            )
        self._t[:] = 0
        self._over[:] = False
        self._engine.set_parameters(self._all, self.values)
        return start(observation)

    def picture(self) -> np.ndarray | None:
        """The first copy as `[height, width, 3]` bytes; nothing if it cannot be drawn."""
        draw = getattr(self._engine, "picture", None)
        return None if draw is None else draw()

    def demonstrated(self, name: str) -> np.ndarray:
        """What the engine's demonstrator of that name would do: `[copies, ...]`."""
        return self._engine.demonstrated(name)  # pyright: ignore[reportAttributeAccessIssue]

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        space = self.action_space
        if not isinstance(space, spaces.Box) or not np.isfinite(space.high).all():
            return action
        half = (np.float64(space.high) - space.low) / 2
        return np.clip(action, -1.0, 1.0) * half + (space.low + half)

    def _finite(self, rows: np.ndarray, what: str, array: np.ndarray) -> np.ndarray:
        if np.isfinite(array).all():
            return array
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


def words(rng: np.random.Generator) -> np.ndarray:
    """The state of a PCG64 generator as six 64-bit words."""
    state: Any = rng.bit_generator.state
    wide = (state["state"]["state"], state["state"]["inc"])
    words = [number >> shift & (2**64 - 1) for number in wide for shift in (0, 64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def generator(words: np.ndarray) -> np.random.Generator:
    """The inverse of `words`."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(word) for word in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": inc_low | inc_high << 64},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)


def check_domain(environment: Declared, domain: Domain) -> None:
    """Hold a domain's parameters against what its environment declares.

    Raises:
        HeadstartError: a parameter is not declared, or reaches outside its range.
    """
    for name, distribution in domain.parameters.items():
        if name not in environment.parameters:
            raise unknown(f"parameter of {environment.name}", name, environment.parameters)
        declared = environment.parameters[name]
        low, high = distribution.support
        if low < declared.low or high > declared.high:
            raise HeadstartError(
                f"{environment.name}.{name} lies in [{declared.low:g}, {declared.high:g}] "
                f"{declared.unit}, but the domain asks for [{low:g}, {high:g}]"
            )
        values: Any = getattr(distribution, "values", (low, high))
        continuous = low < high and not hasattr(distribution, "values")
        if declared.integer and (continuous or any(value != int(value) for value in values)):
            raise HeadstartError(
                f"{environment.name}.{name} takes whole numbers: use a number or a choice"
            )


def check_alike(source: Any, target: Any) -> None:
    """Hold what is observed and done in one environment against the other.

    Raises:
        HeadstartError: a policy of one does not fit the other.
    """
    for what in ("observation", "action"):
        one, other = (_kind(getattr(env, f"{what}_space")) for env in (source, target))
        if one != other:
            raise HeadstartError(
                f"the source's {what}s are {one} and the target's {other}: what is learned in one "
                "must fit the other"
            )


def _kind(space: Any) -> str:
    """What a network must know of a space, and not its bounds."""
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n}"
    what = "bytes" if space.dtype == np.uint8 else "numbers"
    return f"{what} of shape {list(space.shape)}"
