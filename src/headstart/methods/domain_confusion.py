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
from typing import ClassVar

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
    def pretraining(self) -> "DomainConfusion":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        frames_key, train_key = jax.random.split(key)
        frames = target.observations(self.observations, seed_from(frames_key))
        check_frames(frames, source.environment.observation_space)
        kept = np.arange(len(frames)) % HELD_OUT > 0
        confusion = Confusion(
            jnp.asarray(frames[kept]), jnp.asarray(frames[~kept]), self.variant, self.layer,
            self.weight, self.hidden, self.learning_rate, self.samples,
        )  # fmt: skip
        mean = source.at(source.domain.at_mean())
        return aligned(self.learner, mean, self.steps, train_key, confusion)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)


def aligned(
    learner: PPO | DQN | Imitation,
    source: Source,
    steps: int,
    key: PRNGKeyArray,
    auxiliary: Auxiliary,
) -> Knowledge:
    """What a learner knows after training in the source with a further loss on its encoder."""
    if isinstance(learner, Imitation):
        return learner.train(source, steps, key, auxiliary)
    if isinstance(learner, PPO):
        return learner.knowledge(on_policy.train(learner, source, steps, key, auxiliary=auxiliary))
    trained = off_policy.train(learner, source, steps, key, auxiliary=auxiliary)
    return learner.knowledge(trained.agent)
