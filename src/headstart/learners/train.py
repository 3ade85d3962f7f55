"""Training any learner: on a source, for a number of steps; on a target, by episodes."""

from collections.abc import Iterator
from typing import Any

from jaxtyping import PRNGKeyArray

from headstart.learners import imitation, off_policy, on_policy
from headstart.learners.auxiliary import Auxiliary
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.learners.policy import Policy
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.target import Source, Target

Learner = PPO | SAC | DQN
"""Those that learn from reward, in any domain."""
Trainer = Learner | Imitation
"""And the one that learns from a driver who sees the state."""


def train(
    learner: Trainer,
    source: Source | Target,
    steps: int,
    key: PRNGKeyArray,
    auxiliary: Auxiliary | None = None,
) -> Any:
    """The learner's state after at least `steps` steps of `source`, with an auxiliary's loss added
    to its own; resumes by itself, but for imitation, which is short."""
    if isinstance(learner, PPO):
        return on_policy.train(learner, source, steps, key, auxiliary=auxiliary)
    if isinstance(learner, Imitation):
        return imitation.train(learner, source, steps, key, auxiliary)
    return off_policy.train(learner, source, steps, key, auxiliary=auxiliary).agent


def improve(
    learner: Learner, target: Target, state: Any, episodes_per_update: int, key: PRNGKeyArray
) -> Iterator[Policy]:
    """Policies for the target: the one given, then one after each update, to the last episode."""
    loop = on_policy if isinstance(learner, PPO) else off_policy
    return loop.improve(learner, target, state, episodes_per_update, key)  # pyright: ignore[reportArgumentType]
