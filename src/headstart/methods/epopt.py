"""EPOpt (Rajeswaran et al., ICLR 2017, arXiv 1610.01283): train on the worst ε of the trajectories.

    max_θ E[R(τ) | R(τ) ≤ Q_ε],   τ ~ π_θ on M(p), p ~ P,   Q_ε the ε-quantile of R

which is the conditional value at risk of the return. ε starts at 1 (the plain ensemble), because
the worst tenth of an untrained policy's trajectories teaches little, and then falls.

Differs from the paper in: PPO in place of TRPO; a critic, fitted to all trajectories, in place of
a linear baseline; advantages normalised over the worst trajectories together and not within each;
the schedule counted in steps, and chunks in place of whole trajectories while ε = 1.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners.learner import State
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements


@dataclass(frozen=True, kw_only=True)
class EPOpt(Method):
    """Train on the worst trajectories of a source that is drawn anew each episode."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    epsilon: float = 0.1
    """Share of the trajectories, the worst, that the policy learns from."""
    ensemble: float = 0.5
    """Share of the steps spent on all trajectories first (ε = 1)."""
    trajectories: int = 64
    """Trajectories from which the worst are picked, at each update."""
    minibatch_size: int = 2048
    """Transitions in a gradient step on those; about `epsilon` of them move the policy."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "trajectories", "minibatch_size")
        require(self, 0, 1, "epsilon", "ensemble")

    def requires(self) -> Requirements:
        return Requirements(varied=True, hooks=frozenset({"weights"}))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.learner.knowledge(self.optimise(source, self.steps, key))

    def optimise(
        self,
        source: Source,
        steps: int,
        key: PRNGKeyArray,
        state: State = None,
        start: float = 0.0,
    ) -> State:
        """`steps` steps on a distribution of sources, from a learner's `state` if given: first
        ε = 1. Schedules begin where they stand after a share `start` of a training."""
        first_key, worst_key = jax.random.split(key)
        first = round(self.ensemble * steps)
        share = start + self.ensemble * (1 - start)
        state = train(self.learner, source, first, first_key, state=state, span=(start, share))
        learner: Any = self.learner
        tail = replace(learner, num_envs=self.trajectories, minibatch_size=self.minibatch_size)
        return train(
            tail, source, steps - first, worst_key,
            state=state, weights=self.worst, stage=1, span=(share, 1.0),
        )  # fmt: skip

    def worst(self, returns: np.ndarray) -> np.ndarray:
        """1 for the trajectories whose return is at most the ε-quantile, 0 for the others."""
        return (returns <= np.quantile(returns, self.epsilon)).astype(float)
