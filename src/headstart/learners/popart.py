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


class PopArt(eqx.Module):
    """The statistics of every task."""

    mean: Float[Array, " task"]
    square: Float[Array, " task"]
    """The mean of squares."""
    count: Float[Array, " task"]
    """Batches that the task was in."""

    @staticmethod
    def fresh(tasks: int) -> "PopArt":
        return PopArt(jnp.zeros(tasks), jnp.ones(tasks), jnp.zeros(tasks))

    @property
    def deviation(self) -> Float[Array, " task"]:
        variance = jnp.maximum(self.square - self.mean**2, SMALLEST**2)
        return jnp.clip(jnp.sqrt(variance), SMALLEST, LARGEST)

    def updated(self, backup: Float[Array, " batch"], task: Float[Array, "batch task"]) -> "PopArt":
        """After a batch of backups, each of a task given as one-hot: a plain mean at first."""
        number = task.sum(0)
        seen = number > 0
        count = self.count + seen
        pace = jnp.where(seen, jnp.maximum(1 / jnp.maximum(count, 1), PACE), 0.0)
        number = jnp.maximum(number, 1.0)
        mean = self.mean + pace * (backup @ task / number - self.mean)
        square = self.square + pace * (backup**2 @ task / number - self.square)
        return PopArt(mean, square, count)

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
