"""As many steps on the target itself as other methods take in the source: what could be had."""

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements


@dataclass(frozen=True, kw_only=True)
class Oracle(Method):
    """Train on the target without a limit; its steps are counted all the same."""

    steps: int = 1_000_000
    """Steps of training on the target."""
    unlimited: ClassVar[bool] = True

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    def requires(self) -> Requirements:
        return Requirements(source_steps=self.steps)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.learner.knowledge(train(self.learner, target, self.steps, key))
