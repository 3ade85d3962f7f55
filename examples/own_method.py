"""A method of one's own, in one file: carry the policy, but shrink it towards doing nothing.

headstart run hopper-mass own_method:Cautious --method.shrink 0.8    (in this folder)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import equinox as eqx
from jaxtyping import PRNGKeyArray

from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy, policy_from
from headstart.methods.source_only import SourceOnly
from headstart.target import Source, Target


@dataclass(frozen=True)
class Cautious:
    """Scale the last layer of a policy that was trained in the source."""

    shrink: float = 0.9
    """Factor on the mean action."""
    source_only: SourceOnly = field(default_factory=SourceOnly)
    """How the policy is trained."""
    unlimited: ClassVar[bool] = False

    @property
    def pretraining(self) -> SourceOnly:
        return self.source_only

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.source_only.pretrain(source, target, key)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        policy = policy_from(knowledge)
        last = policy.actor.mean.weights[-1] * self.shrink
        yield eqx.tree_at(lambda p: p.actor.mean.weights[-1], policy, last)
