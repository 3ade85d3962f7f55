"""Progressive networks: a new column beside the frozen one (Rusu et al., 2016, 1606.04671).

    h_i = f(W_i h_{i−1} + U_i h_{i−1}^source)

The column of the source is there as it was, so that back in the source nothing is forgotten. The
actor has columns; the critic is carried and goes on learning. Differs from the paper in: laterals
without a layer of their own between; the last layer begins as the source's, so that the first
policy is the source's and not a random one.
"""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
from jaxtyping import PRNGKeyArray

from headstart.knowledge import Knowledge
from headstart.learners.learner import Learner, State
from headstart.methods.standing import Standing, stood
from headstart.policies.policy import ActorPolicy, with_network
from headstart.policies.standing import ProgressiveMLP


@dataclass(frozen=True, kw_only=True)
class Progressive(Standing):
    """Fine-tune a new column beside the source's, which stays as it is."""

    name: ClassVar[str] = "progressive"

    def begun(self, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray) -> State:
        return stood(self.name, learner, carried, fresh, key)

    def in_source(self, policy: ActorPolicy) -> ActorPolicy:
        """The source's column alone, to the bit."""
        columns = policy.actor.network
        if not isinstance(columns, ProgressiveMLP):
            raise TypeError(f"no columns: {type(columns).__name__}")
        return eqx.tree_at(lambda p: p.actor, policy, with_network(policy.actor, columns.base))
