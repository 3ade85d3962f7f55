"""EPOpt (Rajeswaran et al., ICLR 2017, arXiv 1610.01283): train on the worst ε of the trajectories.

    max_θ E[R(τ) | R(τ) ≤ Q_ε],   τ ~ π_θ on M(p), p ~ P,   Q_ε the ε-quantile of R

which is the conditional value at risk of the return. ε starts at 1 (the plain ensemble), because
the worst tenth of an untrained policy's trajectories teaches little, and then falls.

Differs from the paper in: PPO in place of TRPO; a critic, fitted to all trajectories, in place of
a linear baseline; advantages normalised over the worst trajectories together and not within each;
the schedule counted in steps, and chunks in place of whole trajectories while ε = 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.knowledge import Knowledge
from headstart.learners.on_policy import train
from headstart.learners.policy import Policy, policy_from
from headstart.learners.ppo import PPO, PPOState
from headstart.methods.domain_randomization import require_varied
from headstart.target import Source, Target


@dataclass(frozen=True)
class EPOpt:
    """Train on the worst trajectories of a source that is drawn anew each episode."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    epsilon: float = 0.1
    """Share of the trajectories, the worst, that the policy learns from."""
    ensemble: float = 0.5
    """Share of the steps spent on all trajectories first (ε = 1)."""
    trajectories: int = 64
    """Trajectories from which the worst are picked, at each update."""
    minibatch: int = 2048
    """Transitions in a gradient step on those; about `epsilon` of them move the policy."""
    learner: PPO = field(default_factory=PPO)
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "trajectories", "minibatch")
        require(self, 0, 1, "epsilon", "ensemble")

    @property
    def pretraining(self) -> "EPOpt":
        return self

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        require_varied(source.domain, "epopt")
        return self.learner.knowledge(self.optimise(source, self.steps, key))

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        yield policy_from(knowledge)

    def optimise(
        self,
        source: Source,
        steps: int,
        key: PRNGKeyArray,
        state: PPOState | None = None,
    ) -> PPOState:
        """`steps` steps on a distribution of sources, from `state` if given: first ε = 1."""
        first_key, worst_key = jax.random.split(key)
        first = round(self.ensemble * steps)
        middle = 1.0 - 0.9 * self.ensemble
        state = train(self.learner, source, first, first_key, state, rates=(1.0, middle))
        tail = replace(self.learner, environments=self.trajectories, minibatch=self.minibatch)
        return train(tail, source, steps - first, worst_key, state, self.worst, 1, (middle, 0.1))

    def worst(self, returns: np.ndarray) -> np.ndarray:
        """1 for the trajectories whose return is at most the ε-quantile, 0 for the others."""
        return (returns <= np.quantile(returns, self.epsilon)).astype(float)
