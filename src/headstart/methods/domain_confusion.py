"""Domain confusion: features in which source and target look the same (Ganin and Lempitsky, 2015,
1409.7495; Tzeng et al., 2015, 1510.02192, and 2017, 1702.05464).

    min_{f, π} L_RL(π ∘ f) + λ L_confusion(f, d),   min_d BCE(d(f(x)), domain)

If what differs is irrelevant to the task, there is a representation z = f(x) with the same p(z) in
both domains, and a policy on it transfers. It takes a few hundred unlabelled target frames. It
assumes that both domains are visited alike: frames of a driver who leaves the road teach invariance
between driving well and driving badly.

Differs from the papers in: the source's loss is that of RL, or of imitating a driver who sees the
state; the classifier has its own Adam; a student is aligned after it has learned to act, by smaller
steps.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import unknown
from headstart.knowledge import Knowledge
from headstart.learners import imitation
from headstart.learners.dqn import DQN
from headstart.learners.encoders import Convolutions
from headstart.learners.imitation import Imitation
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO
from headstart.learners.rollout import seed_from
from headstart.learners.train import train
from headstart.methods.confusion import Confusion, Variant, check_frames
from headstart.methods.source_only import SourceOnly
from headstart.target import Source, Target

HELD_OUT = 5  # one frame in so many
GENTLER = 0.3
"""Of the learning rate, where a student who knows the task is aligned."""


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
    learning_rate: float = 3e-4
    """The classifier's."""
    samples: int = 64
    """Frames of each domain in a gradient step."""
    learner: PPO | DQN | Imitation = field(default_factory=PPO)
    """What is learned in the source: RL, or imitation."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples", "hidden")
        require(self, HELD_OUT, math.inf, "observations")
        require(self, 0, math.inf, "weight", "learning_rate")
        if self.layer not in Convolutions.LAYERS:
            raise unknown("layer of the encoder", self.layer, Convolutions.LAYERS)

    @property
    def pretraining(self) -> "DomainConfusion | SourceOnly":
        if isinstance(self.learner, Imitation):
            return SourceOnly(self.steps, self.learner)
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        target.check_observations(self.observations)
        if isinstance(self.pretraining, SourceOnly):
            return self.pretraining.pretrain(source, target, key)
        frames_key, train_key = jax.random.split(key)
        confusion = self.confusion(source, target, frames_key)
        mean = source.at_mean()
        return self.learner.knowledge(train(self.learner, mean, self.steps, train_key, confusion))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        policy = policy_from(knowledge)
        if isinstance(self.learner, Imitation):
            source: Source = knowledge.simulator
            frames_key, train_key = jax.random.split(key)
            confusion = self.confusion(source, target, frames_key)
            mean = source.at_mean()
            careful = replace(self.learner, learning_rate=GENTLER * self.learner.learning_rate)
            policy = imitation.train(careful, mean, self.steps, train_key, confusion, policy).policy
        yield policy

    def confusion(self, source: Source, target: Target, key: PRNGKeyArray) -> Confusion:
        """The adversarial loss, with its frames of the target."""
        frames = target.observations(self.observations, seed_from(key))
        check_frames(frames, source.environment.observation_space)
        kept = np.arange(len(frames)) % HELD_OUT > 0
        return Confusion(
            jnp.asarray(frames[kept]), jnp.asarray(frames[~kept]), self.variant, self.layer,
            self.weight, self.hidden, self.learning_rate, self.samples,
        )  # fmt: skip
