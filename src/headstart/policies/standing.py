"""Networks that stand on a frozen one, and begin by giving what it gives."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from headstart.policies.networks import MLP, Activation, along, orthogonal
from headstart.registry import Registry


class ResidualMLP(eqx.Module):
    """A frozen network's output and a new one's, added; the new one begins with 0."""

    base: MLP
    own: MLP

    def __init__(self, base: MLP, key: PRNGKeyArray):
        self.base, self.own = base, MLP(base.sizes, 0.0, key, base.activation)

    def __call__(self, x: Float[Array, "... inp"]) -> Float[Array, "... out"]:
        return jax.lax.stop_gradient(self.base)(x) + self.own(x)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the output."""
        return self.own.sizes


class ProgressiveMLP(eqx.Module):
    """A new column beside a frozen one, each of whose layers sees that of both before it.

    The last layer begins as the frozen column's own, and does not see the new column yet.
    """

    base: MLP
    weights: list[Float[Array, "inp out"]]
    """Of the new column."""
    laterals: list[Float[Array, "inp out"]]
    """From the frozen column, into every layer but the first."""
    biases: list[Float[Array, " out"]]
    activation: Activation = eqx.field(static=True)

    def __init__(self, base: MLP, key: PRNGKeyArray):
        own_key, *keys = jax.random.split(key, len(base.weights))
        own = MLP(base.sizes, 0.0, own_key, base.activation)
        self.base, self.activation, self.weights = base, base.activation, own.weights
        shapes = [weight.shape for weight in base.weights[1:-1]]
        laterals = [orthogonal((m, n), 1.0, k) for (m, n), k in zip(shapes, keys, strict=False)]
        self.laterals = [*laterals, *base.weights[1:][-1:]]
        self.biases = [*own.biases[:-1], base.biases[-1]]

    def __call__(self, x: Float[Array, "... inp"]) -> Float[Array, "... out"]:
        base = jax.lax.stop_gradient(self.base)
        own = beside = x
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            total = own @ weight + along(own, bias)
            if i:
                total = total + beside @ self.laterals[i - 1]
            if i == last:
                return total
            beside = self.activation(beside @ base.weights[i] + along(beside, base.biases[i]))
            own = self.activation(total)
        raise AssertionError("a network has layers")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the output, of either column."""
        return self.base.sizes


Network = MLP | ResidualMLP | ProgressiveMLP
STANDING = Registry(
    "network",
    {
        "residual": "headstart.policies.standing:ResidualMLP",
        "progressive": "headstart.policies.standing:ProgressiveMLP",
    },
)
