"""Fresh last layers in the middle of a training (Nikishin et al., ICML 2022, 2205.07802)."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from headstart.envs.spec import EnvSpec
from headstart.learners.learner import Learner, State
from headstart.policies.networks import MLP
from headstart.pytree import PyTree


def with_fresh_layers(
    learner: Learner, state: State, spec: EnvSpec, layers: int, key: PRNGKeyArray
) -> State:
    """`state` with the last layers of every network as they were before training, and so are their
    moments in the optimiser; what is remembered is kept.

    Args:
        learner: whose state it is.
        state: in which every network has at least so many layers, or is fresh as a whole.
        spec: of the domain.
        layers: from the output backwards.
        key: of the new weights.
    """

    @jax.jit
    def networks(key: PRNGKeyArray) -> list[MLP]:
        """Of a fresh state; what else it has is never made."""
        return [x for x in _leaves(learner.init(spec, key)) if isinstance(x, MLP)]

    fresh = iter(networks(key))
    changed = [
        _joined(leaf, next(fresh), layers) if isinstance(leaf, MLP) else leaf
        for leaf in _leaves(state)
    ]
    structure = jax.tree.structure(state, is_leaf=_is_network)
    return jax.tree.unflatten(structure, changed)


def _joined(old: MLP, new: MLP, layers: int) -> MLP:
    kept = max(len(old.weights) - layers, 0)
    parts = (
        [*getattr(old, name)[:kept], *getattr(new, name)[kept:]] for name in ("weights", "biases")
    )
    return eqx.tree_at(lambda network: (network.weights, network.biases), old, tuple(parts))


def _leaves(tree: PyTree) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=_is_network)


def _is_network(x: Any) -> bool:
    return isinstance(x, MLP)
