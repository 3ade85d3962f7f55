"""Other looks: what a policy in training is shown in place of what is there."""

# JAX leaves types of its own unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, PRNGKeyArray, Shaped

from headstart.experience.transition import Memory, Rollout, TimeStep
from headstart.policies.policy import AbstractPolicy


@runtime_checkable
class Look(Protocol):
    """How running copies look, for as long as a rollout lasts; a pytree."""

    def __call__(
        self, obs: dict[str, Shaped[Array, "env ..."]]
    ) -> dict[str, Shaped[Array, "env ..."]]:
        """Observations as they are shown: of the same groups, shapes and types."""
        ...


@runtime_checkable
class Looks(Protocol):
    """A distribution over looks."""

    def __call__(self, num: int, key: PRNGKeyArray) -> Look:
        """How `num` copies look in the rollout to come."""
        ...


class Disguised(AbstractPolicy):
    """A policy that acts on what it is shown."""

    policy: AbstractPolicy
    look: Look

    @property
    def reads(self) -> tuple[str, ...]:
        return self.policy.reads

    def initial(self, num: int) -> Memory:
        return self.policy.initial(num)

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], Memory]:
        return self.policy.step(told._replace(obs=self.look(told.obs)), memory, key)


@jax.jit
def as_shown(rollout: Rollout, look: Look) -> Rollout:
    """The rollout of a policy that acted on what it was shown, to learn from what it saw."""
    steps = rollout.steps
    shown = steps._replace(
        obs=jax.lax.map(look, steps.obs), next_obs=jax.lax.map(look, steps.next_obs)
    )
    return rollout._replace(steps=shown)
