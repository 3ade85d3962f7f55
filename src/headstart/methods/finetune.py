"""Fine-tuning: start on the target from what was learned in the source, part by part.

The policy that comes from the source has often become almost deterministic, and what it needs on
the target is exploration: `log_std` raises its standard deviation again before it starts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.knowledge import Knowledge
from headstart.learners.actors import LOG_STD_RATE, GaussianActor
from headstart.learners.policy import Policy
from headstart.learners.ppo import PPO
from headstart.learners.train import Learner, improve
from headstart.methods.source_only import SourceOnly
from headstart.target import Source, Target


@dataclass(frozen=True)
class Finetune:
    """Carry parts of what was learned in the source's mean, and go on learning on the target."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    carry: tuple[str, ...] = ()
    """The parts that are carried, the rest starting afresh; if none is named, all of them."""
    episodes_per_update: int = 5
    """Target episodes between two updates of the policy."""
    learning_rate: float = 3e-4
    """Adam's step size on the target."""
    log_std: float | None = None
    """Lower bound put on the policy's log standard deviation on the target, once."""
    learner: Learner = field(default_factory=PPO)
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "episodes_per_update")
        require(self, 0, math.inf, "learning_rate")

    @property
    def pretraining(self) -> SourceOnly:
        return SourceOnly(self.steps, self.learner)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.pretraining.pretrain(source, target, key)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        init_key, improve_key = jax.random.split(key)
        environment = target.environment
        learner = replace(self.learner, learning_rate=self.learning_rate)
        space = environment.observation_space, environment.action_space
        fresh: Any = learner.init(*space, init_key)
        state = learner.graft(knowledge.only(self.carry or knowledge.parts), fresh)
        actor = state.policy.actor
        if self.log_std is not None and isinstance(actor, GaussianActor):
            raised = jnp.maximum(actor.log_std, self.log_std) / LOG_STD_RATE
            state = eqx.tree_at(lambda s: s.policy.actor.slow_log_std, state, raised)
        return improve(learner, target, state, self.episodes_per_update, improve_key)
