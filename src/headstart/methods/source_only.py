"""Train in the source, run in the target as it is: the baseline that every transfer must beat.

A source that is a distribution is trained in at its mean: one MDP.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO
from headstart.learners.train import Trainer, train
from headstart.target import Source, Target


@dataclass(frozen=True)
class SourceOnly:
    """Train in the source's mean, and carry the policy over unchanged."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    learner: Trainer = field(default_factory=PPO)
    """What is learned: RL, or imitation."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    @property
    def pretraining(self) -> "SourceOnly":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.learner.knowledge(train(self.learner, source.at_mean(), self.steps, key))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)
