"""Domain confusion: features in which source and target look the same (Ganin and Lempitsky, 2015,
1409.7495; Tzeng et al., 2015, 1510.02192, and 2017, 1702.05464).

    min_{f, π} L_RL(π ∘ f) + λ L_confusion(f, d),   min_d BCE(d(f(x)), domain)

If what differs is irrelevant to the task, there is a representation z = f(x) with the same p(z) in
both domains, and a policy on it transfers. It takes a few hundred unlabelled target frames. It
assumes that both domains are visited alike: frames of a driver who leaves the road teach invariance
between driving well and driving badly.

Differs from the papers in: the source's loss is that of RL, or of imitating a policy trained there;
the classifier has its own Adam, faster than the encoder's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.knowledge import Knowledge
from headstart.learners import off_policy, on_policy
from headstart.learners.auxiliary import Auxiliary
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO
from headstart.learners.rollout import seed_from
from headstart.methods.confusion import Confusion, Variant, check_frames
from headstart.methods.source_only import SourceOnly
from headstart.target import Source, Target

HELD_OUT = 5  # one frame in so many


@dataclass(frozen=True)
class DomainConfusion:
    """Train in the source's mean on features that do not tell it from the target."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    observations: int = 500
    """Observations of the target; one in five is held out to measure the classifier."""
    variant: Variant = "reversal"
    """What the encoder is trained for: the reversed gradient, inverted labels or uniform ones."""
    layer: str = "conv2"
    """The layer of the encoder that is aligned: conv1, conv2 or dense."""
    weight: float = 1.0
    """Of the encoder's adversarial loss, once its schedule has risen to 1."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the classifier's hidden layers."""
    learning_rate: float = 1e-3
    """The classifier's."""
    samples: int = 64
    """Frames of each domain in a gradient step."""
    learner: PPO | DQN | Imitation = field(default_factory=PPO)
    """The RL algorithm, or imitation of one."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples")
        require(self, 0, math.inf, "observations", "weight", "learning_rate")

    @property
    def pretraining(self) -> "DomainConfusion | SourceOnly":
        return taught(self) or self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        teacher = taught(self)
        if teacher is not None:
            return teacher.pretrain(source, target, key)
        frames_key, train_key = jax.random.split(key)
        confusion = self.confusion(source, target, frames_key)
        return aligned(self.learner, source, self.steps, train_key, confusion)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        if not isinstance(self.learner, Imitation):
            yield policy_from(knowledge)
            return
        frames_key, student_key = jax.random.split(key)
        confusion = self.confusion(knowledge.simulator, target, frames_key)
        yield student(self.learner, knowledge, student_key, confusion)

    def confusion(self, source: Source, target: Target, key: PRNGKeyArray) -> Confusion:
        """The adversarial loss, with its frames of the target."""
        frames = target.observations(self.observations, seed_from(key))
        check_frames(frames, source.environment.observation_space)
        kept = np.arange(len(frames)) % HELD_OUT > 0
        return Confusion(
            jnp.asarray(frames[kept]), jnp.asarray(frames[~kept]), self.variant, self.layer,
            self.weight, self.hidden, self.learning_rate, self.samples,
        )  # fmt: skip


def aligned(
    learner: Any, source: Source, steps: int, key: PRNGKeyArray, auxiliary: Auxiliary
) -> Knowledge:
    """What PPO or DQN knows after training in the source's mean with a loss more on its encoder."""
    mean = source.at(source.domain.at_mean())
    if isinstance(learner, PPO):
        return learner.knowledge(on_policy.train(learner, mean, steps, key, auxiliary=auxiliary))
    trained = off_policy.train(learner, mean, steps, key, auxiliary=auxiliary)
    return learner.knowledge(trained.agent)


def taught(method: Any) -> SourceOnly | None:
    """How the teacher is trained, where a method imitates one."""
    learner = method.learner
    return SourceOnly(method.steps, learner.teacher) if isinstance(learner, Imitation) else None


def student(
    learner: Imitation, knowledge: Knowledge, key: PRNGKeyArray, auxiliary: Auxiliary
) -> Policy:
    """The copy of a teacher that `knowledge` holds, trained on in the source's mean."""
    source: Source = knowledge.simulator
    mean = source.at(source.domain.at_mean())
    return learner.student(policy_from(knowledge), mean, key, auxiliary)
