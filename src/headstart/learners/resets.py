"""Fresh last layers in the middle of a training (Nikishin et al., ICML 2022, 2205.07802).

A temperature that is learned goes with them: it answers to the policy that it was learned with, and
what is begun anew would be held to a value that may be millions of times too high.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from headstart.envs.spec import EnvSpec
from headstart.learners.learner import Learner, State
from headstart.policies.encoders import AbstractEncoder
from headstart.policies.networks import MLP
from headstart.pytree import PyTree

TEMPERATURE = jax.tree_util.GetAttrKey("log_temperature")


def with_fresh_layers(
    learner: Learner, state: State, spec: EnvSpec, layers: int, key: PRNGKeyArray
) -> State:
    """`state` with the last layers of every network and the temperature as they were before
    training, and so are their moments in the optimiser; what is remembered is kept.

    Args:
        learner: whose state it is.
        state: in which every network has at least so many layers, or is fresh as a whole.
        spec: of the domain.
        layers: from the output backwards.
        key: of the new weights.
    """

    @jax.jit
    def begun(key: PRNGKeyArray) -> list[Any]:
        """What of a fresh state is to be had; what else it has is never made."""
        return [x for path, x in _leaves(learner.init(spec, key)) if _restarts(path, x)]

    fresh = iter(begun(key))
    changed = [
        _joined(leaf, next(fresh), layers) if _restarts(path, leaf) else leaf
        for path, leaf in _leaves(state)
    ]
    return jax.tree.unflatten(jax.tree.structure(state, is_leaf=_is_whole), changed)


def _restarts(path: tuple[Any, ...], leaf: Any) -> bool:
    return _is_network(leaf) or path[-1] == TEMPERATURE


def _joined(old: Any, new: Any, layers: int) -> Any:
    if not _is_network(old):
        return new
    kept = max(len(old.weights) - layers, 0)
    parts = (
        [*getattr(old, name)[:kept], *getattr(new, name)[kept:]] for name in ("weights", "biases")
    )
    return eqx.tree_at(lambda network: (network.weights, network.biases), old, tuple(parts))


def _leaves(tree: PyTree) -> list[tuple[tuple[Any, ...], Any]]:
    return jax.tree.leaves_with_path(tree, is_leaf=_is_whole)


def _is_whole(x: Any) -> bool:
    """A network, or an encoder, which is kept with all that is in it."""
    return _is_network(x) or isinstance(x, AbstractEncoder)


def _is_network(x: Any) -> bool:
    return isinstance(x, MLP)
