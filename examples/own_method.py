"""A method of one's own, in one file: carry the policy, but shrink it towards doing nothing.

headstart run hopper-mass own_method:Cautious --method.shrink 0.8    (in this folder)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import equinox as eqx
from jaxtyping import PRNGKeyArray

from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.methods.method import Method
from headstart.methods.source_only import SourceOnly
from headstart.policies.actors import GaussianActor
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
        return self.pretraining.pretrain(source, target, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        (policy,) = super().adapt(knowledge, source, target, key)
        if not isinstance(policy.actor, GaussianActor):
            raise HeadstartError("Cautious shrinks a Gaussian's mean: learn with PPO")
        last = policy.actor.mean.weights[-1] * self.shrink
        yield eqx.tree_at(lambda p: p.actor.mean.weights[-1], policy, last)
