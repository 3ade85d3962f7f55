"""Learning what to add to a source policy (Johannink et al., 2019, 1812.03201; Silver et al., 2018,
1812.06298).

    μ(s) = μ_source(s) + μ_new(s),   μ_new = 0 at the start

It is the actor's network that is added to: a Gaussian's mean, a squashed Gaussian's mean and log
deviation before the squash, a choice's logits, DQN's values. What the source's network sees the
world through is frozen with it. The critic is carried and goes on learning.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge, leaves
from headstart.learners.learner import Learner, State
from headstart.methods.finetune import Finetune
from headstart.methods.method import Requirements, remembers, trusted
from headstart.policies.policy import policy_from, with_network
from headstart.policies.standing import STANDING


@dataclass(frozen=True, kw_only=True)
class Residual(Finetune):
    """Fine-tune a new network that is added to the source's, which stays as it is."""

    network: ClassVar[str] = "residual"
    """What stands on the source's network."""

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: the policy is to start afresh, or layers are to be reset, or the policy has
            a memory, which the source's network would see change.
        """
        if remembers(self.learner):
            raise HeadstartError(
                f"{self.network} takes policies without a memory: set learner.memory to none, or "
                "use finetune"
            )
        kept = {"policy", "statistics", "encoder"}
        unfit = {
            "reset_every": self.reset_every,
            f"anchor.kind {self.anchor.kind}": self.anchor.kind in ("l2", "ewc"),
            "fresh policy, statistics and encoder": kept & set(self.fresh),
            "rates of statistics and encoder": kept & set(super().factors()) - {"policy"},
        }
        for what in (what for what, given in unfit.items() if given):
            raise HeadstartError(
                f"{self.network} stands on the source's policy as it is: leave out {what}, or use "
                "finetune"
            )
        return super().requires()

    @property
    def afresh(self) -> tuple[str, ...]:
        """The optimiser's moments too: they are of the source's network."""
        return tuple(dict.fromkeys((*self.fresh, "optimiser")))

    def factors(self) -> dict[str, float]:
        """What the source's network sees the world through stands still."""
        frozen = dict.fromkeys(("statistics", "encoder"), 0.0)
        return {k: v for k, v in frozen.items() if k in self.learner.parts} | super().factors()

    def begun(self, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray) -> State:
        source = policy_from(carried, trusted(self.learner))
        network = STANDING.find(self.network)(source.actor.network, jax.random.fold_in(key, 6))
        standing = {"actor": with_network(source.actor, network), "memory": source.memory}
        parts = {**carried.parts, "policy": leaves(standing)}
        room: Any = eqx.tree_at(lambda s: s.policy.actor.network, fresh, network)
        return learner.graft(Knowledge(parts, carried.metadata), room)
