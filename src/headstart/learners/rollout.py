"""Experience on the host: chunks of running environments, and sets of whole episodes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.envs.environment import Step
from headstart.learners.policy import Anything, Policy, greedy, prepared, sampled
from headstart.learners.ppo import Transitions
from headstart.target import Target


class Environments(Protocol):
    """Running copies of an environment: a `Batch`, or one that is counted or metered."""

    num: int

    def reset(self, rows: np.ndarray | None = None) -> np.ndarray: ...
    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step: ...


def chunk(
    policy: Policy | Anything, batch: Environments, obs: np.ndarray, steps: int, key: PRNGKeyArray
) -> tuple[Transitions, np.ndarray]:
    """`steps` steps of every copy from `obs`, and the observations to go on from.

    Environments written in JAX take them in one compiled loop.
    """
    compiled = getattr(batch, "chunk", None)
    scanned = compiled(policy, obs, steps, key) if compiled is not None else None
    if scanned is not None:
        columns, obs = scanned
        ones = np.ones(columns.reward.shape, np.float32)
        return Transitions(*columns, weight=ones, valid=ones), obs
    seen = []
    for t in range(steps):
        action = np.asarray(sampled(policy, prepared(obs), key, t))
        step = batch.step(action)
        seen.append((obs, action, *step[:4]))
        obs = step.obs
    stacked = [np.stack(column) for column in zip(*seen, strict=True)]
    ones: Any = np.ones(stacked[2].shape, np.float32)
    floats: list[Any] = [c.astype(np.float32) if c.dtype == np.float64 else c for c in stacked]
    return Transitions(*floats, weight=ones, valid=ones), obs


class Episodes(NamedTuple):
    """Whole episodes one after another; episode `i` is `[starts[i], starts[i + 1])`."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    starts: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted, one for each episode."""
        return np.add.reduceat(self.reward, self.starts[:-1])

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    @staticmethod
    def joined(sets: list["Episodes"]) -> "Episodes":
        """All the episodes of several sets."""
        columns = [np.concatenate(column) for column in zip(*(s[:6] for s in sets), strict=True)]
        lengths = np.concatenate([s.lengths for s in sets])
        return Episodes(*columns, starts=np.cumsum([0, *lengths]))

    def transitions(self, minibatch: int, weight: np.ndarray | None = None) -> Transitions:
        """One column, padded to a power of four of minibatches; `weight` is per episode.

        Few sizes mean few compilations, and the padding costs no gradient steps.
        """
        count = len(self.reward)
        size = minibatch
        while size < count:
            size *= 4
        per_episode = np.ones(len(self.lengths)) if weight is None else weight

        def column(x: np.ndarray) -> Any:
            x = x.astype(np.float32) if x.dtype == np.float64 else x
            return np.pad(x, [(0, size - count)] + [(0, 0)] * (x.ndim - 1))[:, None]

        weights = np.repeat(per_episode, self.lengths).astype(np.float32)
        valid = np.ones(count, np.float32)
        return Transitions(*map(column, (*self[:6], weights, valid)))


def episodes(
    policy: Policy,
    batch: Environments,
    rounds: int = 1,
    key: PRNGKeyArray | None = None,
) -> Episodes:
    """Exactly `rounds` episodes in every copy, from reset to end: none is favoured for its length.

    Actions are sampled with `key`, or the most likely ones without.
    """
    seen = []
    left = np.full(batch.num, rounds)
    obs = batch.reset()
    live = np.arange(batch.num)
    while len(live):
        shown = prepared(obs)
        t = len(seen)
        chosen = greedy(policy, shown) if key is None else sampled(policy, shown, key, t)
        action = np.asarray(chosen)[live]
        step = batch.step(action, live)
        seen.append((live, obs[live], action, *step[:4]))
        obs[live] = step.next_obs
        ended = live[step.terminated | step.truncated]
        if len(ended):
            left[ended] -= 1
            again = ended[left[ended] > 0]
            if len(again):
                obs[again] = batch.reset(again)
            live = np.flatnonzero(left > 0)
    copies, *columns = (np.concatenate(column) for column in zip(*seen, strict=True))
    order = np.argsort(copies, kind="stable")  # by copy, and in time within each
    columns = [column[order] for column in columns]
    ends = np.flatnonzero(columns[4] | columns[5])
    return Episodes(*columns, starts=np.concatenate([[0], ends + 1]))


def returns(policy: Policy, batch: Environments, rounds: int = 1) -> np.ndarray:
    """The return of each copy's episodes with the most likely actions, `[copies, rounds]`."""
    total = np.zeros((batch.num, rounds))
    finished = np.zeros(batch.num, int)
    obs = batch.reset()
    live = np.arange(batch.num)
    while len(live):
        action = np.asarray(greedy(policy, prepared(obs)))[live]
        step = batch.step(action, live)
        total[live, finished[live]] += step.reward
        obs[live] = step.next_obs
        ended = live[step.terminated | step.truncated]
        if len(ended):
            finished[ended] += 1
            again = ended[finished[ended] < rounds]
            if len(again):
                obs[again] = batch.reset(again)
            live = np.flatnonzero(finished < rounds)
    return total


def log_round(target: Target, tried: Episodes, log: Mapping[str, Any], total: int) -> None:
    """The record of one round of adaptation, of `total` episodes that there were to take."""
    target.journal.log(
        phase="adapt",
        steps=target.meter.steps,
        episodes=target.meter.episodes,
        train_return=float(tried.returns.mean()),
        **{name: float(value) for name, value in log.items()},
    )
    target.journal.progress("adapt", total - (target.episodes_left or 0), total)


def seed_from(key: PRNGKeyArray) -> int:
    """A seed for NumPy from a JAX key."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))
