"""Multi-task learning: one policy for many tasks, learned as the single task of their joint MDP
(Caruana, 1997; Yu et al., CoRL 2019, 1910.10897).

    max_θ E_{task ~ p} E_{τ ~ π_θ(· | s, context)} [R_task(τ)]

Every episode draws its task: a domain of a mixture, or the values of parameters. What the domain
shows of them tells the policy what is to be done, and tasks that it never saw may be told too. On
the target it goes on from there, by the recipe of fine-tuning.
"""

from dataclasses import dataclass, replace

from headstart.envs.spec import EnvSpec
from headstart.experience.curriculum import Rule, check_curriculum
from headstart.methods.domain_randomization import DomainRandomization
from headstart.methods.method import Method, Requirements
from headstart.methods.recipe import FineTuning


@dataclass(frozen=True, kw_only=True)
class MultiTask(FineTuning):
    """Learn all tasks of the source together, told by their context; then go on on the target."""

    curriculum: Rule = "none"
    """Which tasks are drawn more often than the source says: those at the frontier (success near
    one half), those with more failures, those with more progress, or, to be even, those that have
    had fewer steps."""

    def requires(self) -> Requirements:
        return replace(super().requires(), varied=not self.pretrained)

    @property
    def training(self) -> Method:
        return DomainRandomization(
            steps=self.steps, curriculum=self.curriculum, learner=self.learner
        )

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_curriculum(self.curriculum, spec)
