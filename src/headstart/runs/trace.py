"""What happens in a domain under random actions, so that one can be held against another."""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from collections.abc import Iterator
from itertools import islice

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

from headstart import envs
from headstart.envs.spec import Actions, Obs
from headstart.envs.vector_env import AbstractVectorEnv, TimeStep
from headstart.experience.unroll import begin, play
from headstart.policies.policy import AbstractPolicy, UniformPolicy
from headstart.problem import Domain

STEPS = 60
COPIES = 8
PUSH = 8
"""Steps that an action is kept."""


class Pushes(AbstractPolicy):
    """Actions uniformly at random, each kept for a while: jitter stays where it is."""

    actions: Actions = eqx.field(static=True)

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def initial(self, num: int) -> tuple[Array, Array]:
        kind = jnp.int32 if self.actions.discrete else jnp.float32
        return jnp.zeros(num, jnp.int32), jnp.zeros((num, *self.actions.shape), kind)

    def step(
        self, told: TimeStep, memory: tuple[Array, Array], key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], tuple[Array, Array]]:
        age, kept = memory
        fresh, _ = UniformPolicy(self.actions).step(told, (), key)
        renewed = (age % PUSH == 0).reshape(-1, *[1] * (kept.ndim - 1))
        action = jnp.where(renewed, fresh, kept)
        return action, (age + 1, action)


def bare(domain: Domain, **parameters: float) -> Domain:
    """The domain at its mean, with these parameters, showing none of them."""
    return domain.at_mean().with_parameters(**parameters).showing()


def trace(running: AbstractVectorEnv) -> Iterator[np.ndarray]:
    """The first observations, and after each of some steps observations and rewards, all
    `[copies, entries + 1]`; the actions are always equal."""
    policy = Pushes(running.spec.actions)
    carry = begin(policy, running)
    yield _row(carry.told.obs, np.zeros(running.num))
    for played in islice(play(policy, running, carry, jax.random.key(0)), STEPS):
        yield _row(played.step.next_obs, played.step.reward)


def _row(obs: Obs, reward: np.ndarray) -> np.ndarray:
    groups = [np.float64(group).reshape(len(reward), -1) for group in obs.values()]
    return np.concatenate([*groups, reward[:, None]], axis=1)


def differ(one: Domain, other: Domain, seed: int = 0) -> bool:
    """Whether anything is another in the one than in the other; they are stepped side by side, and
    no further than to the first difference."""
    here, there = (trace(envs.start(domain, COPIES, seed)) for domain in (one, other))
    return any((a != b).any() for a, b in zip(here, there, strict=True))
