"""PopArt: values in units of their own spread, and outputs kept as the units change (van Hasselt et
al., 2016, 1602.07714), task by task (Hessel et al., AAAI 2019, 1809.04474).

    n = (y − μ) / σ,   w ← w σ / σ′,   b ← (σ b + μ − μ′) / σ′

μ and σ are those of the backups y of a task. Tasks whose rewards differ by orders of magnitude are
learned at the same pace, and no task's error drowns another's.
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from headstart.policies.networks import MLP

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
        tasks = len(self.mean)
        scale = self.deviation / after.deviation
        shift = (self.mean - after.mean) / after.deviation
        weight, bias = network.weights[-1], network.biases[-1]
        each = bias.size // tasks
        scale, shift = jnp.repeat(scale, each), jnp.repeat(shift, each)
        last = weight * scale[None], bias * scale + shift
        return eqx.tree_at(lambda n: (n.weights[-1], n.biases[-1]), network, last)


def task_of(
    x: Float[Array, "... features"], heads: tuple[int, int] | None
) -> Float[Array, "... task"]:
    """Which task features are of, as one-hot; always the only one where there are no heads."""
    if heads is None:
        return jnp.ones((*x.shape[:-1], 1))
    first, tasks = heads
    return jax.nn.one_hot(x[..., first : first + tasks].argmax(-1), tasks)
