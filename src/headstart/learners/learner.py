"""What a learner is, and how a method reaches into one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.envs.spec import EnvSpec
from headstart.envs.vector_env import TimeStep
from headstart.errors import HeadstartError
from headstart.experience.hindsight import Hindsight
from headstart.experience.replay import Replay
from headstart.experience.transforms import BatchTransform
from headstart.experience.transition import Episodes, Rollout
from headstart.knowledge import Knowledge
from headstart.policies.encoders import Encoders
from headstart.policies.policy import AbstractPolicy, ActorPolicy
from headstart.pytree import PyTree

Metrics = dict[str, Array]
State = PyTree
"""All that a learner learns and remembers, a pytree. It has a `policy`; who accepts an auxiliary
loss keeps its state as `auxiliary`, and who accepts a batch transform has `transform` and
`with_transform`."""


class Progress(NamedTuple):
    """How far a training has come."""

    done: int
    """Steps of the source before the current rollout; on the target, more than any of it."""
    total: int
    """Steps in all."""
    span: tuple[float, float] = (0.0, 1.0)
    """Which part of a longer training this one is."""

    @property
    def share(self) -> float:
        """In [0, 1], of the longer training."""
        return self.span[0] + (self.span[1] - self.span[0]) * (self.done / self.total)


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """A further loss on a policy's encoders, with parameters of its own; a pytree."""

    def init(self, encoders: Encoders, key: PRNGKeyArray) -> PyTree:
        """Its state, of which `parameters` are trained along.

        Raises:
            HeadstartError: it does not suit these encoders.
        """
        ...

    def loss(
        self,
        parameters: PyTree,
        encoders: Encoders,
        activations: dict[str, Array],
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """To be added to the learner's, given the activations of its minibatch by layer;
        `progress` in [0, 1] is how far training has come."""
        ...

    def updated(self, state: PyTree, gradient: PyTree) -> PyTree:
        """The state after a gradient step on its own parameters."""
        ...

    def measure(
        self, state: PyTree, encoders: Encoders, obs: dict[str, Shaped[Array, "..."]]
    ) -> Metrics:
        """For the log, on observations `{group: [n, ...]}` that were not learned from yet."""
        ...


@runtime_checkable
class Anchor(Protocol):
    """A further loss on a policy, that holds it near to another; a pytree."""

    def opinion(self, told: TimeStep) -> Float[Array, "time env n"] | None:
        """What the other would do with what the policy was told, as its actor's outputs, if that
        is what the loss is about."""
        ...

    def loss(
        self,
        policy: ActorPolicy,
        x: Float[Array, "... features"],
        opinion: Float[Array, "... n"] | None,
        count: Float[Array, "..."],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """To be added to the policy's, given what its actor sees of a batch, the other's opinion of
        the same, and how much each row counts."""
        ...


class Rates(eqx.Module):
    """Factors of the learning rate, part by part; 0: the part is frozen."""

    policy: Float[Array, ""] | float = 1.0
    critic: Float[Array, ""] | float = 1.0
    encoder: Float[Array, ""] | float = 1.0
    temperature: Float[Array, ""] | float = 1.0
    statistics: bool = eqx.field(static=True, default=True)
    """Whether statistics of observations go on counting."""


class Hooks(eqx.Module):
    """What a method adds to each of a learner's updates."""

    auxiliary: AuxiliaryLoss | None = None
    transform: BatchTransform | None = eqx.field(static=True, default=None)
    reference: Replay | None = None
    """Experience that the transform compares with."""
    anchor: Anchor | None = None
    rates: Rates | None = None
    kept: Replay | None = None
    """Experience of the source, of which batches are mixed."""
    kept_share: float = eqx.field(static=True, default=0.0)
    """The share of a batch that it makes."""
    hindsight: Hindsight | None = eqx.field(static=True, default=None)
    """What tells experience other goals than it was gathered for."""

    @property
    def wanted(self) -> frozenset[str]:
        """What a learner must accept."""
        names = ("auxiliary", "transform", "anchor", "rates", "kept", "hindsight")
        return frozenset(name for name in names if getattr(self, name) is not None)


NO_HOOKS = Hooks()


@runtime_checkable
class Learner(Protocol):
    """An RL algorithm: a frozen dataclass of hyperparameters, and the functions they determine.

    Its functions are pure, and JAX can trace them: a state goes in and another comes out.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    accepts: ClassVar[frozenset[str]]
    """The hooks it knows: `auxiliary`, `transform`, `anchor`, `rates`, `kept`, `hindsight`;
    `weights`, if episodes may be weighted; `temperature`, if it is a `MaxEntLearner`."""
    parts: ClassVar[tuple[str, ...]]
    """Of its knowledge, all that there may be."""
    on_policy: ClassVar[bool]
    """Whether it learns from what its own policy has just done, and forgets it."""

    @property
    def num_envs(self) -> int:
        """Copies of the environment stepped at once."""
        ...

    @property
    def rollout_length(self) -> int:
        """Steps of each copy between two updates."""
        ...

    @property
    def learning_rate(self) -> float:
        """The optimiser's step size: a field, which methods lower where they go on learning."""
        ...

    @property
    def expert(self) -> str | None:
        """Whose actions it wants to see, as the group `expert`; nobody's if none."""
        ...

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> State:
        """A fresh state for a domain of this spec; `total` steps are what it will be trained for.

        Raises:
            HeadstartError: the spec does not suit.
        """
        ...

    def behaviour(self, state: State, progress: Progress) -> AbstractPolicy:
        """What to act with while learning."""
        ...

    def update(
        self,
        state: State,
        rollout: Rollout,
        progress: Progress,
        hooks: Hooks,
        key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """The state after learning from a rollout, and what to log.

        The rollout is not kept: the next is written over its observations.
        """
        ...

    def policy(self, state: State) -> ActorPolicy:
        """What was learned to do."""
        ...

    def knowledge(self, state: State) -> Knowledge:
        """What was learned, as parts."""
        ...

    def graft(self, knowledge: Knowledge, state: State) -> State:
        """`state` with every part that `knowledge` holds put in its place; its optimiser is fresh
        where the knowledge has none."""
        ...


@runtime_checkable
class OnPolicyLearner(Learner, Protocol):
    """One that learns from whole episodes too, as its own policy played them."""

    def arranged(self, tried: Episodes, weight: np.ndarray | None = None) -> Rollout:
        """Whole episodes as a rollout, weighted one by one."""
        ...


@runtime_checkable
class MaxEntLearner(Learner, Protocol):
    """One that values the entropy of what it does, by a temperature."""

    def held_at(self, temperature: float) -> "MaxEntLearner":
        """The same with its temperature held there; at 0 it settles on one way."""
        ...


def check_accepts(learner: Learner, hooks: Iterable[str], who: str) -> None:
    """Raises:
    HeadstartError: the learner does not know one of the hooks that `who` wants.
    """
    for hook in sorted(set(hooks) - learner.accepts):
        raise HeadstartError(
            f"{who} cannot use {type(learner).__name__}, which knows no {hook!r} (it knows "
            f"{', '.join(sorted(learner.accepts)) or 'none'}): set algorithm in [learner], or "
            f"learner.algorithm for {who} alone"
        )


def check_learning(log: Mapping[str, Any], steps: int) -> None:
    """Raises:
    HeadstartError: a loss is not finite.
    """
    for name, value in log.items():
        if name.endswith("_loss") and not math.isfinite(value):
            raise HeadstartError(
                f"learning has diverged: after {steps} steps {name} is {float(value):g}; lower "
                "learner.learning_rate or learner.reward_scale, or look for rewards that are huge"
            )
