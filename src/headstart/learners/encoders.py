"""What a policy sees observations through: running statistics, convolutions, or nothing.

An encoder maps observations `[..., *shape]` to features `[..., size]`. `part` is the name under
which it is carried over, if there is anything to carry.
"""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.errors import HeadstartError
from headstart.learners.networks import Convolution, along, orthogonal

SMALLEST = 20
"""Pixels a side of the smallest image, of which the convolutions leave one place."""


class Identity(eqx.Module):
    """The observation as it is."""

    size: int = eqx.field(static=True)
    part: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def __call__(self, x: Float[Array, "... size"]) -> Float[Array, "... size"]:
        return x


class Statistics(eqx.Module):
    """Running mean and variance (Chan et al., 1979), merged a weighted batch at a time."""

    mean: Float[Array, " size"]
    var: Float[Array, " size"]
    count: Float[Array, ""]
    part: ClassVar[str] = "statistics"

    def __init__(self, size: int):
        self.mean, self.var = jnp.zeros(size), jnp.ones(size)
        self.count = jnp.array(1e-4, jnp.float32)

    @property
    def size(self) -> int:
        return self.mean.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mean.shape

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

    def __call__(self, x: Float[Array, "... size"]) -> Float[Array, "... size"]:
        """`x` normalised, within ±10."""
        scale = jnp.sqrt(self.var + 1e-8)
        return jnp.clip((x - along(x, self.mean)) / along(x, scale), -10.0, 10.0)


class Convolutions(eqx.Module):
    """Two convolutions and a dense layer (Mnih et al., 2013), for images of bytes.

    Pixels are centred, and the dense layer is normalised before its rectifier (Ba et al., 2016):
    without, a step size of 10⁻³ leaves every unit dead, and a tenth of it learns slowly.

    Raises:
        HeadstartError: the images are smaller than 20 × 20.
    """

    convolutions: list[Convolution]
    dense: Float[Array, "flat size"]
    bias: Float[Array, " size"]
    shape: tuple[int, ...] = eqx.field(static=True)
    part: ClassVar[str] = "encoder"
    LAYERS: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "dense")

    def __init__(self, shape: Sequence[int], key: PRNGKeyArray, size: int = 128):
        height, width, channels = self.shape = tuple(shape)
        if min(height, width) < SMALLEST:
            raise HeadstartError(
                f"an image of {height} × {width} is too small for the convolutions: enlarge it to "
                f"{SMALLEST} × {SMALLEST} or more, or observe a vector"
            )
        first, second, last = jax.random.split(key, 3)
        self.convolutions = [
            Convolution((channels, 16), 8, 4, first),
            Convolution((16, 32), 4, 2, second),
        ]
        for convolution in self.convolutions:
            height, width = convolution.size_of(height), convolution.size_of(width)
        self.dense = orthogonal((height * width * 32, size), float(np.sqrt(2)), last)
        self.bias = jnp.zeros(size)

    @property
    def size(self) -> int:
        return self.bias.shape[0]

    def layers(self, image: Shaped[Array, "... h w c"]) -> dict[str, Float[Array, "..."]]:
        """The activations of every layer by its name: maps `[..., h, w, c]`, and `[..., size]`."""
        many = image.shape[:-3]
        x = image.reshape(-1, *image.shape[-3:]).astype(jnp.float32) / 255 - 0.5
        found = {}
        for name, convolution in zip(self.LAYERS, self.convolutions, strict=False):
            x = jax.nn.relu(convolution(x))
            found[name] = x.reshape(*many, *x.shape[1:])
        flat = x.reshape(*many, -1)
        found["dense"] = jax.nn.relu(_normalised(flat @ self.dense + along(flat, self.bias)))
        return found

    def __call__(self, image: Shaped[Array, "... h w c"]) -> Float[Array, "... size"]:
        return self.layers(image)["dense"]


def _normalised(x: Float[Array, "... size"]) -> Float[Array, "... size"]:
    """With mean 0 and variance 1 along the last axis."""
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)


Encoder = Identity | Statistics | Convolutions


def encoder_for(shape: Sequence[int], normalised: bool, key: PRNGKeyArray) -> Encoder:
    """A fresh encoder for observations of `shape`: images, or vectors to be normalised or not."""
    if len(shape) == 3:
        return Convolutions(shape, key)
    return Statistics(shape[0]) if normalised else Identity(shape[0])
