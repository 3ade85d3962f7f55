"""Domain randomisation: train on the whole distribution of sources (Sadeghi and Levine, 2017;
Peng et al., 2018; the ensemble, ε = 1, of EPOpt, arXiv 1610.01283).

    max_θ E_{p ~ P} E_{τ ~ π_θ, M(p)} [R(τ)]

A policy that is not shown p, and has no memory to infer it with, must do well on all of them with
one behaviour.
"""

import math
from dataclasses import dataclass

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import EnvSpec
from headstart.experience.curriculum import Rule, check_curriculum, curriculum
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements


@dataclass(frozen=True, kw_only=True)
class DomainRandomization(Method):
    """Train on a source that is drawn anew each episode."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    curriculum: Rule = "none"
    """Which tasks are drawn more often than the source says: those at the frontier (success near
    one half), those with more failures, those with more progress, or, to be even, those that have
    had fewer steps."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps")

    def requires(self) -> Requirements:
        return Requirements(source_steps=self.steps, varied=True)

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_curriculum(self.curriculum, spec)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        tasks = curriculum(self.curriculum, source, key)
        state = train(self.learner, source, self.steps, key, curriculum=tasks)
        return self.learner.knowledge(state)
