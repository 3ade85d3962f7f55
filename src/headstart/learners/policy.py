"""A policy: an actor and the statistics that it sees observations through."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.learners.networks import CategoricalActor, GaussianActor, Statistics


class Policy(eqx.Module):
    """π(a | s). Actions are in [−1, 1] per dimension (or beyond, to be clipped), or integers."""

    actor: GaussianActor | CategoricalActor
    statistics: Statistics

    def mode(self, obs: Float[Array, "... obs"]) -> Shaped[Array, "..."]:
        """The most likely action."""
        return self.actor.mode(self.statistics.normalise(obs))

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Shaped[Array, "..."]:
        return self.actor.sample(self.statistics.normalise(obs), key)


@jax.jit
def sampled(
    policy: Policy, obs: Float[Array, "env obs"], key: PRNGKeyArray, t: int
) -> Shaped[Array, "env ..."]:
    """An action for each row; `t` makes one key serve a whole chunk."""
    return policy.sample(obs.astype(jnp.float32), jax.random.fold_in(key, t))


@jax.jit
def greedy(policy: Policy, obs: Float[Array, "env obs"]) -> Shaped[Array, "env ..."]:
    """The most likely action for each row."""
    return policy.mode(obs.astype(jnp.float32))
