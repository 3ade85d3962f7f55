"""Random forces in the source: robustness to dynamics that nobody modelled (Pinto et al., 2017,
1703.02702, without the adversary).

    max_π E[Σ r(s, a)],   s′ ~ p_source(· | s, a, f),   f ~ N(0, σ²)

It takes nothing of the target, and knows nothing of what differs there: a baseline for methods that
do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy, policy_from
from headstart.learners.sac import SAC
from headstart.learners.train import Learner, train
from headstart.target import Source, Target


@dataclass(frozen=True)
class RandomForce:
    """Train in the source's mean with a random push at every step."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    force: float = 20.0
    """Standard deviation of the push on the torso, N."""
    learner: Learner = field(default_factory=SAC)
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps")
        require(self, 0, math.inf, "force")

    @property
    def pretraining(self) -> "RandomForce":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        if "random_force" not in source.environment.parameters:
            raise HeadstartError(
                f"random-force needs an environment with a parameter random_force, and "
                f"{source.environment.name} has none: use a robot such as half-cheetah"
            )
        pushed = source.domain.at_mean().with_parameters(random_force=self.force)
        state = train(self.learner, source.at(pushed), self.steps, key)
        return self.learner.knowledge(state)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)
