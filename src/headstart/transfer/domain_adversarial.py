"""Classifiers that tell the source from the target by an encoder's layers, and their defeat.

A classifier d learns to tell the features z of one domain from those of the other; the encoder
learns what d cannot tell apart, in one of three ways:

    reversal:  −BCE(d(z), domain)          gradient reversal (Ganin and Lempitsky, 2015, 1409.7495)
    inverted:   BCE(d(z), other domain)    inverted labels (ADDA, Tzeng et al., 2017, 1702.05464)
    uniform:    BCE(d(z), ½)               domain confusion (Tzeng et al., 2015, 1510.02192)

weighted by λ(p) = 2 / (1 + e^(−10 p)) − 1, which grows with the share p of the training. Several
layers have a classifier each, and their losses are added.

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


class DomainClassifiers(eqx.Module):
    """A classifier for each layer, and their optimiser's state."""

    parameters: dict[str, MLP]
    opt_state: optax.OptState


class DomainAdversarialLoss(eqx.Module):
    """The adversarial loss of an encoder; an `AuxiliaryLoss`."""

    frames: dict[str, Shaped[Array, "n ..."]]
    """Of the target, to learn from, by group."""
    held_out: dict[str, Shaped[Array, "m ..."]]
    """Of the target, to measure the classifiers on."""
    variant: Variant = eqx.field(static=True)
    layers: tuple[str, ...] = eqx.field(static=True)
    weight: float = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)
    samples: int = eqx.field(static=True)
    """Frames of each domain in a gradient step."""

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def init(self, encoders: Encoders, key: PRNGKeyArray) -> DomainClassifiers:
        """Fresh classifiers.

        Raises:
            HeadstartError: there is no encoder with such a layer to align.
        """
        found = jax.eval_shape(encoders.activations, self.frames)
        parameters: dict[str, MLP] = {}
        for layer, own in zip(self.layers, jax.random.split(key, len(self.layers)), strict=True):
            if layer not in found:
                raise HeadstartError(
                    f"there is no encoder to align for {', '.join(encoders.reads)}, with a layer "
                    f"{layer!r}: domain confusion is for images"
                )
            judged = jax.eval_shape(_judged, found[layer])
            parameters[layer] = MLP((judged.shape[-1], *self.hidden, 1), 0.1, own, jax.nn.relu)
        return DomainClassifiers(parameters, self._optimiser.init(parameters))  # pyright: ignore

    def loss(
        self,
        parameters: dict[str, MLP],
        encoders: Encoders,
        activations: dict[str, Array],
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The classifiers' loss with the encoder held fixed, and the encoder's with the classifiers
        held fixed."""
        rows = jax.random.randint(key, (self.samples,), 0, _count(self.frames))
        target = encoders.activations({name: frames[rows] for name, frames in self.frames.items()})
        owns, confusions = [], []
        for layer, classifier in parameters.items():
            source = activations[layer][: self.samples]
            features = _judged(jnp.concatenate([source, target[layer]]))
            is_target = (jnp.arange(len(features)) >= len(source)).astype(jnp.float32)
            owns.append(_cross_entropy(classifier(jax.lax.stop_gradient(features)), is_target))
            logits = jax.lax.stop_gradient(classifier)(features)
            confusions.append(_confusion(self.variant, logits, is_target))
        own = jnp.stack(owns).sum()
        strength = self.weight * (2 / (1 + jnp.exp(-10 * progress)) - 1)
        return own + strength * jnp.stack(confusions).sum(), {"domain_loss": own}

    def updated(self, state: DomainClassifiers, gradient: dict[str, MLP]) -> DomainClassifiers:
        step, opt_state = self._optimiser.update(gradient, state.opt_state)  # pyright: ignore
        return DomainClassifiers(optax.apply_updates(state.parameters, step), opt_state)  # pyright: ignore

    def measure(
        self, state: DomainClassifiers, encoders: Encoders, obs: dict[str, Shaped[Array, "n ..."]]
    ) -> dict[str, Array]:
        """The accuracy of the best classifier, each domain counting half, on frames that it has not
        learned from, averaged over places."""
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


def _confusion(
    variant: Variant, logits: Float[Array, "n ... 1"], is_target: Float[Array, " n"]
) -> Float[Array, ""]:
    """What the encoder is trained for."""
    if variant == "reversal":
        return -_cross_entropy(logits, is_target)
    if variant == "inverted":
        return _cross_entropy(logits, 1 - is_target)
    return _cross_entropy(logits, jnp.full_like(is_target, 0.5))


def _cross_entropy(logits: Float[Array, "n ... 1"], label: Float[Array, " n"]) -> Float[Array, ""]:
    label = jnp.broadcast_to(label.reshape(-1, *[1] * (logits.ndim - 1)), logits.shape)
    return optax.sigmoid_binary_cross_entropy(logits, label).mean()


@jax.jit
def _accuracy(
    adversary: DomainAdversarialLoss,
    state: DomainClassifiers,
    encoders: Encoders,
    obs: dict[str, Shaped[Array, "n ..."]],
) -> Float[Array, ""]:
    ours, theirs = encoders.activations(obs), encoders.activations(adversary.held_out)
    accuracies = [
        ((classifier(_judged(ours[layer])) <= 0).mean()
         + (classifier(_judged(theirs[layer])) > 0).mean()) / 2
        for layer, classifier in state.parameters.items()
    ]  # fmt: skip
    return jnp.stack(accuracies).max()


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
