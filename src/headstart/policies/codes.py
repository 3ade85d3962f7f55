"""Codes of images that are learned from what is seen, and from nothing else.

A variational autoencoder (Kingma and Welling, ICLR 2014, 1312.6114) with N(x̂, σ²) for pixels:

    |x − x̂(z)|² / 2σ²  +  KL(N(μ(x), s²(x)) ‖ N(0, 1)),   z ~ N(μ(x), s²(x))

A policy reads μ. Goals that are images are near each other where their codes are (RIG: Nair et al.,
NeurIPS 2018, 1807.04742). Differs from the paper in: there it is trained before the policy, and
again from time to time; here by a gradient step for every 32 images of a rollout.
"""

# JAX's trees and Optax leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.spec import Group
from headstart.errors import HeadstartError
from headstart.policies.encoders import AbstractEncoder, built, convolutions_of
from headstart.policies.networks import MLP

SIZE, HIDDEN, DEVIATION = 8, 128, 0.1
"""Numbers in a code; units of the decoder; σ, in units of a pixel's range."""
BATCH, EVERY = 128, 32
"""Images in a gradient step, and how many are seen for each."""
OPTIMISER = optax.adam(1e-3)


class Parts(eqx.Module):
    """What the gradient changes."""

    trunk: AbstractEncoder
    head: MLP
    """To mean and log-variance of the code."""
    decoder: MLP

    def code(self, images: Shaped[Array, "... h w c"]) -> tuple[Array, Array]:
        """Mean and log-variance `[..., SIZE]`."""
        mean, log_var = jnp.split(self.head(self.trunk(images)), 2, axis=-1)
        return mean, log_var

    def pixels(self, code: Float[Array, "... size"]) -> Float[Array, "... n"]:
        """Every pixel's mean, from 0 to 1, of images in one row."""
        return jax.nn.sigmoid(self.decoder(code))


class Codes(AbstractEncoder):
    """The mean code of an image of bytes; fresh ones mean nothing before `merge` has seen some.

    Raises:
        HeadstartError: what is read is no image.
    """

    parts: Parts
    opt_state: optax.OptState
    count: Int[Array, ""]
    """Of gradient steps."""
    part: ClassVar[str] = "statistics"
    common: ClassVar[bool] = True

    def __init__(self, group: Group, key: PRNGKeyArray):
        if group.kind != "image":
            raise HeadstartError(f"codes are of images, and this group is {group}: leave it out")
        trunk_key, head_key, decoder_key = jax.random.split(key, 3)
        trunk = built(convolutions_of(group), group, trunk_key)
        sizes = (SIZE, HIDDEN, math.prod(group.shape))
        self.parts = Parts(
            trunk,
            MLP((trunk.size, 2 * SIZE), 0.1, head_key),
            MLP(sizes, 1.0, decoder_key, jax.nn.relu),
        )
        self.opt_state = OPTIMISER.init(self.parts)  # pyright: ignore[reportArgumentType]
        self.count = jnp.zeros((), jnp.int32)

    @property
    def size(self) -> int:
        return SIZE

    def __call__(self, x: Shaped[Array, "... h w c"]) -> Float[Array, "... size"]:
        return self.parts.code(x)[0]

    def merge(self, batch: Shaped[Array, "n h w c"], weight: Float[Array, " n"]) -> "Codes":
        """After a gradient step for every 32 images of `batch` that have a weight, drawn by it."""
        most = -(-len(batch) // EVERY)
        due = jnp.ceil((weight > 0).sum() / EVERY).astype(jnp.int32)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), self.count), most)

        def learned(carry: tuple[Parts, Any], key: PRNGKeyArray) -> tuple[Parts, Any]:
            parts, opt_state = carry
            draw_key, noise_key = jax.random.split(key)
            chosen = jax.random.categorical(draw_key, jnp.log(weight), shape=(BATCH,))
            gradient = jax.grad(loss)(parts, batch[chosen], noise_key)
            step, opt_state = OPTIMISER.update(gradient, opt_state)
            return eqx.apply_updates(parts, step), opt_state

        def visit(carry: tuple[Parts, Any], turn: tuple[Array, PRNGKeyArray]):
            i, key = turn
            return jax.lax.cond(i < due, learned, lambda carry, _: carry, carry, key), None

        turns = jnp.arange(most), keys
        (parts, opt_state), _ = jax.lax.scan(visit, (self.parts, self.opt_state), turns)
        new = parts, opt_state, self.count + due
        return eqx.tree_at(lambda s: (s.parts, s.opt_state, s.count), self, new)


def loss(parts: Parts, images: Shaped[Array, "n h w c"], key: PRNGKeyArray) -> Float[Array, ""]:
    """What an image costs by its code, in nats, but for a constant."""
    mean, log_var = parts.code(images)
    code = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
    wanted = images.reshape(len(images), -1).astype(jnp.float32) / 255
    missed = ((wanted - parts.pixels(code)) ** 2).sum(-1) / (2 * DEVIATION**2)
    apart = 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(-1)
    return (missed + apart).mean()
