"""No source at all: learn on the target from nothing. What transfer saves is measured from here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy
from headstart.learners.ppo import PPO
from headstart.learners.train import Learner, improve
from headstart.target import Source, Target


@dataclass(frozen=True)
class Scratch:
    """Learn on the target alone, within its shots."""

    episodes_per_update: int = 5
    """Target episodes between two updates of the policy."""
    learner: Learner = field(default_factory=PPO)
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "episodes_per_update")

    @property
    def pretraining(self) -> "Scratch":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return Knowledge()

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        init_key, improve_key = jax.random.split(key)
        environment = target.environment
        fresh = self.learner.init(environment.observation_space, environment.action_space, init_key)
        return improve(self.learner, target, fresh, self.episodes_per_update, improve_key)
