"""Train in the source, run in the target as it is: the baseline that every transfer must beat.

A source that is a distribution is trained in at its mean: one MDP.
"""

import math
from dataclasses import dataclass

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements


@dataclass(frozen=True, kw_only=True)
class SourceOnly(Method):
    """Train in the source's mean, and carry the policy over unchanged."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    def requires(self) -> Requirements:
        return Requirements(source_steps=self.steps)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.learner.knowledge(train(self.learner, source.at_mean(), self.steps, key))
