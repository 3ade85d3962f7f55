"""The two handles through which a method reaches its domains: the source is counted, the target
is metered. What a method may not take, it cannot get."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart import envs
from headstart.envs.environment import Batch, Environment, Step
from headstart.errors import AllowanceSpent
from headstart.journal import Journal
from headstart.problem import Domain


@dataclass
class Meter:
    """Counts what was taken and stops what exceeds its limits (`None`: no limit)."""

    observation_limit: int | None = None
    step_limit: int | None = None
    episode_limit: int | None = None
    observations: int = 0
    steps: int = 0
    episodes: int = 0

    def charge(self, observations: int = 0, steps: int = 0, episodes: int = 0) -> None:
        """Count before it is taken.

        Raises:
            AllowanceSpent: a limit would be passed; nothing is counted then.
            ValueError: a number is negative.
        """
        if min(observations, steps, episodes) < 0:
            raise ValueError("what is taken cannot be given back")
        mend = "access.steps" if self.step_limit is not None else "the last of access.shots"
        _check("observations", observations, self.observations, self.observation_limit)
        _check("steps", steps, self.steps, self.step_limit)
        _check("episodes", episodes, self.episodes, self.episode_limit, mend)
        self.observations += observations
        self.steps += steps
        self.episodes += episodes

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


class Counted:
    """A `Batch` that charges a meter before every step and every episode.

    An episode is charged when it is asked for by `reset`; one that follows another by itself, when
    its first step is taken.
    """

    def __init__(self, batch: Batch, meter: Meter, rewards: bool = True):
        self._batch, self._meter, self._rewards = batch, meter, rewards
        self.num = batch.num
        self.environment: Environment = batch.environment
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
        self._running[pick] += step.reward
        ended = np.arange(self.num)[pick][step.terminated | step.truncated]
        self._finished.extend(self._running[ended])
        self._running[ended] = 0.0
        return step

    def finished(self) -> list[float]:
        """The returns of the episodes that ended since the last call."""
        returns, self._finished = self._finished, []
        return returns

    def state(self) -> dict[str, np.ndarray]:
        own = {"running": self._running.copy(), "paid": self._paid.copy()}
        return self._batch.state() | own

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Raises:
        AllowanceSpent: episodes are limited; to play one again would be to have it twice.
        """
        if self._meter.episode_limit is not None:
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
    def environment(self) -> Environment:
        return envs.find(self.domain.environment)

    def start(self, num: int, seed: int) -> Counted:
        """`num` running copies."""
        return Counted(envs.start(self.domain, num, seed), self.meter)

    def at(self, domain: Domain) -> "Source":
        """Another domain whose use counts with this one's."""
        return Source(domain, self.journal, self.meter)


@dataclass
class Target:
    """The domain that counts, as far as its meter allows."""

    _domain: Domain
    meter: Meter
    journal: Journal = field(default_factory=Journal)
    rewards: bool = True

    @property
    def environment(self) -> Environment:
        return envs.find(self._domain.environment)

    @property
    def episodes_left(self) -> int | None:
        """Episodes that may still be begun; no number where there is no limit."""
        limit = self.meter.episode_limit
        return None if limit is None else limit - self.meter.episodes

    def start(self, num: int, seed: int) -> Counted:
        """`num` running copies, metered. Without `access.rewards` their rewards are NaN."""
        return Counted(envs.start(self._domain, num, seed), self.meter, self.rewards)

    def observations(self, n: int, seed: int) -> np.ndarray:
        """`n` observations `[n, obs]` of a policy that acts uniformly at random.

        Raises:
            AllowanceSpent: fewer are left.
        """
        self.meter.charge(observations=n)
        batch = envs.start(self._domain, 1, seed)
        rng = np.random.default_rng(seed)
        space: Any = batch.action_space
        seen = [batch.reset()[0]]
        while len(seen) < n:
            discrete = not space.shape
            action = (
                rng.integers(space.n, size=1) if discrete else rng.uniform(-1, 1, (1, *space.shape))
            )
            seen.append(batch.step(action).obs[0])
        return np.stack(seen)[:n]
