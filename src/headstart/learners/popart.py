"""PopArt: values in units of their own spread, and outputs kept as the units change (van Hasselt et
al., 2016, 1602.07714), task by task (Hessel et al., AAAI 2019, 1809.04474).

    n = (y − μ) / σ,   w ← w σ / σ′,   b ← (σ b + μ − μ′) / σ′

μ and σ are those of the backups y of a task. Tasks whose rewards differ by orders of magnitude are
learned at the same pace, and no task's error drowns another's.
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from headstart.policies.networks import MLP

Agent = TypeVar("Agent", bound=Any)

PACE = 1e-3
"""How far statistics move with a batch, once they have seen enough."""
SMALLEST, LARGEST = 1e-4, 1e6
"""Of σ."""
ENOUGH = 32
"""Samples of a task from which on its σ is known."""


class PopArt(eqx.Module):
    """The statistics of every task."""

    mean: Float[Array, " task"]
    variance: Float[Array, " task"]
    count: Float[Array, " task"]
    """Of samples."""

    @staticmethod
    def fresh(tasks: int) -> "PopArt":
        return PopArt(jnp.zeros(tasks), jnp.zeros(tasks), jnp.zeros(tasks))

    @property
    def deviation(self) -> Float[Array, " task"]:
        """σ; 1 of a task that was hardly seen."""
        found = jnp.clip(jnp.sqrt(self.variance), SMALLEST, LARGEST)
        return jnp.where(self.count < ENOUGH, 1.0, found)

    def updated(self, backup: Float[Array, " batch"], task: Float[Array, "batch task"]) -> "PopArt":
        """After a batch of backups, each of a task given as one-hot: the statistics of all at
        first, and later those of the last ones."""
        number = task.sum(0)
        total = jnp.maximum(number, 1.0)
        mean = backup @ task / total
        spread = (backup - task @ mean) ** 2 @ task / total
        pace = jnp.maximum(number / jnp.maximum(self.count + number, 1.0), PACE) * (number > 0)
        apart = mean - self.mean
        variance = self.variance + pace * (spread - self.variance + (1 - pace) * apart**2)
        return PopArt(self.mean + pace * apart, variance, self.count + number)

    def normalised(
        self, value: Float[Array, " batch"], task: Float[Array, "batch task"]
    ) -> Float[Array, " batch"]:
        """Values in units of their task."""
        return (value - task @ self.mean) / (task @ self.deviation)

    def restored(
        self, value: Float[Array, "batch ..."], task: Float[Array, "batch task"]
    ) -> Float[Array, "batch ..."]:
        """The inverse, of one or more values in a row."""
        shape = (-1,) + (1,) * (value.ndim - 1)
        return value * (task @ self.deviation).reshape(shape) + (task @ self.mean).reshape(shape)

    def kept(self, network: MLP, after: "PopArt") -> MLP:
        """A network of normalised values whose values stay as they are in the units of `after`."""
        each = network.biases[-1].size // len(self.mean)
        scale = self.deviation / after.deviation
        shift = (self.mean - after.mean) / after.deviation
        return rescaled(network, jnp.repeat(scale, each), jnp.repeat(shift, each))


def rescaled(network: MLP, scale: Float[Array, "*out"], shift: Float[Array, "*out"]) -> MLP:
    """The network with its output mapped to `scale · output + shift`, entry by entry or as one."""
    last = network.weights[-1] * scale.reshape(1, -1), network.biases[-1] * scale + shift
    return eqx.tree_at(lambda n: (n.weights[-1], n.biases[-1]), network, last)


def in_new_units(
    agent: Agent,
    networks: Callable[[Agent], list[MLP]],
    backup: Float[Array, " batch"],
    task: Float[Array, "batch task"],
) -> tuple[Agent, Float[Array, " batch"]]:
    """An agent after the statistics have seen a batch of backups, and these in its units.

    Args:
        agent: with its statistics as `popart`.
        networks: of an agent, those whose values are normalised.
        backup: in the rewards' own units.
        task: of each, as one-hot.
    """
    before: PopArt = agent.popart
    after = before.updated(backup, task)
    changed = [before.kept(network, after) for network in networks(agent)]
    agent = eqx.tree_at(networks, agent, changed)
    return eqx.tree_at(lambda a: a.popart, agent, after), after.normalised(backup, task)
