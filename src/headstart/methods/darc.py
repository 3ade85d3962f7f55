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
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import envs
from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.experience.transition import Transition
from headstart.experience.unroll import begin, seed_from, unroll
from headstart.knowledge import Knowledge
from headstart.learners.dqn import DQN
from headstart.learners.improve import improve
from headstart.learners.off_policy import learning_begins
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.methods.method import Method, Moves, Requirements
from headstart.policies.policy import ActorPolicy, UniformPolicy
from headstart.problem.domain import Domain
from headstart.transfer.density_ratio import DensityRatio


@dataclass(frozen=True, kw_only=True)
class Darc(Method):
    """Train in the source with rewards corrected for what the target would not allow."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    ratio: DensityRatio = field(default_factory=DensityRatio)
    """The classifiers, and how often the target is stepped for them."""
    finetune: bool = False
    """Whether to go on learning on the target, with its own rewards, as long as the shots last."""
    episodes_per_update: int = 1
    """Target episodes between two rounds of updates then."""
    curves: ClassVar[tuple[str, ...]] = ("fresh_accuracy", "calibration_error", "delta")

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "episodes_per_update")

    @property
    def pretraining(self) -> "Darc":
        return Darc(steps=self.steps, ratio=self.ratio, learner=self.learner)

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: no reward would be corrected, or not one step at a time, or the classifiers
            would begin to learn before any step of the target.
        """
        if self.steps <= self.ratio.warmup:
            raise HeadstartError(
                f"rewards are corrected after {self.ratio.warmup} source steps, and there are "
                f"{self.steps}: take more, or lower ratio.warmup"
            )
        if isinstance(self.learner, DQN) and self.learner.n_step != 1:
            raise HeadstartError(
                f"rewards are corrected one step at a time: set learner.n_step to 1, not "
                f"{self.learner.n_step}"
            )
        if isinstance(self.learner, SAC | DQN):
            each = self.learner.num_envs * self.learner.rollout_length
            begins = learning_begins(self.learner) + each
            if self.ratio.reference_steps(begins) < each:
                raise HeadstartError(
                    f"the classifiers begin to learn after {begins} source steps, before any step "
                    f"of the target: raise ratio.random_steps to at least {each}"
                )
        return Requirements(
            source_steps=self.steps,
            steps=self.ratio.reference_steps(self.steps),
            episodes=int(self.finetune),
            alike=True,
            hooks=frozenset({"transform"}),
        )

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        state: Any = train(
            self.learner, source, self.steps, key, transform=self.ratio, target=target
        )
        judge = state.transform
        return self.learner.knowledge(state).with_part("ratio", (judge.pair, judge.residual))

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        if not self.finetune:
            yield from super().adapt(knowledge, source, target, key)
            return
        init_key, improve_key = jax.random.split(key)
        carried = knowledge.without("optimiser")
        state = self.learner.graft(carried, self.learner.init(target.spec, init_key))
        yield from improve(self.learner, target, state, self.episodes_per_update, improve_key)

    def moves(self, knowledge: Knowledge, policy: ActorPolicy, source: Domain) -> Moves:
        """What random actions, and the policy after them, do in the source, and each Δr."""
        key = jax.random.key(0)
        running = envs.start(source, 16, seed_from(key))
        random = UniformPolicy(running.spec.actions)
        first, carry = unroll(random, running, begin(random, running), 100, key)
        then, _ = unroll(policy, running, carry, 100, key)
        steps = Transition(
            *jax.tree.map(
                lambda a, b: jnp.concatenate([a, b]), tuple(first.steps), tuple(then.steps)
            )
        )
        judge = self.ratio.graft(knowledge, running.spec)
        delta = np.asarray(self.ratio.log_ratio(judge, steps)).reshape(-1)
        ends = (np.asarray(obs["state"]) for obs in (steps.obs, steps.next_obs))
        before, after = (end.reshape(-1, *end.shape[2:]) for end in ends)
        meaning = (
            "Red: the target would hardly allow the move. Blue: it would do it likelier than the "
            "source."
        )
        return Moves("Δr", meaning, before, after, delta, (-6.0, 6.0), "RdBu")
