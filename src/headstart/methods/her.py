"""HER: hindsight experience replay (Andrychowicz et al., NeurIPS 2017, 1707.01495).

    (s, a, r(s′, g), s′, g)  →  (s, a, r(s′, g′), s′, g′),   g′ achieved later in the same episode

A policy of goals is learned in the source from episodes that reach none of them: each is a success
for the goals that it did reach (`experience/hindsight.py`). On the target it goes on in the same
way, by the recipe of fine-tuning; on one that is no goal, without hindsight.
"""

from dataclasses import dataclass, replace

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.envs.goals import DESIRED
from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.curriculum import Rule, curriculum
from headstart.experience.hindsight import Hindsight, Strategy
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.methods.recipe import FineTuning, encoders_in


@dataclass(frozen=True, kw_only=True)
class Her(FineTuning):
    """Learn goals from what was reached instead, and go on learning on the target."""

    strategy: Strategy = "future"
    """Which goals a transition is told: one that was achieved later in its episode, at its end,
    anywhere in it, or in any episode."""
    share: float = 0.8
    """Of what is learned from, how much is told another goal."""
    clipped: bool = True
    """Whether Q is held within what returns can be."""
    latent: bool = False
    """Whether a step is worth how near it leads to the goal in codes of goals, those through which
    the policy reads them, and not what the environment pays."""
    curriculum: Rule = "none"
    """Which goals are drawn more often than the source says: those at the frontier (success near
    one half), those with more failures, those with more progress, or, to be even, those that have
    had fewer steps."""

    def __post_init__(self):
        super().__post_init__()
        require(self, 0, 1, "share")

    @property
    def training(self) -> Method:
        return Her(
            steps=self.steps, strategy=self.strategy, share=self.share, clipped=self.clipped,
            latent=self.latent, curriculum=self.curriculum, learner=self.learner,
        )  # fmt: skip

    def requires(self) -> Requirements:
        needs = super().requires()
        varied = self.curriculum != "none" and not self.pretrained
        return replace(needs, hooks=needs.hooks | {"hindsight"}, varied=varied)

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        if spec.goals is None:
            raise HeadstartError(
                f"hindsight tells other goals, and {spec.name} has none: use an environment that "
                "observes achieved_goal and desired_goal, such as bit-flip"
            )
        if not self.latent:
            return
        encoder = encoders_in(spec, self.learner)[DESIRED]
        if encoder.learned or not encoder.size:
            does = "trains that" if encoder.size else "reads nothing"
            raise HeadstartError(
                f"latent judges goals by what {DESIRED} is read through, and "
                f"{type(self.learner).__name__} {does}: "
                f'read it by codes, as learner.encoders = ["{DESIRED}=codes"]'
            )

    def hindsight(self, spec: EnvSpec) -> Hindsight | None:
        goals = spec.goals
        if goals is None:
            return None
        return Hindsight(goals, spec.horizon, self.strategy, self.share, self.clipped, self.latent)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        if self.pretrained:
            return super().pretrain(source, target, key)
        hindsight, goals = self.hindsight(source.spec), curriculum(self.curriculum, source, key)
        state = train(self.learner, source, self.steps, key, hindsight=hindsight, curriculum=goals)
        return self.learner.knowledge(state)
