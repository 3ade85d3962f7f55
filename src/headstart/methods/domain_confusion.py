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
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import unknown
from headstart.experience.source import Source, Target
from headstart.experience.unroll import seed_from
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.methods.source_only import SourceOnly
from headstart.policies.encoders import Convolutions
from headstart.policies.policy import ActorPolicy
from headstart.transfer.domain_adversarial import DomainAdversarialLoss, Variant, check_frames

HELD_OUT = 5  # one frame in so many
GENTLER = 0.3
"""Of the learning rate, where a student who knows the task is aligned."""


@dataclass(frozen=True, kw_only=True)
class DomainConfusion(Method):
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
    curves: ClassVar[tuple[str, ...]] = ("domain_accuracy",)

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples", "hidden")
        require(self, HELD_OUT, math.inf, "observations")
        require(self, 0, math.inf, "weight", "learning_rate")
        if self.layer not in Convolutions.LAYERS:
            raise unknown("layer of the encoder", self.layer, Convolutions.LAYERS)

    @property
    def pretraining(self) -> Method:
        if self.learner.expert is not None:
            return SourceOnly(steps=self.steps, learner=self.learner)
        return self

    def requires(self) -> Requirements:
        return Requirements(observations=self.observations, hooks=frozenset({"auxiliary"}))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        if self.pretraining is not self:
            return self.pretraining.pretrain(source, target, key)
        frames_key, train_key = jax.random.split(key)
        adversary = self.adversary(source, target, frames_key)
        mean = source.at_mean()
        state = train(self.learner, mean, self.steps, train_key, auxiliary=adversary)
        return self.learner.knowledge(state)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        if self.pretraining is self:
            yield from super().adapt(knowledge, source, target, key)
            return
        frames_key, train_key = jax.random.split(key)
        adversary = self.adversary(source, target, frames_key)
        rate = GENTLER * self.learner.learning_rate
        careful = replace(self.learner, learning_rate=rate)
        state = train(
            careful, source.at_mean(), self.steps, train_key,
            knowledge=knowledge, auxiliary=adversary,
        )  # fmt: skip
        yield careful.policy(state)

    def adversary(self, source: Source, target: Target, key: PRNGKeyArray) -> DomainAdversarialLoss:
        """The adversarial loss, with its frames of the target."""
        frames = target.observations(self.observations, seed_from(key))
        check_frames(frames, source.spec)
        kept = np.arange(self.observations) % HELD_OUT > 0
        shown, held_out = (
            {name: jnp.asarray(group[rows]) for name, group in frames.items()}
            for rows in (kept, ~kept)
        )
        return DomainAdversarialLoss(
            shown, held_out, self.variant, self.layer,
            self.weight, self.hidden, self.learning_rate, self.samples,
        )  # fmt: skip
