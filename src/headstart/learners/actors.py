"""The distributions over actions that a policy may choose from, given features."""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from headstart.learners.networks import MLP, along

LOG_STD_RATE = 0.2
LOG_2PI = float(np.log(2 * np.pi))


class GaussianActor(eqx.Module):
    """π(a | s) = N(μ(s), diag σ²), with σ a parameter that does not depend on the state.

    Adam moves every parameter at about the same speed, whatever its gradient, and then σ collapses
    long before μ is any good: a hopper learns to stand still. So log σ learns at a fraction of the
    rate.
    """

    mean: MLP
    slow_log_std: Float[Array, " act"]
    """log σ / LOG_STD_RATE."""
    discrete: ClassVar[bool] = False

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.mean = MLP((obs, *hidden, act), 0.01, key)
        self.slow_log_std = jnp.full(act, -0.5 / LOG_STD_RATE, jnp.float32)

    @property
    def network(self) -> MLP:
        return self.mean

    @property
    def log_std(self) -> Float[Array, " act"]:
        return LOG_STD_RATE * self.slow_log_std

    def mode(self, obs: Float[Array, "... obs"]) -> Float[Array, "... act"]:
        return self.mean(obs)

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Float[Array, "... act"]:
        mean = self.mean(obs)
        return mean + along(mean, jnp.exp(self.log_std)) * jax.random.normal(key, mean.shape)

    def log_prob_and_entropy(
        self, obs: Float[Array, "... obs"], action: Float[Array, "... act"]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        z = (action - self.mean(obs)) * along(action, jnp.exp(-self.log_std))
        log_prob = -0.5 * (z**2 + LOG_2PI).sum(-1) - self.log_std.sum()
        return log_prob, (self.log_std + 0.5 * (LOG_2PI + 1)).sum()


class CategoricalActor(eqx.Module):
    """π(a | s) = softmax(logits(s))."""

    logits: MLP
    discrete: ClassVar[bool] = True

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.logits = MLP((obs, *hidden, act), 0.01, key)

    @property
    def network(self) -> MLP:
        return self.logits

    def mode(self, obs: Float[Array, "... obs"]) -> Int[Array, "..."]:
        return jnp.argmax(self.logits(obs), axis=-1)

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Int[Array, "..."]:
        return jax.random.categorical(key, self.logits(obs))

    def log_prob_and_entropy(
        self, obs: Float[Array, "... obs"], action: Int[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        log_probs = jax.nn.log_softmax(self.logits(obs))
        chosen = jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]
        return chosen, -(jnp.exp(log_probs) * log_probs).sum(-1).mean()


class SquashedGaussianActor(eqx.Module):
    """a = tanh(u), u ~ N(μ(s), diag σ(s)²) (Haarnoja et al., 2018)."""

    mean_and_log_std: MLP
    discrete: ClassVar[bool] = False

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.mean_and_log_std = MLP((obs, *hidden, 2 * act), 0.01, key, jax.nn.relu)

    @property
    def network(self) -> MLP:
        return self.mean_and_log_std

    def mode(self, obs: Float[Array, "... obs"]) -> Float[Array, "... act"]:
        return jnp.tanh(jnp.split(self.mean_and_log_std(obs), 2, axis=-1)[0])

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Float[Array, "... act"]:
        return self.sample_and_log_prob(obs, key)[0]

    def sample_and_log_prob(
        self, obs: Float[Array, "... obs"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "... act"], Float[Array, "..."]]:
        """A sample and log π(a | s), with log(1 − tanh² u) = 2 (log 2 − u − softplus(−2u))."""
        mean, log_std = jnp.split(self.mean_and_log_std(obs), 2, axis=-1)
        log_std = jnp.clip(log_std, -10.0, 2.0)
        z = jax.random.normal(key, mean.shape)
        u = mean + jnp.exp(log_std) * z
        normal = -0.5 * (z**2 + LOG_2PI) - log_std
        squash = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
        return jnp.tanh(u), (normal - squash).sum(-1)


class GreedyActor(eqx.Module):
    """argmax Q(s, a), and with probability ε any action instead."""

    values: MLP
    epsilon: Float[Array, ""]
    discrete: ClassVar[bool] = True

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.values = MLP((obs, *hidden, act), 1.0, key, jax.nn.relu)
        self.epsilon = jnp.array(0.0, jnp.float32)

    @property
    def network(self) -> MLP:
        return self.values

    def mode(self, obs: Float[Array, "... obs"]) -> Int[Array, "..."]:
        return jnp.argmax(self.values(obs), axis=-1)

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Int[Array, "..."]:
        best = self.mode(obs)
        any_key, which_key = jax.random.split(key)
        anything = jax.random.randint(any_key, best.shape, 0, self.values.sizes[-1], best.dtype)
        return jnp.where(jax.random.uniform(which_key, best.shape) < self.epsilon, anything, best)


Actor = GaussianActor | CategoricalActor | SquashedGaussianActor | GreedyActor
ACTORS = {
    "gaussian": GaussianActor,
    "categorical": CategoricalActor,
    "squashed-gaussian": SquashedGaussianActor,
    "greedy": GreedyActor,
}
