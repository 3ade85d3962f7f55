"""Jump-start: the source policy acts first, and a new one goes on from there (Uchendu et al., ICML
2023, 2204.02372).

    π(a | s, t) = π_source(a | s) if t < h, else π_new(a | s)

The new policy begins where the source's leads, so that it learns the end of the task first. The
first round is the source's alone; then h falls by a stage whenever a round returns no less than the
best so far, but for a tolerance. What is yielded is both, as they acted.

A learner that replays learns from all steps, PPO from those that the new policy took. Differs from
the paper in: what the source's policy sees the world through is the new one's too, and frozen; the
critic is carried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.experience.transition import Episodes
from headstart.knowledge import Knowledge
from headstart.learners.learner import Learner, State
from headstart.methods.finetune import Recipe
from headstart.methods.method import trusted
from headstart.methods.residual import Residual
from headstart.policies.memory import Clock
from headstart.policies.networks import MLP
from headstart.policies.policy import ActorPolicy, policy_from, with_network
from headstart.policies.standing import GuidedMLP


@dataclass(frozen=True, kw_only=True)
class JumpStart(Residual):
    """Learn a new policy from where the source's leads, and from ever earlier in the episode."""

    stages: int = 8
    """In how many the source's share of an episode falls to nothing."""
    tolerance: float = 0.1
    """How far below the best round's return, relative to its size, a round may be that holds."""
    network: ClassVar[str] = "jump-start"

    def __post_init__(self):
        super().__post_init__()
        require(self, 1, math.inf, "stages")
        require(self, 0, math.inf, "tolerance")

    def begun(self, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray) -> State:
        return learner.graft(carried.without("policy", "optimiser"), fresh)

    def _plan(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Recipe:
        plain = super()._plan(knowledge, source, target, key)
        guide = policy_from(knowledge, trusted(self.learner))
        return Guided(self, plain.factors, target, plain.total, plain.anchor, plain.kept, guide)

    def notes(self, log: Sequence[Mapping[str, Any]]) -> list[str]:
        """How much of an episode is left to the source's policy at the end."""
        rows = [row for row in log if row["phase"] == "jump-start"]
        if not rows:
            return []
        steps, episodes = rows[-1]["source_steps"], rows[-1]["episodes"]
        if not steps:
            return [f"the new policy acts alone since {episodes} target episodes."]
        return [
            f"the source's policy still acts in the first {steps} steps of an episode: later "
            "rounds returned less than the best by more than `tolerance`, or were too few."
        ]


@dataclass
class Guided(Recipe):
    """The source's policy in the first steps of an episode."""

    method: JumpStart
    guide: ActorPolicy

    def __post_init__(self):
        super().__post_init__()
        self.left = self.method.stages
        self.steps, self.longest = math.inf, 0
        self.best: float | None = None

    def acting(self, state: State) -> State:
        """With both policies as one."""
        guide, own = (cast(MLP, p.actor.network) for p in (self.guide, state.policy))
        actor = with_network(state.policy.actor, GuidedMLP.of(guide, own, self.steps))
        clock = Clock(state.policy.memory.size, 0, 1, jax.random.key(0))
        return eqx.tree_at(lambda s: (s.policy.actor, s.policy.memory), state, (actor, clock))

    def learned_from(self, tried: Episodes) -> Episodes:
        """What the new policy did, or all of it for a learner that replays; then it is judged
        whether it holds."""
        learned = tried.after(self.steps) if self.method.learner.on_policy else tried
        returned = float(tried.returns.mean())
        if self.best is None:
            self.best, self.longest = returned, int(tried.lengths.max())
        before = self.left
        if self.left and returned >= self.best - self.method.tolerance * abs(self.best):
            self.left -= 1
        self.best = max(self.best, returned)
        self.steps = -(-self.longest * self.left // self.method.stages)
        if self.left != before:
            self.target.log(
                phase="jump-start", episodes=self.target.episodes, source_steps=self.steps
            )
        return learned
