"""Losses that hold a policy near to the one it came from, while it learns something else.

    kickstart   E[KL(π_source ‖ π)]       in states that it meets (Schmitt et al., 2018)
    clone       E[KL(π_source ‖ π)]       in states kept of the source (Wołczyk et al., 2024)
    l2          ½ Σ (θ − θ_source)²
    ewc         ½ Σ F (θ − θ_source)²     (Kirkpatrick et al., 2017)

with F the diagonal of Fisher's information in kept states (1803.03835, 2402.02868, 1612.00796).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from headstart.configuration import require
from headstart.envs.vector_env import TimeStep
from headstart.learners.learner import Metrics
from headstart.policies.policy import ActorPolicy, described, learned_parts, with_learned_parts
from headstart.pytree import PyTree


@dataclass(frozen=True)
class Anchoring:
    """Which of the losses, and how much of it."""

    kind: Literal["none", "kickstart", "clone", "l2", "ewc"] = "none"
    """What holds the policy near to the source's."""
    weight: float = 1.0
    """What the loss is multiplied with, at the start."""
    until: float = 1.0
    """Share of the target's episodes over which the weight falls linearly to 0; 0: it stays."""
    batch_size: int = 256
    """Kept states in a gradient step, for `clone`; states that F is measured in, for `ewc`."""

    def __post_init__(self):
        require(self, 0, math.inf, "weight")
        require(self, 0, 1, "until")
        require(self, 1, math.inf, "batch_size")

    @property
    def needs_states(self) -> bool:
        """Whether states of the source are needed."""
        return self.kind in ("clone", "ewc")

    def weight_at(self, share: float) -> float:
        """The weight after a share of the target's episodes."""
        return self.weight * max(1 - share / self.until, 0.0) if self.until else self.weight

    def anchor(self, source: ActorPolicy, obs: PyTree, key: PRNGKeyArray) -> Any:
        """The loss, with a weight of 1.

        Args:
            source: the policy to stay near to.
            obs: states kept of the source, groups `{name: [n, ...]}`, where they are needed.
            key: of which of them.
        """
        one = jnp.float32(1.0)
        if self.kind == "kickstart":
            return Kickstart(one, source)
        if self.kind == "clone":
            return Clone(one, obs, _outputs(source, obs), self.batch_size)
        importance = jax.tree.map(jnp.ones_like, learned_parts(source))
        if self.kind == "ewc":
            count = len(jax.tree.leaves(obs)[0])
            chosen = jax.random.choice(key, count, (min(self.batch_size, count),), replace=False)
            importance = fisher(source, jax.tree.map(lambda x: x[chosen], obs))
        return Near(one, learned_parts(source), importance)


class Kickstart(eqx.Module):
    """Near in what it does, in the states that it meets."""

    weight: Float[Array, ""]
    source: ActorPolicy

    def opinion(self, told: TimeStep) -> Float[Array, "time env n"]:
        memory, actions = self.source.memory, self.source.actions
        last = described(told.last_action, actions)
        initial = memory.initial(told.begins.shape[1])
        x, _ = memory.unroll(self.source.encoders(told.obs), last, told.begins, initial)
        return self.source.actor.outputs(x)

    def loss(
        self, policy: ActorPolicy, x: Array, opinion: Array | None, count: Array, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Metrics]:
        far = policy.actor.divergence(jnp.asarray(opinion), policy.actor.outputs(x))
        mean = (count * far).sum() / jnp.maximum(count.sum(), 1e-8)
        return self.weight * mean, {"anchor": mean}


class Clone(eqx.Module):
    """Near in what it does, in states kept of the source."""

    weight: Float[Array, ""]
    obs: PyTree
    outputs: Float[Array, "kept n"]
    """Of the source's actor."""
    batch_size: int = eqx.field(static=True)

    def opinion(self, told: TimeStep) -> None:
        return None

    def loss(
        self, policy: ActorPolicy, x: Array, opinion: Array | None, count: Array, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Metrics]:
        rows = jax.random.randint(key, (self.batch_size,), 0, len(self.outputs))
        own = _outputs(policy, jax.tree.map(lambda column: column[rows], self.obs))
        mean = policy.actor.divergence(self.outputs[rows], own).mean()
        return self.weight * mean, {"anchor": mean}


class Near(eqx.Module):
    """Near in its parameters."""

    weight: Float[Array, ""]
    centre: PyTree
    importance: PyTree

    def opinion(self, told: TimeStep) -> None:
        return None

    def loss(
        self, policy: ActorPolicy, x: Array, opinion: Array | None, count: Array, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Metrics]:
        far = jax.tree.map(
            lambda f, own, centre: 0.5 * (f * (own - centre) ** 2).sum(),
            self.importance, learned_parts(policy), self.centre,
        )  # fmt: skip
        total = jnp.stack(jax.tree.leaves(far)).sum()
        return self.weight * total, {"anchor": total}


def fisher(policy: ActorPolicy, obs: PyTree) -> PyTree:
    """The diagonal of Fisher's information, E[(∂ log π(a | s) / ∂θ)²] over actions of the policy in
    the given states, part by part: exact, as diag(Jᵀ M J) of its outputs' derivatives J, with M the
    second derivative of the divergence by the outputs."""

    def outputs(parts: PyTree, one: PyTree) -> Array:
        return _outputs(with_learned_parts(policy, parts), jax.tree.map(lambda x: x[None], one))[0]

    def add(total: PyTree, one: PyTree) -> tuple[PyTree, None]:
        own = outputs(learned_parts(policy), one)
        metric = jax.hessian(lambda o: policy.actor.divergence(own, o))(own)
        values, vectors = jnp.linalg.eigh(metric)
        root = jnp.sqrt(jnp.maximum(values, 0.0))[:, None] * vectors.T
        slopes = jax.jacrev(outputs)(learned_parts(policy), one)

        def diagonal(slope: Array) -> Array:
            return (jnp.tensordot(root, slope, axes=1) ** 2).sum(0)

        return jax.tree.map(lambda t, slope: t + diagonal(slope), total, slopes), None

    zeros = jax.tree.map(jnp.zeros_like, learned_parts(policy))
    total, _ = jax.lax.scan(add, zeros, obs)
    count = len(jax.tree.leaves(obs)[0])
    return jax.tree.map(lambda x: x / count, total)


def _outputs(policy: ActorPolicy, obs: PyTree) -> Float[Array, "n outputs"]:
    """Of the actor of a policy without memory, in these states."""
    return policy.actor.outputs(policy.encoders(obs))
