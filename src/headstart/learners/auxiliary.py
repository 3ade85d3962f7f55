"""A further loss on a learner's encoder, with parameters of its own, trained along with it."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.learners.encoders import Convolutions, Encoder

Activations = dict[str, Float[Array, "..."]]
"""By the name of the layer; `features` are what the policy acts on, `image` what it sees."""


@runtime_checkable
class Auxiliary(Protocol):
    """What a learner calls in each of its gradient steps; a pytree."""

    def init(self, encoder: Encoder, key: PRNGKeyArray) -> Any:
        """Its state, of which `parameters` are trained along."""
        ...

    def loss(
        self,
        parameters: Any,
        encoder: Encoder,
        seen: Activations,
        progress: Float[Array, ""] | float,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """To be added to the learner's, given the activations of its minibatch; `progress` in
        [0, 1] is how far training has come."""
        ...

    def updated(self, state: Any, gradient: Any) -> Any:
        """The state after a gradient step on its own parameters."""
        ...

    def measure(
        self, state: Any, encoder: Encoder, obs: Shaped[Array, "n ..."]
    ) -> dict[str, Array]:
        """For the log, on observations that were not learned from yet."""
        ...


def activations(encoder: Encoder, obs: Shaped[Array, "n ..."]) -> Activations:
    """What an encoder computes, layer by layer, and the `features` that come out."""
    if isinstance(encoder, Convolutions):
        layers = encoder.layers(obs)
        return layers | {"features": layers["dense"], "image": obs}
    return {"features": encoder(obs)}
