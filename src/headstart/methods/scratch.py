"""No source at all: learn on the target from nothing. What transfer saves is measured from here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.improve import improve
from headstart.methods.method import Method, Requirements
from headstart.policies.policy import ActorPolicy


@dataclass(frozen=True, kw_only=True)
class Scratch(Method):
    """Learn on the target alone, within its shots."""

    episodes_per_update: int = 5
    """Target episodes between two updates of the policy."""

    def __post_init__(self):
        require(self, 1, math.inf, "episodes_per_update")

    def requires(self) -> Requirements:
        return Requirements(learns_on_target=True)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return Knowledge()

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        init_key, improve_key = jax.random.split(key)
        fresh = self.learner.init(target.spec, init_key)
        return improve(
            self.learner, target, fresh, self.episodes_per_update, improve_key, explores=True
        )
