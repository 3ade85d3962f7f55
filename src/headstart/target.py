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
        """
        self._check("observations", observations, self.observations, self.observation_limit)
        self._check("steps", steps, self.steps, self.step_limit)
        self._check("episodes", episodes, self.episodes, self.episode_limit)
        self.observations += observations
        self.steps += steps
        self.episodes += episodes

    @staticmethod
    def _check(what: str, asked: int, used: int, limit: int | None) -> None:
        if limit is not None and used + asked > limit:
            key = "the last of access.shots" if what == "episodes" else f"access.{what}"
            raise AllowanceSpent(
                f"asked for {asked} target {what}, {max(limit - used, 0)} of {limit} are left: "
                f"raise {key} or collect fewer"
            )

    def counts(self) -> dict[str, int]:
        return {
            "observations": self.observations,
            "steps": self.steps,
            "episodes": self.episodes,
        }


class Counted:
    """A `Batch` that charges a meter before every step; an episode when its first step is taken."""

    def __init__(self, batch: Batch, meter: Meter, rewards: bool = True):
        self._batch, self._meter, self._rewards = batch, meter, rewards
        self.num = batch.num
        self.environment: Environment = batch.environment
        self._running = np.zeros(batch.num)
        self._finished: list[float] = []

    def reset(self, rows: np.ndarray | None = None) -> np.ndarray:
        self._running[slice(None) if rows is None else rows] = 0.0
        return self._batch.reset(rows)

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        pick = slice(None) if rows is None else rows
        age = self._batch.age[pick]
        self._meter.charge(steps=len(age), episodes=int((age == 0).sum()))
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

    @property
    def values(self) -> np.ndarray:
        """The parameters that each copy runs with, `[copies, parameters]`."""
        return self._batch.values

    def state(self) -> dict[str, np.ndarray]:
        return self._batch.state() | {"running": self._running.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._batch.restore(state)
        self._running[:] = state["running"]


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

    domain: Domain
    meter: Meter
    journal: Journal = field(default_factory=Journal)
    rewards: bool = True

    @property
    def environment(self) -> Environment:
        return envs.find(self.domain.environment)

    @property
    def episodes_left(self) -> int | None:
        """Episodes that may still be begun; no number where there is no limit."""
        limit = self.meter.episode_limit
        return None if limit is None else limit - self.meter.episodes

    def start(self, num: int, seed: int) -> Counted:
        """`num` running copies, metered. Without `access.rewards` their rewards are NaN."""
        return Counted(envs.start(self.domain, num, seed), self.meter, self.rewards)

    def observations(self, n: int, seed: int) -> np.ndarray:
        """`n` observations `[n, obs]` of a policy that acts uniformly at random.

        Raises:
            AllowanceSpent: fewer are left.
        """
        self.meter.charge(observations=n)
        batch = envs.start(self.domain, 1, seed)
        rng = np.random.default_rng(seed)
        space: Any = batch.action_space
        seen = [batch.reset()[0]]
        while len(seen) < n:
            discrete = not space.shape
            action = (
                rng.integers(space.n, size=1) if discrete else rng.uniform(-1, 1, (1, *space.shape))
            )
            seen.append(batch.step(action).obs[0])
        return np.stack(seen)
