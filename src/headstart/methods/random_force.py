"""Random forces in the source: robustness to dynamics that nobody modelled (Pinto et al., 2017,
1703.02702, without the adversary).

    max_π E[Σ r(s, a)],   s′ ~ p_source(· | s, a, f),   f ~ N(0, σ²)

It takes nothing of the target, and knows nothing of what differs there: a baseline for methods that
do.
"""

import math
from dataclasses import dataclass

from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements


@dataclass(frozen=True, kw_only=True)
class RandomForce(Method):
    """Train in the source's mean with a random push at every step."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    force: float = 20.0
    """Standard deviation of the push on the torso, N."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps")
        require(self, 0, math.inf, "force")

    def requires(self) -> Requirements:
        return Requirements(source_steps=self.steps, parameters=("random_force",))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        pushed = source.domain.at_mean().with_parameters(random_force=self.force)
        return self.learner.knowledge(train(self.learner, source.at(pushed), self.steps, key))
