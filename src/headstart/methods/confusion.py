"""A classifier that tells the source from the target by an encoder's layer, and its defeat.

The classifier d learns to tell the features z of one domain from those of the other; the encoder
learns what d cannot tell apart, in one of three ways:

    reversal:  −BCE(d(z), domain)          gradient reversal (Ganin and Lempitsky, 2015, 1409.7495)
    inverted:   BCE(d(z), other domain)    inverted labels (ADDA, Tzeng et al., 2017, 1702.05464)
    uniform:    BCE(d(z), ½)               domain confusion (Tzeng et al., 2015, 1510.02192)

weighted by λ(p) = 2 / (1 + e^(−10 p)) − 1, which grows with the share p of the training.

A map of convolutions is judged place by place, from its channels there and the place (as by the
classifiers of Isola et al., 2017, 1611.07004): a car, small and rare, must then look alike as much
as the sky.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.errors import HeadstartError
from headstart.learners.auxiliary import Activations, activations
from headstart.learners.encoders import Convolutions, Encoder
from headstart.learners.networks import MLP

Variant = Literal["reversal", "inverted", "uniform"]


class Judge(eqx.Module):
    """The classifier, and its optimiser's state."""

    parameters: MLP
    opt_state: optax.OptState


class Confusion(eqx.Module):
    """The adversarial loss of an encoder; implements `Auxiliary`."""

    frames: Shaped[Array, "n ..."]
    """Of the target, to learn from."""
    held_out: Shaped[Array, "m ..."]
    """Of the target, to measure the classifier on."""
    variant: Variant = eqx.field(static=True)
    layer: str = eqx.field(static=True)
    weight: float = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)
    samples: int = eqx.field(static=True)
    """Frames of each domain in a gradient step."""

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def init(self, encoder: Encoder, key: PRNGKeyArray) -> Judge:
        """A fresh classifier.

        Raises:
            HeadstartError: there is no encoder to align.
        """
        if not isinstance(encoder, Convolutions):
            raise HeadstartError(
                f"there is no encoder to align for observations of shape {encoder.shape}: domain "
                "confusion is for images"
            )
        found = jax.eval_shape(encoder.layers, self.frames[:1])
        judged = jax.eval_shape(_judged, found[self.layer])
        parameters = MLP((judged.shape[-1], *self.hidden, 1), 0.1, key, jax.nn.relu)
        return Judge(parameters, self._optimiser.init(parameters))  # pyright: ignore

    def loss(
        self,
        parameters: MLP,
        encoder: Encoder,
        seen: Activations,
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The classifier's loss with the encoder held fixed, and the encoder's with the classifier
        held fixed."""
        source = seen[self.layer][: self.samples]
        rows = jax.random.randint(key, (self.samples,), 0, len(self.frames))
        target = activations(encoder, self.frames[rows])[self.layer]
        features = _judged(jnp.concatenate([source, target]))
        is_target = (jnp.arange(len(features)) >= len(source)).astype(jnp.float32)
        own = _cross_entropy(parameters(jax.lax.stop_gradient(features)), is_target)
        logits = jax.lax.stop_gradient(parameters)(features)
        if self.variant == "reversal":
            confused = -_cross_entropy(logits, is_target)
        elif self.variant == "inverted":
            confused = _cross_entropy(logits, 1 - is_target)
        else:
            confused = _cross_entropy(logits, jnp.full_like(is_target, 0.5))
        strength = self.weight * (2 / (1 + jnp.exp(-10 * progress)) - 1)
        return own + strength * confused, {"domain_loss": own}

    def updated(self, state: Judge, gradient: MLP) -> Judge:
        step, opt_state = self._optimiser.update(gradient, state.opt_state)  # pyright: ignore
        return Judge(optax.apply_updates(state.parameters, step), opt_state)  # pyright: ignore

    def measure(
        self, state: Judge, encoder: Encoder, obs: Shaped[Array, "n ..."]
    ) -> dict[str, Array]:
        """The classifier's accuracy, each domain counting half, on frames that it has not learned
        from, averaged over places."""
        return {"domain_accuracy": _accuracy(self, state, encoder, obs[:: -(-len(obs) // 256)])}


def _judged(layer: Float[Array, "n ..."]) -> Float[Array, "n ... inputs"]:
    """What the classifier sees of each example: a dense layer whole, a map place by place."""
    if layer.ndim == 2:
        return layer
    n, height, width, channels = layer.shape
    place = jnp.eye(height * width)
    at = jnp.broadcast_to(place[None], (n, *place.shape))
    return jnp.concatenate([layer.reshape(n, len(place), channels), at], axis=-1)


def _cross_entropy(logits: Float[Array, "n ... 1"], label: Float[Array, " n"]) -> Float[Array, ""]:
    label = jnp.broadcast_to(label.reshape(-1, *[1] * (logits.ndim - 1)), logits.shape)
    return optax.sigmoid_binary_cross_entropy(logits, label).mean()


@jax.jit
def _accuracy(
    confusion: Confusion, state: Judge, encoder: Encoder, obs: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    def logits(frames: Array) -> Array:
        return state.parameters(_judged(activations(encoder, frames)[confusion.layer]))

    return ((logits(obs) <= 0).mean() + (logits(confusion.held_out) > 0).mean()) / 2


def check_frames(frames: Any, space: Any) -> None:
    """Hold target frames against what the source's observations are.

    Raises:
        HeadstartError: there are none, or they have another shape or range.
    """
    if not len(frames):
        raise HeadstartError(
            "domain-confusion needs observations of the target, and got none: raise "
            "access.observations (a few hundred serve)"
        )
    if frames.shape[1:] != space.shape:
        raise HeadstartError(
            f"the target's observations have shape {list(frames.shape[1:])} and the source's "
            f"{list(space.shape)}: resize them alike"
        )
    least, most = np.min(space.low), np.max(space.high)
    inside = least <= np.min(frames) and np.max(frames) <= most
    if frames.dtype != space.dtype or not inside or np.max(frames) <= 1 < most:
        raise HeadstartError(
            f"the target's observations are {frames.dtype} in [{np.min(frames):g}, "
            f"{np.max(frames):g}], and the source's are {space.dtype} in [{least:g}, "
            f"{most:g}]: bring them to one range, such as bytes from 0 to 255"
        )
