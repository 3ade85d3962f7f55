"""A method of one's own, in one file: carry the policy, but shrink it towards doing nothing.

headstart run hopper-mass own_method:Cautious --method.shrink 0.8    (in this folder)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import equinox as eqx
from jaxtyping import PRNGKeyArray

from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.ppo import PPO
from headstart.methods.method import Method
from headstart.methods.source_only import SourceOnly
from headstart.policies.networks import MLP
from headstart.policies.policy import ActorPolicy


@dataclass(frozen=True, kw_only=True)
class Cautious(Method):
    """Scale the last layer of a policy that was trained in the source."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    shrink: float = 0.9
    """Factor on the mean action."""

    @property
    def pretraining(self) -> SourceOnly:
        return SourceOnly(steps=self.steps, learner=self.learner)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        if not isinstance(self.learner, PPO) or target.spec.actions.discrete:
            raise HeadstartError("Cautious shrinks a mean: learn by PPO, with vectors as actions")
        return self.pretraining.pretrain(source, target, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        (policy,) = super().adapt(knowledge, source, target, key)
        last = cast(MLP, policy.actor.network).weights[-1] * self.shrink
        yield eqx.tree_at(lambda p: p.actor.network.weights[-1], policy, last)
