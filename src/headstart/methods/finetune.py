"""Fine-tuning: start on the target from what was learned in the source, part by part.

The policy that comes from the source has often become almost deterministic, and what it needs on
the target is exploration: `log_std` raises its standard deviation again before it starts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import envs
from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.experience.unroll import begin, play
from headstart.knowledge import Knowledge
from headstart.learners.train import improve
from headstart.methods.method import Method, Moves, Requirements, trusted
from headstart.methods.source_only import SourceOnly
from headstart.policies.actors import LOG_STD_RATE, GaussianActor
from headstart.policies.policy import ActorPolicy, Watched, policy_from
from headstart.problem.domain import Domain

WAYS = 32
"""Episodes that a report draws."""


@dataclass(frozen=True, kw_only=True)
class Finetune(Method):
    """Carry parts of what was learned in the source's mean, and go on learning on the target."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    carry: tuple[str, ...] = ()
    """The parts that are carried, the rest starting afresh; if none is named, all of them."""
    episodes_per_update: int = 5
    """Target episodes between two updates of the policy."""
    learning_rate: float = 3e-4
    """Adam's step size on the target."""
    log_std: float | None = -0.7
    """Lower bound put on a Gaussian's log standard deviation on the target, once: it ended small.
    None leaves it."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "episodes_per_update")
        require(self, 0, math.inf, "learning_rate")

    def requires(self) -> Requirements:
        return Requirements(learns_on_target=True)

    @property
    def pretraining(self) -> SourceOnly:
        return SourceOnly(steps=self.steps, learner=self.learner)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.pretraining.pretrain(source, target, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        init_key, improve_key = jax.random.split(key)
        learner = replace(self.learner, learning_rate=self.learning_rate)
        fresh = learner.init(target.spec, init_key)
        carried = knowledge.only(self.carry or knowledge.parts)
        state: Any = learner.graft(carried, fresh)
        actor = state.policy.actor
        if self.log_std is not None and isinstance(actor, GaussianActor):
            raised = jnp.maximum(actor.log_std, self.log_std) / LOG_STD_RATE
            state = eqx.tree_at(lambda s: s.policy.actor.slow_log_std, state, raised)
        explores = "policy" not in carried.parts
        return improve(learner, target, state, self.episodes_per_update, improve_key, explores)

    def moves(self, knowledge: Knowledge, policy: ActorPolicy, source: Domain) -> Moves:
        """The ways that the carried policy goes in the source, and its entropy on each."""
        carried = Watched(policy_from(knowledge, trusted(self.learner)))
        running, key = envs.start(source.at_mean(), WAYS, 0), jax.random.key(0)
        played = [
            (seen.obs["state"], seen.step.next_obs["state"], seen.carry.memory[1][seen.rows])
            for seen in play(carried, running, begin(carried, running), key, rounds=1)
        ]
        before, after, entropy = (np.concatenate(column) for column in zip(*played, strict=True))
        actions = running.spec.actions
        uniform = actions.uniform_entropy
        meaning = (
            f"{WAYS} episodes of the carried policy, with drawn actions, coloured by its entropy: "
            f"{uniform:.2f} nats are those of actions uniformly at random. A policy that explores "
            "goes many ways; one that has settled goes one."
        )
        limits = 0.0 if actions.discrete else uniform - 3 * actions.width, uniform
        return Moves("entropy (nats)", meaning, before, after, entropy, limits, "viridis")
