"""Random convolutions: a policy that sees through other colours and textures (Lee et al., ICLR
2020, 1910.05396).

    min_{f, π} L_RL(π ∘ f; φ * x) + λ E_φ′ ‖f(φ′ * φ * x) − sg f(φ * x)‖²

with φ a random 3 × 3 convolution over the three colours, another for each copy of the environment
and each rollout, and φ′ one that is drawn anew for every image of a gradient step. With a chance of
0.1 a convolution leaves its image as it is. It takes nothing of the target.

Differs from the paper in: features are matched to those of the image that was acted on, and not of
a clean one; the policy that is evaluated sees clean images once, and not through ten convolutions;
images remain bytes, so that what falls outside them (a tenth of the values or less) is cut off.
"""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped, UInt8

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.policies.encoders import Encoders

UNCHANGED = 0.1
"""Chance that an image is left as it is."""


def kernels(num: int, channels: int, key: PRNGKeyArray) -> Float[Array, "num 3 3 in out"]:
    """Random convolutions over all channels, some of which change nothing."""
    draw_key, keep_key = jax.random.split(key)
    shape = (3, 3, channels, channels)
    glorot = jax.nn.initializers.glorot_normal()
    drawn = jax.vmap(lambda k: glorot(k, shape, jnp.float32))(jax.random.split(draw_key, num))
    same = jnp.zeros(shape).at[1, 1].set(jnp.eye(channels))
    kept = jax.random.uniform(keep_key, (num, 1, 1, 1, 1)) < UNCHANGED
    return jnp.where(kept, same, drawn)


def convolved(
    image: UInt8[Array, "n h w c"], kernel: Float[Array, "n 3 3 c c"]
) -> UInt8[Array, "n h w c"]:
    """Each image through its own convolution, around grey; what lies beyond is grey too."""
    n, height, width, channels = image.shape
    around = jnp.pad(image.astype(jnp.float32) - 127.5, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [around[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    # As products of matrices: XLA's own convolutions are slow on a CPU where kernels differ.
    patches = jnp.concatenate(shifted, axis=-1).reshape(n, -1, 9 * channels)
    out = (patches @ kernel.reshape(n, 9 * channels, channels)).reshape(image.shape)
    return jnp.clip(jnp.round(out + 127.5), 0, 255).astype(jnp.uint8)


class ConvolvedLook(eqx.Module):
    """Every copy's images through a convolution of its own; a `Look`."""

    kernels: dict[str, Float[Array, "env 3 3 c c"]]

    def __call__(
        self, obs: dict[str, Shaped[Array, "env ..."]]
    ) -> dict[str, Shaped[Array, "env ..."]]:
        return {
            name: convolved(x, self.kernels[name]) if name in self.kernels else x
            for name, x in obs.items()
        }


class Nothing(eqx.Module):
    """An auxiliary loss's state where there is nothing to train along."""

    parameters: None = None


class FeatureMatching(eqx.Module):
    """Features of a randomly convolved image held to those of the image; an `AuxiliaryLoss`."""

    weight: float = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def init(self, encoders: Encoders, key: PRNGKeyArray) -> Nothing:
        if not encoders.learned:
            raise HeadstartError(
                f"random convolutions are for images, and there are none: the policy reads "
                f"{', '.join(encoders.reads)}"
            )
        return Nothing()

    def loss(
        self,
        parameters: None,
        encoders: Encoders,
        activations: dict[str, Array],
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        image = activations["image"][: self.samples]
        seen = jax.lax.stop_gradient(activations["features"][: self.samples])
        blurred = convolved(image, kernels(len(image), image.shape[-1], key))
        gap = ((encoders({"pixels": blurred}) - seen) ** 2).mean()
        return self.weight * gap, {"feature_gap": gap}

    def updated(self, state: Nothing, gradient: None) -> Nothing:
        return state

    def measure(
        self, state: Nothing, encoders: Encoders, obs: dict[str, Shaped[Array, "n ..."]]
    ) -> dict[str, Array]:
        return {}


@dataclass(frozen=True, kw_only=True)
class RandomConvolution(Method):
    """Train in the source's mean, seen through random convolutions."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    weight: float = 0.1
    """Of the distance between features."""
    samples: int = 64
    """Frames in a gradient step whose features are matched."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples")
        require(self, 0, math.inf, "weight")

    def requires(self) -> Requirements:
        return Requirements(source_steps=self.steps, hooks=frozenset({"auxiliary"}))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        groups = source.spec.groups.items()
        channels = {name: group.shape[-1] for name, group in groups if group.kind == "image"}

        def looks(num: int, key: PRNGKeyArray) -> ConvolvedLook:
            keys = jax.random.split(key, len(channels))
            drawn = zip(channels.items(), keys, strict=True)
            return ConvolvedLook({name: kernels(num, c, own) for (name, c), own in drawn})

        matching = FeatureMatching(self.weight, self.samples)
        return self.learner.knowledge(
            train(self.learner, source.at_mean(), self.steps, key, auxiliary=matching, looks=looks)
        )
