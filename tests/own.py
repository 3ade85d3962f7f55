"""What a user may bring: a learner, an encoder, an executor, a sink, a method."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from headstart.errors import HeadstartError
from headstart.experience.unroll import episodes
from headstart.learners.learner import NO_HOOKS
from headstart.learners.ppo import PPO
from headstart.methods.method import Method
from headstart.policies.encoders import AbstractEncoder
from headstart.policies.policy import policy_from
from headstart.runs.worker import work


@dataclass(frozen=True)
class MyLearner:
    """A learner that is PPO by another name, with one field of its own."""

    width: int = 8
    """Of both hidden layers."""
    encoders: tuple[str, ...] = ()
    """As PPO's."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    num_envs: int = 8
    """Copies of the environment stepped at once."""
    rollout_length: int = 16
    """Steps of each copy between two updates."""
    accepts: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[tuple[str, ...]] = ("policy", "critic", "statistics", "encoder")
    on_policy: ClassVar[bool] = True
    expert: ClassVar[str | None] = None

    @property
    def ppo(self):
        return PPO(
            hidden=(self.width, self.width), encoders=self.encoders, num_envs=self.num_envs,
            rollout_length=self.rollout_length, learning_rate=self.learning_rate,
            minibatch_size=32, epochs=2,
        )  # fmt: skip

    def init(self, spec, key, hooks=NO_HOOKS, total=None):
        return self.ppo.init(spec, key, hooks, total)

    def behaviour(self, state, progress):
        return self.ppo.behaviour(state, progress)

    def update(self, state, rollout, progress, hooks, key):
        state, log = self.ppo.update(state, rollout, progress, hooks, key)
        return state, log | {"mine": jnp.float32(1.0)}

    def arranged(self, tried, weight=None):
        return self.ppo.arranged(tried, weight)

    def policy(self, state):
        return self.ppo.policy(state)

    def knowledge(self, state):
        return self.ppo.knowledge(state)

    def graft(self, knowledge, state):
        return self.ppo.graft(knowledge, state)


@dataclass(frozen=True)
class NoLearner:
    """Lacks what a learner must have."""

    num_envs: int = 8
    rollout_length: int = 16
    learning_rate: float = 1e-3
    accepts: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[tuple[str, ...]] = ("policy", "critic", "statistics", "encoder")
    on_policy: ClassVar[bool] = True
    expert: ClassVar[str | None] = None

    def init(self, spec, key, hooks=NO_HOOKS, total=None): ...
    def behaviour(self, state, progress): ...
    def policy(self, state): ...
    def knowledge(self, state): ...


class MyEncoder(AbstractEncoder):
    """Features through one learned layer of the user's own."""

    weight: jax.Array
    part: ClassVar[str] = "encoder"
    learned: ClassVar[bool] = True

    def __init__(self, group, key):
        self.weight = jax.random.normal(key, (group.shape[0], 3))

    @property
    def size(self):
        return self.weight.shape[1]

    def __call__(self, x):
        return jnp.tanh(x @ self.weight)


@dataclass(frozen=True)
class InProcess:
    """An executor that works where it is, one run after another."""

    slots: int = 1
    started: ClassVar[list[Path]] = []

    def start(self, folder, slot):
        self.started.append(folder)
        try:
            work(folder)
        except HeadstartError as error:
            return Ended(1, str(error))
        except Exception:
            return Ended(1, traceback.format_exc())
        return Ended(0, "")


@dataclass(frozen=True)
class Ended:
    status: int
    said: str

    def poll(self):
        return self.status

    def error(self):
        return self.said

    def stop(self):
        pass


@dataclass
class Sink:
    """Keeps every row, and writes a line for each."""

    folder: Path | None
    rows: list = field(default_factory=list)
    made: ClassVar[list["Sink"]] = []

    def __post_init__(self):
        self.made.append(self)

    def write(self, row):
        self.rows.append(row)
        with (self.folder / "sink.txt").open("a") as file:
            file.write(f"{row['phase']}\n")


class NoSink:
    """Does not write."""


@dataclass(frozen=True, kw_only=True)
class Greedy(Method):
    """Takes an episode of the target more than it may."""

    during: str = "adapt"
    """When."""

    def pretrain(self, source, target, key):
        if self.during == "pretrain":
            target.start(1, 0).reset()
        return self.learner.knowledge(self.learner.init(source.spec, key))

    def adapt(self, knowledge, source, target, key) -> Iterator:
        policy = policy_from(knowledge)
        yield policy
        if self.during == "adapt":
            episodes(policy, target.start(11, 0))


@dataclass(frozen=True, kw_only=True)
class Seeing(Method):
    """Notes down what knowledge it was handed."""

    seen: ClassVar[list] = []

    def pretrain(self, source, target, key):
        return self.learner.knowledge(self.learner.init(source.spec, key))

    def adapt(self, knowledge, source, target, key) -> Iterator:
        self.seen.append(knowledge)
        yield policy_from(knowledge)


def halved(policy):
    """A policy whose encoder of the user's own sees half as much."""
    weight = policy.encoders.by_group["state"].weight
    return eqx.tree_at(lambda p: p.encoders.by_group["state"].weight, policy, weight / 2)


@dataclass(frozen=True)
class Nothing:
    """An engine for which every run fails at once."""

    slots: int = 4

    def start(self, folder: Path, slot: int) -> Ended:
        return Ended(1, "nothing was run")


@dataclass(frozen=True, kw_only=True)
class Rewriting(Method):
    """Changes the policy that it has yielded, in place, to what it adapts it to."""

    def pretrain(self, source, target, key):
        fresh = self.learner.init(source.spec, key)
        return self.learner.knowledge(fresh)

    def adapt(self, knowledge, source, target, key):
        policy = jax.tree.map(lambda x: np.array(x) * 0, policy_from(knowledge))
        yield policy
        episodes(policy, target.start(1, 0), key=key)
        for leaf in jax.tree.leaves(policy):
            leaf[...] += 1
        yield policy
