"""A critic of what was told so far, and a policy that carries its critic's memory along."""

import equinox as eqx
from jaxtyping import PRNGKeyArray

from headstart.envs.vector_env import TimeStep
from headstart.policies.encoders import Encoders
from headstart.policies.memory import AbstractMemory, Memory
from headstart.policies.networks import MLP
from headstart.policies.policy import AbstractPolicy, ActorPolicy, described
from headstart.pytree import PyTree


class Critic(eqx.Module):
    """V of what was told so far: it may read more than the policy, and has a memory of its own."""

    memory: AbstractMemory
    privileged: Encoders
    """Of what the critic reads and the policy does not."""
    value: MLP


class ActorCritic(AbstractPolicy):
    """Acts as its policy does, and carries what the critic remembers along."""

    policy: ActorPolicy
    critic: Critic

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.policy.reads, *self.critic.privileged.reads)

    def initial(self, num: int) -> Memory:
        return self.policy.initial(num), self.critic.memory.initial(num)

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[PyTree, Memory]:
        action, own = self.policy.step(told, memory[0], key)
        x = self.critic.privileged.beside(self.policy.encoders(told.obs), told.obs)
        last = described(told.last_action, self.policy.actions)
        _, critics = self.critic.memory(x, last, memory[1])
        return action, (own, critics)
