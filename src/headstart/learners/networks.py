"""Networks, the distributions that they parametrise, and running statistics."""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

LOG_STD_RATE = 0.2
LOG_2PI = float(np.log(2 * np.pi))


def along(x: Float[Array, "... n"], vector: Float[Array, " m"]) -> Float[Array, "... m"]:
    """`vector` with as many axes as `x`, to be added along the last."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


class MLP(eqx.Module):
    """Tanh layers with orthogonal weights and zero biases (Andrychowicz et al., 2021)."""

    weights: list[Float[Array, "inp out"]]
    biases: list[Float[Array, " out"]]

    def __init__(self, sizes: Sequence[int], last_gain: float, key: PRNGKeyArray):
        keys = jax.random.split(key, len(sizes) - 1)
        gains = [float(np.sqrt(2))] * (len(sizes) - 2) + [last_gain]
        shapes = list(itertools.pairwise(sizes))
        self.weights = [
            jax.nn.initializers.orthogonal(gain)(k, shape)
            for gain, k, shape in zip(gains, keys, shapes, strict=True)
        ]
        self.biases = [jnp.zeros(out) for _, out in shapes]

    def __call__(self, x: Float[Array, "... inp"]) -> Float[Array, "... out"]:
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            x = jnp.tanh(x @ weight + along(x, bias))
        return x @ last[0] + along(x, last[1])


class GaussianActor(eqx.Module):
    """π(a | s) = N(μ(s), diag σ²), with σ a parameter that does not depend on the state.

    Adam moves every parameter at about the same speed, whatever its gradient, and then σ collapses
    long before μ is any good: a hopper learns to stand still. So log σ learns at a fraction of the
    rate.
    """

    mean: MLP
    slow_log_std: Float[Array, " act"]
    """log σ / LOG_STD_RATE."""

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.mean = MLP((obs, *hidden, act), 0.01, key)
        self.slow_log_std = jnp.full(act, -0.5 / LOG_STD_RATE, jnp.float32)

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

    def __init__(self, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray):
        self.logits = MLP((obs, *hidden, act), 0.01, key)

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


class Statistics(eqx.Module):
    """Running mean and variance (Chan et al., 1979), merged a weighted batch at a time."""

    mean: Float[Array, " size"]
    var: Float[Array, " size"]
    count: Float[Array, ""]

    def __init__(self, size: int):
        self.mean, self.var = jnp.zeros(size), jnp.ones(size)
        self.count = jnp.array(1e-4, jnp.float32)

    def merge(
        self,
        batch: Float[Array, "n size"],
        weight: Float[Array, " n"],
        limit: float = float("inf"),
    ) -> "Statistics":
        """Statistics with `batch` counted in; beyond `limit` old samples fade instead."""
        total = jnp.maximum(weight.sum(), 1e-8)
        mean = (weight[:, None] * batch).sum(0) / total
        var = (weight[:, None] * (batch - mean[None]) ** 2).sum(0) / total
        count = self.count + total
        delta = mean - self.mean
        spread = self.var * self.count + var * total + delta**2 * self.count * total / count
        merged = (
            self.mean + delta * total / count,
            spread / count,
            jnp.minimum(count, limit),
        )
        return eqx.tree_at(lambda s: (s.mean, s.var, s.count), self, merged)

    def normalise(self, x: Float[Array, "... size"]) -> Float[Array, "... size"]:
        scale = jnp.sqrt(self.var + 1e-8)
        return jnp.clip((x - along(x, self.mean)) / along(x, scale), -10.0, 10.0)
