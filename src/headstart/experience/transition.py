"""Experience: transitions, rollouts of running copies, and whole episodes."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from headstart.envs.vector_env import TimeStep
from headstart.policies.memory import Memory
from headstart.policies.policy import blanked
from headstart.pytree import PyTree


class Transition(NamedTuple):
    """Rows `[time, env, ...]`. `next_obs` is where the action led, also where an episode ended."""

    obs: PyTree
    """Groups by name, `{name: [time, env, ...]}`."""
    action: PyTree
    reward: Any
    next_obs: PyTree
    terminated: Any
    truncated: Any


class Rollout(NamedTuple):
    """Consecutive steps `[time, env]`; an episode's end cuts a column, and another follows."""

    steps: Transition
    begins: Any
    """`[env]`, whether an episode begins with the first step."""
    last_action: PyTree
    """`[env, ...]`, before the first step; so is `last_reward`."""
    last_reward: Any
    memory: Memory = ()
    """What the policy remembered before the first step."""
    weight: Any = None
    """`[time, env]`, what a policy's loss weighs a step with; 1 if not given."""
    valid: Any = None
    """`[time, env]`, 1 for experience and 0 for padding; 1 if not given."""

    def timesteps(self) -> TimeStep:
        """What the policy was told before every step, `[time, env, ...]`."""
        pairs = (self.last_action, self.steps.action), (self.last_reward, self.steps.reward)
        action, reward = (jnp.concatenate([first[None], then[:-1]]) for first, then in pairs)
        return blanked(TimeStep(self.steps.obs, action, reward, self.starts()))

    def starts(self) -> Array:
        """`[time, env]`, whether an episode begins with a step."""
        ended = self.steps.terminated | self.steps.truncated
        return jnp.concatenate([self.begins[None], ended[:-1]])


class Episodes(NamedTuple):
    """Whole episodes one after another; episode `i` is `[starts[i], starts[i + 1])`."""

    steps: Transition
    """`[steps, ...]`."""
    starts: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted, one for each episode."""
        return np.add.reduceat(self.steps.reward, self.starts[:-1])

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def after(self, steps: float) -> "Episodes":
        """The same without so many first steps of each; those that end before are left out."""
        ages = np.arange(len(self.steps.reward)) - np.repeat(self.starts[:-1], self.lengths)

        def late(column: np.ndarray) -> np.ndarray:
            return column[ages >= steps]

        kept = jax.tree.map(late, self.steps)
        lengths = self.lengths[self.lengths > steps] - steps
        return Episodes(kept, starts=np.cumsum([0, *lengths]))

    @staticmethod
    def joined(sets: "list[Episodes]") -> "Episodes":
        """All the episodes of several sets."""
        steps = jax.tree.map(lambda *columns: np.concatenate(columns), *(s.steps for s in sets))
        lengths = np.concatenate([s.lengths for s in sets])
        return Episodes(steps, starts=np.cumsum([0, *lengths]))

    def column(self, minibatch_size: int, weight: np.ndarray | None = None) -> Rollout:
        """All steps in one column, padded to a power of four of minibatches.

        Few sizes mean few compilations, and the padding costs no gradient steps. An episode begins
        where the one before it ends, but who carries memory wants `columns`.

        Args:
            minibatch_size: steps in a gradient step.
            weight: of each episode in the policy's loss.
        """
        count, size = len(self.steps.reward), minibatch_size
        while size < count:
            size *= 4
        rows = np.arange(size)[:, None]
        return self._arranged(np.where(rows < count, rows, -1), weight)

    def columns(self, minibatch_size: int, weight: np.ndarray | None = None) -> Rollout:
        """Every episode in a column of its own, padded; arguments as for `column`."""
        length = 1
        while length < self.lengths.max():
            length *= 2
        each = max(minibatch_size // length, 1)
        env = each
        while env < len(self.lengths):
            env *= 2
        rows = np.full((length, env), -1)
        for i, (start, steps) in enumerate(zip(self.starts, self.lengths, strict=False)):
            rows[:steps, i] = np.arange(start, start + steps)
        return self._arranged(rows, weight)

    def _arranged(self, rows: np.ndarray, weight: np.ndarray | None) -> Rollout:
        """Steps by their numbers `[time, env]`, −1 for padding."""
        held = rows >= 0

        def arranged(column: np.ndarray) -> np.ndarray:
            taken = narrowed(column)[rows]
            taken[~held] = 0
            return taken

        steps = jax.tree.map(arranged, self.steps)
        per_episode = np.ones(len(self.lengths)) if weight is None else weight
        weights = np.repeat(per_episode, self.lengths).astype(np.float32)[rows]
        weights[~held] = 0.0
        env = rows.shape[1]
        return Rollout(
            steps,
            begins=np.ones(env, bool),
            last_action=np.zeros((env, *steps.action.shape[2:]), steps.action.dtype),
            last_reward=np.zeros(env, np.float32),
            weight=weights,
            valid=held.astype(np.float32),
        )


Column = TypeVar("Column", np.ndarray, Array)
NARROW = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}


def narrowed(array: Column) -> Column:
    """As networks take it: 64 bits become 32."""
    narrow = NARROW.get(array.dtype)
    return array if narrow is None else array.astype(narrow)
