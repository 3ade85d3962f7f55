"""What methods share whose policy stands on the source's, which stays as it is."""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge, leaves
from headstart.learners.learner import Learner, State
from headstart.methods.method import Requirements, remembers, trusted
from headstart.methods.recipe import FineTuning
from headstart.methods.source_only import SourceOnly
from headstart.policies.policy import policy_from, with_network
from headstart.policies.standing import STANDING


@dataclass(frozen=True, kw_only=True)
class Standing(FineTuning):
    """Fine-tune what stands on the source's policy."""

    name: ClassVar[str]
    """Of the method, for messages."""

    @property
    def training(self) -> SourceOnly:
        return SourceOnly(steps=self.steps, learner=self.learner)

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: the policy is to start afresh, or layers are to be reset, or the policy has
            a memory, which the source's network would see change, or the learner heads or PopArt.
        """
        if remembers(self.learner):
            raise HeadstartError(
                f"{self.name} takes policies without a memory: set learner.memory to none, or "
                "use finetune"
            )
        for field in ("heads", "popart"):
            if vars(self.learner).get(field):
                raise HeadstartError(
                    f"{self.name} adds to the source's outputs as they are, and learner.{field} "
                    "changes them: set it to false, or use finetune"
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
                f"{self.name} stands on the source's policy as it is: leave out {what}, or use "
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


def stood(
    name: str, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray
) -> State:
    """A learner's state whose actor's network is a new one of this name on the carried one."""
    source = policy_from(carried, trusted(learner))
    network = STANDING.find(name)(source.actor.network, jax.random.fold_in(key, 6))
    standing = {"actor": with_network(source.actor, network), "memory": source.memory}
    parts = {**carried.parts, "policy": leaves(standing)}
    room: Any = eqx.tree_at(lambda s: s.policy.actor.network, fresh, network)
    return learner.graft(Knowledge(parts, carried.metadata), room)
