"""As many steps on the target itself as other methods take in the source: what could be had."""

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
class Oracle:
    """Train on the target without a limit; its steps are counted all the same."""

    steps: int = 1_000_000
    """Steps of training on the target."""
    learner: Trainer = field(default_factory=PPO)
    """What is learned: RL, or imitation."""
    unlimited: ClassVar[bool] = True

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    @property
    def pretraining(self) -> "Oracle":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.learner.knowledge(train(self.learner, target, self.steps, key))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)
