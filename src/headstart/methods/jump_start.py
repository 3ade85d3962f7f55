"""Jump-start: the source policy acts first, and a new one goes on from there (Uchendu et al., ICML
2023, 2204.02372).

    π(a | s, t) = π_source(a | s) if t < h, else π_new(a | s)

The new policy begins where the source's leads, so that it learns the end of the task first. The
first round is the source's alone; then h falls by a stage for the next round whenever one returns
no less than the best so far, but for a tolerance. What is yielded is both, with the h that acted.

A learner that replays learns from all steps, PPO from those that the new policy took. Differs from
the paper in: what the source's policy sees the world through is the new one's too, and frozen; the
critic is carried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.experience.transition import Episodes
from headstart.knowledge import Knowledge
from headstart.learners.improve import Plan
from headstart.learners.learner import Hooks, State
from headstart.methods.method import Requirements, trusted
from headstart.methods.standing import Standing
from headstart.policies.actors import GuidedActor
from headstart.policies.memory import Clock
from headstart.policies.policy import AbstractPolicy, ActorPolicy, policy_from

ALL = 2.0**31
"""Steps: more than an episode has."""


@dataclass(frozen=True, kw_only=True)
class JumpStart(Standing):
    """Learn a new policy from where the source's leads, and from ever earlier in the episode."""

    stages: int = 8
    """In how many the source's share of an episode falls to nothing."""
    tolerance: float = 0.1
    """How far below the best round's return, relative to its size, a round may be that holds."""
    name: ClassVar[str] = "jump-start"

    def __post_init__(self):
        super().__post_init__()
        require(self, 1, math.inf, "stages")
        require(self, 0, math.inf, "tolerance")

    def requires(self) -> Requirements:
        if self.warmup:
            raise HeadstartError(
                "jump-start's new policy knows nothing that a wrong critic could undo: leave out "
                "warmup"
            )
        return super().requires()

    @property
    def afresh(self) -> tuple[str, ...]:
        return "policy", *super().afresh

    def _plan(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Plan:
        recipe = super()._plan(knowledge, source, target, key)
        return Guided(self, recipe, target, policy_from(knowledge, trusted(self.learner)))

    def notes(self, log: Sequence[Mapping[str, Any]]) -> list[str]:
        """How much of an episode was left to the source's policy at the end."""
        rows = [row for row in log if row["phase"] == "jump-start"]
        if not rows:
            return []
        steps, episodes = rows[-1]["source_steps"], rows[-1]["episodes"]
        if not steps:
            return [f"the new policy acts alone since {episodes} target episodes."]
        return [
            f"the source's policy still acted in the first {steps} steps of an episode: later "
            "rounds returned less than the best by more than `tolerance`, or were too few."
        ]


@dataclass
class Guided:
    """A recipe, and the source's policy in the first steps of an episode."""

    method: JumpStart
    recipe: Plan
    target: Target
    guide: ActorPolicy

    def __post_init__(self):
        self.left = self.method.stages
        self.steps, self.longest = ALL, 0
        self.best: float | None = None

    def hooks(self, share: float) -> Hooks:
        """And the next round begins, with what is the source's of it."""
        steps = -(-self.longest * self.left // self.method.stages)
        if self.best is not None and steps != self.steps:
            self.steps = steps
            self.target.log(phase="jump-start", episodes=self.target.episodes, source_steps=steps)
        return self.recipe.hooks(share)

    def before(self, state: State, episodes: int, key: PRNGKeyArray) -> State:
        return self.recipe.before(state, episodes, key)

    def acting(self, policy: AbstractPolicy) -> AbstractPolicy:
        """Both policies as one."""
        own = cast(ActorPolicy, policy)
        actor = GuidedActor(self.guide.actor, own.actor, jnp.float32(self.steps))
        clock = Clock(own.encoders.size)
        return ActorPolicy(actor, own.encoders, clock, own.groups, own.actions)

    def learned_from(self, tried: Episodes) -> Episodes:
        """What the new policy did, or all of it for a learner that replays; and the round is held
        against the best."""
        returned = float(tried.returns.mean())
        if self.best is None:
            self.best, self.longest = returned, int(tried.lengths.max())
        if self.left and returned >= self.best - self.method.tolerance * abs(self.best):
            self.left -= 1
        self.best = max(self.best, returned)
        return tried.after(self.steps) if self.method.learner.on_policy else tried
