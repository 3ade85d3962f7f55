"""Domain confusion: features in which source and target look the same (Ganin and Lempitsky, 2015,
1409.7495; Tzeng et al., 2015, 1510.02192, and 2017, 1702.05464).

    min_{f, π} L_RL(π ∘ f) + λ Σ_l L_confusion(f_l, d_l),   min_{d_l} BCE(d_l(f_l(x)), domain)

with f_l the layers that are aligned and d_l a classifier of each. If what differs is irrelevant to
the task, there is a representation z = f(x) with the same p(z) in both domains, and a policy on it
transfers. It takes a few hundred unlabelled target frames. It assumes that both domains are visited
alike: frames of a driver who leaves the road teach invariance between driving well and driving
badly.

Differs from the papers in: the source's loss is that of RL, or of imitating a driver who sees the
state; the classifiers have their own Adam; a student is aligned after it has learned to act, by
smaller steps.
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
from headstart.errors import HeadstartError, unknown
from headstart.experience.source import Source, Target
from headstart.experience.unroll import seed_from
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.methods.source_only import SourceOnly
from headstart.policies.encoders import LAYERS
from headstart.policies.policy import ActorPolicy
from headstart.transfer.domain_adversarial import DomainAdversarialLoss, Variant, check_frames

HELD_OUT = 5  # one frame in so many
GENTLER = 0.3
"""Of the learning rate, where a student who knows the task is aligned."""


@dataclass(frozen=True, kw_only=True)
class DomainConfusion(Method):
    """Train in the source's mean on features that do not tell it from the target."""

    steps: int = 1_000_000
    """Steps in the source: of pre-training, or of a student's and of its alignment together."""
    alignment: float = 0.5
    """Share of a student's steps in which it is aligned."""
    observations: int = 500
    """Observations of the target; one in five is held out to measure the classifiers."""
    variant: Variant = "reversal"
    """What the encoder is trained for: the reversed gradient, inverted labels or uniform ones."""
    layers: tuple[str, ...] = ("conv2", "dense")
    """The layers of the encoder that are aligned, each by a classifier of its own: conv1, conv2 and
    dense."""
    weight: float = 0.3
    """Of the encoder's adversarial loss, once its schedule has risen to 1."""
    hidden: tuple[int, ...] = (64,)
    """Widths of each classifier's hidden layers."""
    learning_rate: float = 1e-3
    """The classifiers'."""
    samples: int = 64
    """Frames of each domain in a gradient step."""
    curves: ClassVar[tuple[str, ...]] = ("domain_accuracy",)

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "samples", "hidden")
        require(self, HELD_OUT, math.inf, "observations")
        require(self, 0, math.inf, "weight", "learning_rate")
        require(self, 0, 1, "alignment")
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise HeadstartError(
                f"layers must name one layer at least, each once, got {', '.join(self.layers)!r}"
            )
        for layer in self.layers:
            if layer not in LAYERS:
                raise unknown("layer of the encoder", layer, LAYERS)

    @property
    def pretraining(self) -> Method:
        if self.learner.expert is not None:
            return SourceOnly(steps=self.steps - self._aligned, learner=self.learner)
        return self

    @property
    def _aligned(self) -> int:
        """Steps in which a student is aligned."""
        return round(self.alignment * self.steps)

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: a student would not be trained, or not be aligned.
        """
        if self.learner.expert is not None and not 0 < self._aligned < self.steps:
            raise HeadstartError(
                f"of {self.steps} steps, {self._aligned} align a student, and the others train it: "
                "set alignment between 0 and 1"
            )
        return Requirements(
            source_steps=self.steps,
            observations=self.observations,
            alike=True,
            hooks=frozenset({"auxiliary"}),
        )

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
            careful, source.at_mean(), self._aligned, train_key,
            knowledge=knowledge.without("optimiser"), auxiliary=adversary,
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
            shown, held_out, self.variant, self.layers,
            self.weight, self.hidden, self.learning_rate, self.samples,
        )  # fmt: skip
