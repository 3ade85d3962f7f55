"""The two handles through which a method reaches its domains: the source is counted, the target
is metered. What a method may not take, it cannot get.

Everything that a handle does is a function that keeps what stands behind it to itself: there is no
attribute that leads to the target's environment, its parameters, its state, or the run's folder.
The seed by which a run is evaluated is not to be had for copies of the target, and once a method
has returned, `runs/audit.py` holds what was stepped against what was charged.

In one Python process this stops mistakes and shortcuts, not malice. A method that wants to can read
the problem from the run's `config.json`, make the target's environment without Headstart, look into
the closures behind a handle, or write into this module; and it can choose among its policies by
what it knows of the world from elsewhere. Whoever publishes numbers of a method publishes its code.
"""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from headstart import envs
from headstart.envs.ledger import Tally
from headstart.envs.spec import EXPERT, EnvSpec, Obs
from headstart.envs.vector_env import (
    AbstractVectorEnv,
    Act,
    Draws,
    Scanned,
    Step,
    TimeStep,
    VectorEnv,
)
from headstart.errors import AllowanceSpent
from headstart.experience.unroll import begin, play
from headstart.policies.policy import ExpertPolicy, UniformPolicy
from headstart.problem.domain import Domain
from headstart.pytree import PyTree
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.logger import Logger, ShowProgress, silent

COPIES = 8
"""Copies that observations are recorded from."""
SPACING = 8
"""Steps between two recordings: neighbouring observations are nearly the same one twice."""


@dataclass
class Meter:
    """Counts what was taken and stops what exceeds its limits (`None`: no limit)."""

    observation_limit: int | None = None
    step_limit: int | None = None
    episode_limit: int | None = None
    observations: int = 0
    steps: int = 0
    episodes: int = 0
    steps_here: int = 0
    """Those charged in this process, which no checkpoint brings back."""
    stepped: Tally = field(default_factory=Tally)
    """Those taken in this process, of which the copies keep a tally."""

    @property
    def steps_left(self) -> int | None:
        """Steps that may still be taken; no number where there is no limit."""
        return None if self.step_limit is None else self.step_limit - self.steps

    @property
    def episodes_left(self) -> int | None:
        """Episodes that may still be begun; no number where there is no limit."""
        return None if self.episode_limit is None else self.episode_limit - self.episodes

    def charge(self, observations: int = 0, steps: int = 0, episodes: int = 0) -> None:
        """Count before it is taken.

        Raises:
            AllowanceSpent: a limit would be passed; nothing is counted then.
            ValueError: a number is negative, or none that can be counted.
        """
        for number in (observations, steps, episodes):
            if not float(number).is_integer() or number < 0:  # not-a-number is below nothing
                raise ValueError(f"{number} cannot be taken: charge a whole number ≥ 0")
        mend = "access.steps" if self.step_limit is not None else "the last of access.shots"
        _check("observations", observations, self.observations, self.observation_limit)
        _check("steps", steps, self.steps, self.step_limit)
        _check("episodes", episodes, self.episodes, self.episode_limit, mend)
        self.observations += observations
        self.steps += steps
        self.steps_here += steps
        self.episodes += episodes

    @property
    def unlimited(self) -> bool:
        """Whether anything may be taken."""
        return self.observation_limit is self.step_limit is self.episode_limit is None

    def covers(self, steps: int, episodes: int) -> bool:
        """Whether so much is left."""
        limits = (
            (self.step_limit, self.steps + steps),
            (self.episode_limit, self.episodes + episodes),
        )
        return all(limit is None or used <= limit for limit, used in limits)

    def counts(self) -> dict[str, int]:
        return {
            "observations": self.observations,
            "steps": self.steps,
            "episodes": self.episodes,
        }


def _check(what: str, asked: int, used: int, limit: int | None, mend: str = "") -> None:
    if limit is not None and used + asked > limit:
        raise AllowanceSpent(
            f"asked for {asked} target {what}, {max(limit - used, 0)} of {limit} are left: "
            f"raise {mend or f'access.{what}'} or collect fewer"
        )


class MeteredVectorEnv:
    """A `VectorEnv` that charges a meter before every step, and for every episode that it shows.

    An episode that follows another by itself is charged when its first observation is shown. Where
    it cannot be paid for, zeros are shown, and the copy waits for `reset`.
    """

    def __init__(self, inner: AbstractVectorEnv, meter: Meter, rewards: bool = True):
        self.num, self.spec = inner.num, inner.spec

        def reset(rows: np.ndarray | None = None) -> Obs:
            meter.charge(episodes=inner.num if rows is None else len(rows))
            return inner.reset(rows)

        def step(action: np.ndarray, rows: np.ndarray | None = None) -> Step:
            meter.charge(steps=inner.num if rows is None else len(rows))
            if rows is not None:
                return hidden(inner.step(action, rows))
            if meter.covers(0, inner.num):
                taken = inner.step(action)
                meter.charge(episodes=int((taken.terminated | taken.truncated).sum()))
                return hidden(taken)
            return hidden(_begun_if_paid(inner, meter, action))

        def scan(
            act: Act,
            policy: PyTree,
            told: TimeStep,
            memory: PyTree,
            steps: int,
            key: Any,
            spent: Scanned | None = None,
        ) -> tuple[Scanned, TimeStep, PyTree] | None:
            most = steps * inner.num
            if not meter.covers(most, most):
                return None
            shown = act if rewards else _blind(act)
            seen = inner.scan(shown, policy, told, memory, steps, key, spent)
            if seen is None:
                return None
            columns, told, memory = seen
            ended = np.asarray(columns.terminated | columns.truncated)
            meter.charge(steps=most, episodes=int(ended.sum()))
            if not rewards:
                columns = columns._replace(reward=jnp.full(ended.shape, jnp.nan))
                told = told._replace(last_reward=jnp.full(inner.num, jnp.nan))
            return columns, told, memory

        def hidden(taken: Step) -> Step:
            if rewards:
                return taken
            return taken._replace(reward=np.full(taken.reward.shape, np.nan))

        self.reset, self.step, self.scan = reset, step, scan


def _begun_if_paid(inner: AbstractVectorEnv, meter: Meter, action: np.ndarray) -> Step:
    """A step of all copies, with new episodes as far as the meter allows."""
    taken = inner.step(action, np.arange(inner.num))
    ended = np.flatnonzero(taken.terminated | taken.truncated)
    obs = {name: group.copy() for name, group in taken.next_obs.items()}
    paid = ended[: meter.episodes_left]
    for group in obs.values():
        group[ended] = 0
    if len(paid):
        meter.charge(episodes=len(paid))
        for name, group in inner.reset(paid).items():
            obs[name][paid] = group
    return taken._replace(obs=obs)


@lru_cache
def _blind(act: Act) -> Act:
    """The same, told no rewards."""

    def blind(policy: PyTree, told: TimeStep, memory: PyTree, key: Any) -> tuple[Any, Any]:
        nothing = jnp.full_like(told.last_reward, jnp.nan)
        return act(policy, told._replace(last_reward=nothing), memory, key)

    return blind


class CountedSource:
    """The domain to train in: unlimited, and counted; implements `Source`.

    The run's folder, and its checkpointer, know of the target too: they are kept as the target's
    handle keeps them.
    """

    def __init__(
        self,
        domain: Domain,
        meter: Meter | None = None,
        logger: Logger | None = None,
        checkpointer: Checkpointer | None = None,
        progress: ShowProgress = silent,
        phase: str = "pretrain",
    ):
        self.domain = domain
        self.meter = counted = Meter() if meter is None else meter
        told = Logger() if logger is None else logger
        keeper = Checkpointer() if checkpointer is None else checkpointer
        self.checkpointer = Checkpoint.of(keeper)

        def start(
            num: int, seed: int, expert: str | None = None, draws: Draws | None = None
        ) -> MeteredVectorEnv:
            inner = envs.start(domain, num, seed, expert, counted.stepped, draws)
            handle = MeteredVectorEnv(inner, counted)
            keeper.watch(handle, inner)
            return handle

        def at(domain: Domain) -> CountedSource:
            return CountedSource(domain, counted, told, keeper, progress, phase)

        self.start, self.at = start, at
        self.log, self.progress = _record(told, progress, phase)

    @property
    def spec(self) -> EnvSpec:
        return envs.spec_of(self.domain)

    @property
    def steps(self) -> int:
        return self.meter.steps

    @property
    def episodes(self) -> int:
        return self.meter.episodes

    def at_mean(self) -> "CountedSource":
        return self.at(self.domain.at_mean())

    def simulator(self, num: int, seed: int) -> AbstractVectorEnv:
        return envs.start(self.domain, num, seed, tally=self.meter.stepped)

    def charge(self, steps: int) -> None:
        self.meter.charge(steps=steps)


@dataclass(frozen=True)
class Allowance:
    """What a target gives in one phase of a run."""

    meter: Meter
    rewards: bool = True
    behaviour: str = "random"
    """Who acts when observations are recorded."""
    reserved: int | None = None
    """The seed of the episodes that a run is evaluated by, which its method cannot have."""

    def seed(self, asked: int) -> int:
        """The one asked for, or the next where that is reserved; JAX reads 32 bits of it."""
        asked = int(asked) % 2**32
        return asked ^ 1 if asked == self.reserved else asked


class MeteredTarget:
    """The domain that counts, as far as its meter allows; implements `Target`."""

    def __init__(
        self,
        domain: Domain,
        allowance: Allowance,
        logger: Logger | None = None,
        checkpointer: Checkpointer | None = None,
        progress: ShowProgress = silent,
        phase: str = "pretrain",
    ):
        meter, told = allowance.meter, Logger() if logger is None else logger
        keeper = Checkpointer() if checkpointer is None else checkpointer
        self.spec = envs.spec_of(domain)
        self.checkpointer = Checkpoint.of(keeper)
        self._counts = lambda: (meter.steps, meter.episodes, meter.steps_left, meter.episodes_left)

        def start(num: int, seed: int, expert: str | None = None) -> MeteredVectorEnv:
            if expert is not None and not meter.unlimited:
                raise AllowanceSpent(
                    "an expert sees states, and access gives none of the target's: ask it in the "
                    "source"
                )
            inner = envs.start(domain, num, allowance.seed(seed), expert, meter.stepped)
            handle = MeteredVectorEnv(inner, meter, allowance.rewards)
            keeper.watch(handle, inner)
            return handle

        def observations(n: int, seed: int) -> Obs:
            meter.charge(observations=n)
            return recorded(domain, allowance.behaviour, n, allowance.seed(seed))

        self.start, self.observations = start, observations
        self.log, self.progress = _record(told, progress, phase)

    @property
    def steps(self) -> int:
        return self._counts()[0]

    @property
    def episodes(self) -> int:
        return self._counts()[1]

    @property
    def steps_left(self) -> int | None:
        return self._counts()[2]

    @property
    def episodes_left(self) -> int | None:
        return self._counts()[3]


def _record(
    logger: Logger, progress: ShowProgress, phase: str
) -> tuple[Callable[..., None], Callable[[float, float], None]]:
    """How a handle logs a row, and tells how far it is, in its phase of the run."""

    def log(**row: Any) -> None:
        logger.log({"phase": phase, **row})

    def show(done: float, total: float) -> None:
        progress(phase, done, total)

    return log, show


@dataclass(frozen=True)
class Checkpoint:
    """A checkpointer as a method sees it: four functions."""

    due: Callable[[], bool]
    save: Callable[..., None]
    load: Callable[[], dict[str, np.ndarray] | None]
    restore: Callable[..., None]

    @staticmethod
    def of(keeper: Checkpointer) -> "Checkpoint":
        """Functions that do not lead to the keeper, as its own methods would."""

        def due() -> bool:
            return keeper.due()

        def save(arrays: Mapping[str, np.ndarray], envs: Sequence[VectorEnv]) -> None:
            keeper.save(arrays, envs)

        def load() -> dict[str, np.ndarray] | None:
            return keeper.load()

        def restore(envs: Sequence[VectorEnv]) -> None:
            keeper.restore(envs)

        return Checkpoint(due, save, load, restore)


def recorded(domain: Domain, behaviour: str, n: int, seed: int) -> Obs:
    """`n` observations of a domain, some steps apart, of an expert or of random actions."""
    expert = None if behaviour == "random" else behaviour
    running = envs.start(domain, min(max(n, 1), COPIES), seed, expert, Tally())
    policy = UniformPolicy(running.spec.actions) if expert is None else ExpertPolicy()
    carry = begin(policy, running)
    seen = [carry.told.obs]
    for t, played in enumerate(play(policy, running, carry, jax.random.key(seed)), start=1):
        if len(seen) * running.num >= n:
            break
        if t % SPACING == 0:
            seen.append(played.step.obs)
    names = [name for name in running.spec.groups if name != EXPERT]
    return {name: np.concatenate([obs[name] for obs in seen])[:n] for name in names}
