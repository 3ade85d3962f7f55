"""Random convolutions: features that do not change with colours and textures (Lee et al., ICLR
2020, 1910.05396).

    min_{f, π} L_RL(π ∘ f) + λ E_φ ‖f(φ * x) − sg f(x)‖²

with φ a random 3 × 3 convolution over the three colours, drawn anew for every gradient step. It
takes nothing of the target.

Differs from the paper in: the policy acts on clean frames only, and the features alone are matched.
"""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.policies.encoders import Encoders


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
        clean = jax.lax.stop_gradient(activations["features"][: self.samples])
        blurred = convolved(activations["image"][: self.samples], key)
        gap = ((encoders({"pixels": blurred}) - clean) ** 2).mean()
        return self.weight * gap, {"feature_gap": gap}

    def updated(self, state: Nothing, gradient: None) -> Nothing:
        return state

    def measure(
        self, state: Nothing, encoders: Encoders, obs: dict[str, Shaped[Array, "n ..."]]
    ) -> dict[str, Array]:
        return {}


def convolved(image: Shaped[Array, "n h w c"], key: PRNGKeyArray) -> Float[Array, "n h w c"]:
    """Bytes or floats in [0, 255], through one random 3 × 3 convolution of all channels."""
    channels = image.shape[-1]
    shape = (3, 3, channels, channels)
    kernel = jax.nn.initializers.glorot_normal()(key, shape, jnp.float32)
    out = jax.lax.conv_general_dilated(
        image.astype(jnp.float32),
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jnp.clip(out, 0.0, 255.0)


@dataclass(frozen=True, kw_only=True)
class RandomConvolution(Method):
    """Train in the source's mean on features that random convolutions do not change."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    weight: float = 0.1
    """Of the distance between features."""
    samples: int = 64
    """Frames in a gradient step that are convolved."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples")
        require(self, 0, math.inf, "weight")

    def requires(self) -> Requirements:
        return Requirements(hooks=frozenset({"auxiliary"}))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        matching, mean = FeatureMatching(self.weight, self.samples), source.at_mean()
        return self.learner.knowledge(
            train(self.learner, mean, self.steps, key, auxiliary=matching)
        )
