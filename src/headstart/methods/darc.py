"""DARC: domain adaptation with rewards from classifiers (Eysenbach et al., ICLR 2021, 2006.13916).

    max_π E_source[Σ r + Δr + H],   Δr(s, a, s′) = log p_target(s′ | s, a) − log p_source(s′ | s, a)

    Δr = [log q(target | s, a, s′) − log q(source | s, a, s′)]
       − [log q(target | s, a) − log q(source | s, a)]

so that no model of the dynamics is learned: two classifiers, whose logits are subtracted, say how
much likelier a transition is in the target. What the target would not allow is shunned in the
source; what the source does not allow is never learned.

Differs from the paper in: rewards are scaled after the correction, as in the published code;
discrete actions, with DQN; the classifiers are measured on every new chunk of experience before
they learn from it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners import off_policy
from headstart.learners.dqn import DQN
from headstart.learners.policy import Policy, policy_from
from headstart.learners.sac import SAC
from headstart.methods.ratio import Ratio
from headstart.target import Source, Target


@dataclass(frozen=True)
class Darc:
    """Train in the source with rewards corrected for what the target would not allow."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    ratio: Ratio = field(default_factory=Ratio)
    """The classifiers, and how often the target is stepped for them."""
    finetune: bool = False
    """Whether to go on learning on the target, with its own rewards, as long as the shots last."""
    episodes_per_update: int = 1
    """Target episodes between two rounds of updates then."""
    learner: SAC | DQN = field(default_factory=lambda: SAC(reward_scale=0.1))
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "episodes_per_update")

    @property
    def pretraining(self) -> "Darc":
        return Darc(self.steps, self.ratio, learner=self.learner)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        self._check_episodes(target.episodes_later)
        if self.steps <= self.ratio.warmup:
            raise HeadstartError(
                f"rewards are corrected after {self.ratio.warmup} source steps, and there are "
                f"{self.steps}: take more, or lower ratio.warmup"
            )
        if self.learner.n_step != 1:
            raise HeadstartError(
                f"rewards are corrected one step at a time: set learner.n_step to 1, not "
                f"{self.learner.n_step}"
            )
        wanted, left = self.ratio.target_steps(self.steps), target.meter.steps_left
        if left is not None and wanted > left:
            raise HeadstartError(
                f"{self.steps} source steps need {wanted} target steps, and access.steps allows "
                f"{left}: raise it, raise ratio.every, or lower ratio.random_steps"
            )
        each = self.learner.environments * self.learner.steps
        begins = off_policy.random_steps(self.learner) + each
        if self.ratio.target_steps(begins) < each:
            raise HeadstartError(
                f"the classifiers begin to learn after {begins} source steps, before any step of "
                f"the target: raise ratio.random_steps to at least {each}"
            )
        trained = off_policy.train(
            self.learner, source, self.steps, key, correction=self.ratio, target=target
        )
        networks = trained.judge.pair, trained.judge.residual
        return self.learner.knowledge(trained.agent).with_part("ratio", networks)

    def _check_episodes(self, episodes: int | None) -> None:
        if self.finetune and episodes == 0:
            raise HeadstartError(
                "finetune learns from episodes of the target, and access.shots allows none: add a "
                "number of episodes to it"
            )

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        if not self.finetune:
            yield policy_from(knowledge)
            return
        self._check_episodes(target.episodes_left)
        init_key, improve_key = jax.random.split(key)
        environment = target.environment
        space = environment.observation_space, environment.action_space
        fresh: Any = self.learner.init(*space, init_key)
        state = self.learner.graft(knowledge, fresh)
        yield from off_policy.improve(
            self.learner, target, state, self.episodes_per_update, improve_key
        )
