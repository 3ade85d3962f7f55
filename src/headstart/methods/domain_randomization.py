"""Domain randomisation: train on the whole distribution of sources (Sadeghi and Levine, 2017;
Peng et al., 2018; the ensemble, ε = 1, of EPOpt, arXiv 1610.01283).

    max_θ E_{p ~ P} E_{τ ~ π_θ, M(p)} [R(τ)]

The policy does not see p, so it must do well on all of them with one behaviour.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO
from headstart.learners.train import Trainer, train
from headstart.problem import Domain
from headstart.target import Source, Target


@dataclass(frozen=True)
class DomainRandomization:
    """Train on a source that is drawn anew each episode."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    learner: Trainer = field(default_factory=PPO)
    """What is learned: RL, or imitation."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    @property
    def pretraining(self) -> "DomainRandomization":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        require_varied(source.domain, "domain-randomization")
        return self.learner.knowledge(train(self.learner, source, self.steps, key))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)


def require_varied(domain: Domain, method: str) -> None:
    """Raises:
    HeadstartError: every parameter of the domain is fixed.
    """
    if not domain.varied:
        raise HeadstartError(
            f"{method} needs a source that varies, and {domain} does not: give a parameter a "
            "distribution, as in torso_mass = {uniform = [3, 9]}"
        )
