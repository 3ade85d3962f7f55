"""PCGrad: gradient surgery for tasks that conflict (Yu et al., NeurIPS 2020, 2001.06782).

    g_i ← g_i − (g_i · g_j / |g_j|²) g_j   wherever g_i · g_j < 0, for every other j in any order

and the sum of all g_i is what is learned from: no task's step undoes what another's would do.
"""

# JAX's trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from headstart.pytree import PyTree


def projected(gradients: PyTree, key: PRNGKeyArray) -> PyTree:
    """The sum of the gradients of tasks `[task, ...]`, none of which goes against another."""
    leaves = jax.tree.leaves(gradients)
    if not leaves:  # a part that has nothing to learn
        return gradients
    tasks = len(leaves[0])
    flat: Any = jax.vmap(lambda g: ravel_pytree(g)[0])(gradients)
    restored = ravel_pytree(jax.tree.map(lambda x: x[0], gradients))[1]
    squares = (flat**2).sum(-1)

    def kept(own: Int[Array, ""], key: PRNGKeyArray) -> Float[Array, " n"]:
        def meet(gradient: Array, other: Array) -> tuple[Array, None]:
            against = jnp.minimum(gradient @ flat[other], 0.0) / jnp.maximum(squares[other], 1e-30)
            against = jnp.where(other == own, 0.0, against)
            return gradient - against * flat[other], None

        return jax.lax.scan(meet, flat[own], jax.random.permutation(key, tasks))[0]

    return restored(jax.vmap(kept)(jnp.arange(tasks), jax.random.split(key, tasks)).sum(0))


def by_parts(gradients: Sequence[PyTree], key: PRNGKeyArray) -> list[PyTree]:
    """The same of each part of what is learned by itself."""
    keys = jax.random.split(key, len(gradients))
    return [projected(part, k) for part, k in zip(gradients, keys, strict=True)]


def by_task(
    loss: Callable[[PyTree, Array], tuple[Array, dict[str, Array]]],
    parts: PyTree,
    weight: Float[Array, "..."],
    task: Float[Array, "... task"],
) -> tuple[PyTree, dict[str, Array]]:
    """The gradients `[task, ...]` of a loss of parts and of weights of the rows, and its logs.

    Args:
        loss: with its log beside it.
        parts: that the gradient is of.
        weight: of each row.
        task: of each row, as one-hot.
    """
    each: Any = jax.vmap(lambda own: jax.grad(loss, has_aux=True)(parts, own))
    return each(weight[None] * jnp.moveaxis(task, -1, 0))


def joined(logs: dict[str, Array]) -> dict[str, Array]:
    """What was logged of every task `[task]`: losses are parts of the whole, the rest is alike."""
    return {k: x.sum(0) if k.endswith("_loss") else x.mean(0) for k, x in logs.items()}
