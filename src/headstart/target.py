"""The two handles through which a method reaches its domains: the source is counted, the target
is metered. What a method may not take, it cannot get."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart import envs
from headstart.envs.compiled import Columns, CompiledBatch, World
from headstart.envs.environment import Batch, Environment, Step
from headstart.errors import AllowanceSpent, unknown
from headstart.journal import Journal
from headstart.problem import Domain

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

    @property
    def steps_left(self) -> int | None:
        """Steps that may still be taken; no number where there is no limit."""
        return None if self.step_limit is None else self.step_limit - self.steps

    def charge(self, observations: int = 0, steps: int = 0, episodes: int = 0) -> None:
        """Count before it is taken.

        Raises:
            AllowanceSpent: a limit would be passed; nothing is counted then.
            ValueError: a number is negative.
        """
        if min(observations, steps, episodes) < 0:
            raise ValueError("what is taken cannot be given back")
        mend = "access.steps" if self.step_limit is not None else "the last of access.shots"
        self.check_observations(observations)
        _check("steps", steps, self.steps, self.step_limit)
        _check("episodes", episodes, self.episodes, self.episode_limit, mend)
        self.observations += observations
        self.steps += steps
        self.episodes += episodes

    def check_observations(self, n: int) -> None:
        """Raises:
        AllowanceSpent: fewer are left.
        """
        _check("observations", n, self.observations, self.observation_limit)

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


def check_demonstrator(environment: Environment | World, name: str) -> None:
    """Raises:
    HeadstartError: the environment has no such demonstrator.
    """
    known = getattr(environment, "demonstrators", {})
    if name not in known:
        raise unknown(f"demonstrator of {environment.name}", name, known)


class Counted:
    """A `Batch` that charges a meter before every step and every episode.

    An episode is charged when it is asked for by `reset`; one that follows another by itself, when
    its first step is taken.
    """

    def __init__(self, batch: Batch | CompiledBatch, meter: Meter, rewards: bool = True):
        self._batch, self._meter, self._rewards = batch, meter, rewards
        self.num = batch.num
        self.environment: Environment | World = batch.environment
        self._running = np.zeros(batch.num)
        self._paid = np.zeros(batch.num, bool)
        self._finished: list[float] = []

    def reset(self, rows: np.ndarray | None = None) -> np.ndarray:
        pick = np.arange(self.num) if rows is None else rows
        self._meter.charge(episodes=len(pick))
        self._paid[pick], self._running[pick] = True, 0.0
        return self._batch.reset(rows)

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        pick = slice(None) if rows is None else rows
        age = self._batch.age[pick]
        unpaid = (age == 0) & ~self._paid[pick]
        self._meter.charge(steps=len(age), episodes=int(unpaid.sum()))
        self._paid[pick] = False
        step = self._batch.step(action, rows)
        if not self._rewards:
            return step._replace(reward=np.full(len(age), np.nan))
        ended = np.arange(self.num)[pick][step.terminated | step.truncated]
        self._count(step.reward, ended, pick)
        return step

    def demonstrated(self, name: str) -> np.ndarray:
        """What a demonstrator, who sees the true state, would do in every copy: `[env, ...]`.

        Raises:
            AllowanceSpent: there is a limit to what may be taken here, which states are not in.
            HeadstartError: the environment has no such demonstrator.
        """
        if not self._meter.unlimited:
            raise AllowanceSpent(
                "a demonstrator sees states, and access gives none of the target's: ask it in the "
                "source"
            )
        check_demonstrator(self.environment, name)
        return self._batch.demonstrated(name)  # pyright: ignore[reportAttributeAccessIssue]

    def chunk(self, policy: Any, obs: Any, steps: int, key: Any) -> tuple[Columns, Any] | None:
        """`steps` steps of every copy within one compiled loop; nothing where there is none, or
        where the meter might run out within it."""
        most = steps * self.num
        if isinstance(self._batch, Batch) or not self._meter.covers(most, most):
            return None
        self._meter.charge(steps=most)
        begun = ((self._batch.age == 0) & ~self._paid).sum()
        self._paid[:] = False
        columns, obs = self._batch.scan(policy, obs, steps, key)
        ended = np.asarray(columns.terminated | columns.truncated)
        self._meter.charge(episodes=int(begun + ended[:-1].sum()))
        if not self._rewards:
            return columns._replace(reward=np.full(ended.shape, np.nan, np.float32)), obs
        for reward, over in zip(np.asarray(columns.reward), ended, strict=True):
            self._count(reward, np.flatnonzero(over), slice(None))
        return columns, obs

    def _count(self, reward: np.ndarray, ended: np.ndarray, pick: Any) -> None:
        self._running[pick] += reward
        self._finished.extend(self._running[ended])
        self._running[ended] = 0.0

    def finished(self) -> list[float]:
        """The returns of the episodes that ended since the last call."""
        returns, self._finished = self._finished, []
        return returns

    def state(self) -> dict[str, np.ndarray]:
        own = {"running": self._running.copy(), "paid": self._paid.copy()}
        return self._batch.state() | own

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Raises:
        AllowanceSpent: episodes are limited, and steps are not; to play one again would be to have
            it twice.
        """
        if self._meter.episode_limit is not None and self._meter.step_limit is None:
            raise AllowanceSpent("a target whose episodes are limited cannot be put back")
        self._batch.restore(state)
        self._running[:], self._paid[:] = state["running"], state["paid"]


@dataclass
class Source:
    """The domain to train in: unlimited, and counted."""

    domain: Domain
    journal: Journal = field(default_factory=Journal)
    meter: Meter = field(default_factory=Meter)

    @property
    def environment(self) -> Environment | World:
        return envs.find(self.domain.environment)

    def start(self, num: int, seed: int) -> Counted:
        """`num` running copies."""
        return Counted(envs.start(self.domain, num, seed), self.meter)

    def at(self, domain: Domain) -> "Source":
        """Another domain whose use counts with this one's."""
        return Source(domain, self.journal, self.meter)

    def at_mean(self) -> "Source":
        """One domain, the mean of a source that varies."""
        return self.at(self.domain.at_mean())


@dataclass
class Target:
    """The domain that counts, as far as its meter allows."""

    _domain: Domain
    meter: Meter
    journal: Journal = field(default_factory=Journal)
    rewards: bool = True
    behaviour: str = "random"
    """Who acts when observations are recorded."""
    episodes_later: int | None = None
    """In pre-training, the episodes that adaptation may take after it, where that is known."""

    @property
    def environment(self) -> Environment | World:
        return envs.find(self._domain.environment)

    @property
    def episodes_left(self) -> int | None:
        """Episodes that may still be begun; no number where there is no limit."""
        limit = self.meter.episode_limit
        return None if limit is None else limit - self.meter.episodes

    def start(self, num: int, seed: int) -> Counted:
        """`num` running copies, metered. Without `access.rewards` their rewards are NaN."""
        return Counted(envs.start(self._domain, num, seed), self.meter, self.rewards)

    def check_observations(self, n: int) -> None:
        """Whether so many may be recorded, before anything is done that they are needed for.

        Raises:
            AllowanceSpent: fewer are left.
            HeadstartError: the environment has no such demonstrator.
        """
        if self.behaviour != "random":
            check_demonstrator(self.environment, self.behaviour)
        self.meter.check_observations(n)

    def observations(self, n: int, seed: int) -> np.ndarray:
        """`n` observations `[n, *obs]`, some steps apart, of whoever `behaviour` names.

        Raises:
            AllowanceSpent: fewer are left.
            HeadstartError: the environment has no such demonstrator.
        """
        self.check_observations(n)
        batch = envs.start(self._domain, min(max(n, 1), COPIES), seed)
        self.meter.charge(observations=n)
        rng = np.random.default_rng(seed)
        space: Any = batch.action_space
        obs = batch.reset()
        seen = [obs]
        while len(seen) * batch.num < n:
            for _ in range(SPACING):
                if self.behaviour != "random":
                    action = batch.demonstrated(self.behaviour)
                elif space.shape:
                    action = rng.uniform(-1, 1, (batch.num, *space.shape))
                else:
                    action = rng.integers(space.n, size=batch.num)
                obs = batch.step(action).obs
            seen.append(obs)
        return np.concatenate(seen)[:n]
