"""Layers: perceptrons and convolutions, with orthogonal weights."""

import copy
import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from headstart.pytree import PyTree

Activation = Callable[[Array], Array]


def along(x: Float[Array, "... n"], vector: Float[Array, " m"]) -> Float[Array, "... m"]:
    """`vector` with as many axes as `x`, to be added along the last."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def one_hot(x: Int[Array, "... n"], choices: Sequence[int]) -> Float[Array, "... width"]:
    """Indices, of which entry `i` is below `choices[i]`, as zeros and ones side by side."""
    columns = [jax.nn.one_hot(x[..., i], n) for i, n in enumerate(choices)]
    return columns[0] if len(columns) == 1 else jnp.concatenate(columns, axis=-1)


def orthogonal(shape: tuple[int, int], gain: float, key: PRNGKeyArray) -> Float[Array, "inp out"]:
    return jax.nn.initializers.orthogonal(gain)(key, shape)


def rows(columns: PyTree) -> PyTree:
    """A pytree of `[time, env, ...]` as `[time · env, ...]`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), columns)


def task_of(
    x: Float[Array, "... features"], heads: tuple[int, int] | None
) -> Float[Array, "... task"]:
    """Which task features are of, as one-hot; always the only one where there are no heads."""
    if heads is None:
        return jnp.ones((*x.shape[:-1], 1))
    first, tasks = heads
    return jax.nn.one_hot(x[..., first : first + tasks].argmax(-1), tasks)


class MLP(eqx.Module):
    """Layers with orthogonal weights and zero biases (Andrychowicz et al., 2021); the last may
    have a head for each task."""

    weights: list[Float[Array, "inp out"]]
    biases: list[Float[Array, " out"]]
    activation: Activation = eqx.field(static=True)
    heads: tuple[int, int] | None = eqx.field(static=True)
    """Where the input tells the task as one-hot, and of how many, if each has a head."""

    def __init__(
        self,
        sizes: Sequence[int],
        last_gain: float,
        key: PRNGKeyArray,
        activation: Activation = jnp.tanh,
    ):
        keys = jax.random.split(key, len(sizes) - 1)
        gains = [float(np.sqrt(2))] * (len(sizes) - 2) + [last_gain]
        shapes = list(itertools.pairwise(sizes))
        self.weights = [
            orthogonal(shape, gain, k) for gain, k, shape in zip(gains, keys, shapes, strict=True)
        ]
        self.biases = [jnp.zeros(out) for _, out in shapes]
        self.activation, self.heads = activation, None

    def with_heads(self, heads: tuple[int, int]) -> "MLP":
        """The same with a last layer for each task, all of which begin as the one that there is."""
        _, tasks = heads
        made = copy.copy(self)
        weight, bias = jnp.tile(self.weights[-1], tasks), jnp.tile(self.biases[-1], tasks)
        object.__setattr__(made, "heads", heads)
        object.__setattr__(made, "weights", [*self.weights[:-1], weight])
        object.__setattr__(made, "biases", [*self.biases[:-1], bias])
        return made

    def __call__(self, x: Float[Array, "... inp"]) -> Float[Array, "... out"]:
        told = x
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            x = self.activation(x @ weight + along(x, bias))
        x = x @ last[0] + along(x, last[1])
        if self.heads is None:
            return x
        chosen = task_of(told, self.heads)
        return (x.reshape(*x.shape[:-1], chosen.shape[-1], -1) * chosen[..., None]).sum(-2)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the output, of one head."""
        last = self.weights[-1].shape[1] // (1 if self.heads is None else self.heads[1])
        return (*(weight.shape[0] for weight in self.weights), last)


class Convolution(eqx.Module):
    """A convolution without padding whose kernel is a multiple of its stride.

    Cut into stride × stride blocks, of which those under the kernel are laid side by side, an image
    is convolved by one matrix product. XLA's own convolution is as fast on a CPU by itself, and
    thirty times slower inside a compiled loop, which is where learners call it.
    """

    weight: Float[Array, "kernel kernel inp out"]
    bias: Float[Array, " out"]
    stride: int = eqx.field(static=True)

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, key: PRNGKeyArray):
        if kernel % stride:
            raise ValueError(f"a kernel of {kernel} is not a multiple of the stride {stride}")
        inp, out = channels
        flat = orthogonal((kernel * kernel * inp, out), float(np.sqrt(2)), key)
        self.weight = flat.reshape(kernel, kernel, inp, out)
        self.bias = jnp.zeros(out)
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w inp"]) -> Float[Array, "n h2 w2 out"]:
        n, height, width, inp = x.shape
        s, m, out = self.stride, self.weight.shape[0] // self.stride, self.weight.shape[-1]
        h, w = height // s, width // s
        blocks = x[:, : h * s, : w * s].reshape(n, h, s, w, s, inp)
        blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, s * s * inp)
        kernel = self.weight.reshape(m, s, m, s, inp, out).transpose(0, 2, 1, 3, 4, 5)
        shifts = itertools.product(range(m), repeat=2)
        under = [blocks[:, i : i + h - m + 1, j : j + w - m + 1] for i, j in shifts]
        product = jnp.concatenate(under, axis=-1) @ kernel.reshape(-1, out)
        return product + along(product, self.bias)

    def size_of(self, size: int) -> int:
        """How many positions the kernel takes along an axis of `size`."""
        return size // self.stride - self.weight.shape[0] // self.stride + 1
