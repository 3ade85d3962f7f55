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

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.policies.encoders import Encoders
from headstart.policies.networks import MLP

Variant = Literal["reversal", "inverted", "uniform"]


class DomainClassifier(eqx.Module):
    """The classifier, and its optimiser's state."""

    parameters: MLP
    opt_state: optax.OptState


class DomainAdversarialLoss(eqx.Module):
    """The adversarial loss of an encoder; an `AuxiliaryLoss`."""

    frames: dict[str, Shaped[Array, "n ..."]]
    """Of the target, to learn from, by group."""
    held_out: dict[str, Shaped[Array, "m ..."]]
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

    def init(self, encoders: Encoders, key: PRNGKeyArray) -> DomainClassifier:
        """A fresh classifier.

        Raises:
            HeadstartError: there is no encoder with such a layer to align.
        """
        found = jax.eval_shape(encoders.activations, self.frames)
        if self.layer not in found:
            raise HeadstartError(
                f"there is no encoder to align for {', '.join(encoders.reads)}, with a layer "
                f"{self.layer!r}: domain confusion is for images"
            )
        judged = jax.eval_shape(_judged, found[self.layer])
        parameters = MLP((judged.shape[-1], *self.hidden, 1), 0.1, key, jax.nn.relu)
        return DomainClassifier(parameters, self._optimiser.init(parameters))  # pyright: ignore

    def loss(
        self,
        parameters: MLP,
        encoders: Encoders,
        activations: dict[str, Array],
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The classifier's loss with the encoder held fixed, and the encoder's with the classifier
        held fixed."""
        source = activations[self.layer][: self.samples]
        rows = jax.random.randint(key, (self.samples,), 0, _count(self.frames))
        chosen = {name: frames[rows] for name, frames in self.frames.items()}
        target = encoders.activations(chosen)[self.layer]
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

    def updated(self, state: DomainClassifier, gradient: MLP) -> DomainClassifier:
        step, opt_state = self._optimiser.update(gradient, state.opt_state)  # pyright: ignore
        return DomainClassifier(optax.apply_updates(state.parameters, step), opt_state)  # pyright: ignore

    def measure(
        self, state: DomainClassifier, encoders: Encoders, obs: dict[str, Shaped[Array, "n ..."]]
    ) -> dict[str, Array]:
        """The classifier's accuracy, each domain counting half, on frames that it has not learned
        from, averaged over places."""
        few = {name: x[:: -(-len(x) // 256)] for name, x in obs.items()}
        return {"domain_accuracy": _accuracy(self, state, encoders, few)}


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
    adversary: DomainAdversarialLoss,
    state: DomainClassifier,
    encoders: Encoders,
    obs: dict[str, Shaped[Array, "n ..."]],
) -> Float[Array, ""]:
    def logits(frames: dict[str, Array]) -> Array:
        return state.parameters(_judged(encoders.activations(frames)[adversary.layer]))

    return ((logits(obs) <= 0).mean() + (logits(adversary.held_out) > 0).mean()) / 2


def _count(frames: dict[str, Array]) -> int:
    return len(next(iter(frames.values())))


def check_frames(frames: dict[str, np.ndarray], spec: EnvSpec) -> None:
    """Hold target frames `{group: [n, ...]}` against what the source's observations are.

    Raises:
        HeadstartError: there are none, or they have another shape, kind or range.
    """
    for name, group in spec.groups.items():
        found = frames.get(name, np.zeros(0))
        if not len(found):
            raise HeadstartError(
                f"domain-confusion needs observations of the target's {name}, and got none: raise "
                "access.observations (a few hundred serve)"
            )
        if found.shape[1:] != group.shape:
            raise HeadstartError(
                f"the target's observations have shape {list(found.shape[1:])} and the source's "
                f"{list(group.shape)}: resize them alike"
            )
        if group.kind == "image" and (found.dtype != np.uint8 or np.max(found) <= 1):
            raise HeadstartError(
                f"the target's observations are {found.dtype} in [{np.min(found):g}, "
                f"{np.max(found):g}], and the source's are bytes from 0 to 255: bring them to one "
                "range"
            )
