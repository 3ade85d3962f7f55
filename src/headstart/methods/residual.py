"""Learning what to add to a source policy (Johannink et al., 2019, 1812.03201; Silver et al., 2018,
1812.06298).

    μ(s) = μ_source(s) + μ_new(s),   μ_new = 0 at the start

It is the actor's network that is added to: a Gaussian's mean, a squashed Gaussian's mean and log
deviation before the squash, a choice's logits, DQN's values. What the source's network sees the
world through is frozen with it. The critic is carried and goes on learning.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import PRNGKeyArray

from headstart.knowledge import Knowledge
from headstart.learners.learner import Learner, State
from headstart.methods.standing import Standing, stood


@dataclass(frozen=True, kw_only=True)
class Residual(Standing):
    """Fine-tune a new network that is added to the source's, which stays as it is."""

    name: ClassVar[str] = "residual"

    def begun(self, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray) -> State:
        return stood(self.name, learner, carried, fresh, key)
