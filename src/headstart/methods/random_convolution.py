"""Random convolutions: features that do not change with colours and textures (Lee et al., ICLR
2020, 1910.05396).

    min_{f, π} L_RL(π ∘ f) + λ E_φ ‖f(φ * x) − sg f(x)‖²

with φ a random 3 × 3 convolution over the three colours, drawn anew for every gradient step. It
takes nothing of the target.

Differs from the paper in: the policy acts on clean frames only, and the features alone are matched.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.auxiliary import Activations, activations
from headstart.learners.dqn import DQN
from headstart.learners.encoders import Convolutions, Encoder
from headstart.learners.imitation import Imitation
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO
from headstart.learners.train import train
from headstart.target import Source, Target


class Nothing(eqx.Module):
    """An auxiliary's state where there is nothing to train along."""

    parameters: None = None


class FeatureMatching(eqx.Module):
    """Features of a randomly convolved image held to those of the image; an `Auxiliary`."""

    weight: float = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def init(self, encoder: Encoder, key: PRNGKeyArray) -> Nothing:
        if not isinstance(encoder, Convolutions):
            raise HeadstartError(
                f"random convolutions are for images, and observations have shape {encoder.shape}"
            )
        return Nothing()

    def loss(
        self,
        parameters: None,
        encoder: Encoder,
        seen: Activations,
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        clean = jax.lax.stop_gradient(seen["features"][: self.samples])
        blurred = convolved(seen["image"][: self.samples], key)
        gap = ((activations(encoder, blurred)["features"] - clean) ** 2).mean()
        return self.weight * gap, {"feature_gap": gap}

    def updated(self, state: Nothing, gradient: None) -> Nothing:
        return state

    def measure(
        self, state: Nothing, encoder: Encoder, obs: Shaped[Array, "n ..."]
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


@dataclass(frozen=True)
class RandomConvolution:
    """Train in the source's mean on features that random convolutions do not change."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    weight: float = 0.1
    """Of the distance between features."""
    samples: int = 64
    """Frames in a gradient step that are convolved."""
    learner: PPO | DQN | Imitation = field(default_factory=PPO)
    """What is learned in the source: RL, or imitation."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples")
        require(self, 0, math.inf, "weight")

    @property
    def pretraining(self) -> "RandomConvolution":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        mean = source.at_mean()
        matching = FeatureMatching(self.weight, self.samples)
        return self.learner.knowledge(train(self.learner, mean, self.steps, key, matching))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)
