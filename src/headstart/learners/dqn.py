"""DQN: deep Q-learning (Mnih et al., 2015), double (van Hasselt et al., 2016), over n steps.

    y = Σ_k γᵏ r_k + γⁿ Q̄(s_n, argmax_a Q(s_n, a)),   L = E[huber(Q(s, a) − y)]

with Q̄ a slow copy of Q. Observations are vectors, or images seen through convolutions.
"""

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.actors import GreedyActor
from headstart.learners.auxiliary import Auxiliary, activations
from headstart.learners.encoders import encoder_for
from headstart.learners.policy import Policy, grafted, knowledge_of
from headstart.learners.replay import Sample


class DQNState(eqx.Module):
    """All that DQN learns and remembers, but for its experience."""

    policy: Policy
    slow_policy: Policy
    opt_state: optax.OptState
    auxiliary: Any = None


@dataclass(frozen=True)
class DQN:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (128,)
    """Widths of the hidden layers after the encoder."""
    environments: int = 16
    """Copies of the environment stepped at once."""
    steps: int = 4
    """Steps of each copy between two rounds of updates."""
    updates: float = 0.25
    """Gradient steps for each step of the environment."""
    batch: int = 64
    """Transitions in a gradient step."""
    capacity: int = 50_000
    """Transitions that are remembered."""
    random_steps: int = 1_000
    """Steps at the start with actions uniformly at random, without updates."""
    learning_rate: float = 5e-4
    """Adam's step size."""
    discount: float = 0.99
    """γ."""
    n_step: int = 3
    """n: rewards summed before the value of where they led."""
    slow_rate: float = 0.01
    """How far the slow copy moves towards Q at each gradient step."""
    epsilon: float = 0.05
    """Share of random actions, once it has fallen from 1."""
    exploration: float = 0.3
    """Share of the training over which it falls."""
    max_grad_norm: float = 10.0
    """Gradients are scaled down to this norm."""
    reward_scale: float = 1.0
    """What rewards, as corrected by a method, are multiplied with."""

    def __post_init__(self):
        require(self, 1, math.inf, "environments", "steps", "batch", "capacity", "n_step")
        require(self, 0, math.inf, "updates", "random_steps", "learning_rate", "max_grad_norm")
        require(self, 0, math.inf, "reward_scale")
        require(self, 1, math.inf, "hidden")
        require(self, 0, 1, "discount", "slow_rate", "epsilon", "exploration")

    def init(
        self,
        observation: spaces.Box,
        action: spaces.Box | spaces.Discrete,
        key: PRNGKeyArray,
        auxiliary: Auxiliary | None = None,
    ) -> DQNState:
        """A fresh agent for these spaces.

        Raises:
            HeadstartError: the actions are continuous.
        """
        if not isinstance(action, spaces.Discrete):
            raise HeadstartError(
                f"DQN takes discrete actions, got {action}: use learner.algorithm sac or ppo"
            )
        encoder_key, actor_key, auxiliary_key = jax.random.split(key, 3)
        encoder = encoder_for(observation.shape, False, encoder_key)
        actor = GreedyActor(encoder.size, int(action.n), self.hidden, actor_key)
        started = None if auxiliary is None else auxiliary.init(encoder, auxiliary_key)
        return self.with_parts(Policy(actor, encoder), started)

    def with_parts(self, policy: Policy, auxiliary: Any = None) -> DQNState:
        """An agent that starts from these parts, with a fresh optimiser."""
        slow: Any = jax.tree.map(jnp.copy, policy)
        return DQNState(policy, slow, self._optimiser.init(policy), auxiliary)  # pyright: ignore

    def knowledge(self, state: DQNState) -> Knowledge:
        """What the agent learned: the policy, which is greedy for its Q-function."""
        return knowledge_of(state.policy)

    def graft(self, knowledge: Knowledge, state: DQNState) -> DQNState:
        """`state` with every part that `knowledge` holds put in its place, its optimiser fresh."""
        return self.with_parts(grafted(state.policy, knowledge, every=False), state.auxiliary)

    def explorer(self, state: DQNState, progress: float) -> Policy:
        """What to act with while learning."""
        fallen = min(progress / self.exploration, 1.0) if self.exploration else 1.0
        epsilon = jnp.float32(1.0 + fallen * (self.epsilon - 1.0))
        return eqx.tree_at(lambda policy: policy.actor.epsilon, state.policy, epsilon)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        clip = optax.clip_by_global_norm(self.max_grad_norm)
        return optax.chain(clip, optax.adam(self.learning_rate))

    def learn(
        self,
        state: DQNState,
        sample: Sample,
        key: PRNGKeyArray,
        auxiliary: Auxiliary | None = None,
        progress: Any = 0.0,
    ) -> tuple[DQNState, dict[str, Array]]:
        """One gradient step; to be called from compiled code."""
        rows = jnp.arange(len(sample.reward))
        best = state.policy.mode(sample.next_obs)
        slow = state.slow_policy
        led_to = slow.actor.values(slow.encoder(sample.next_obs))[rows, best]  # pyright: ignore
        backup = self.reward_scale * sample.reward + sample.discount * led_to

        def loss(parts: Any):
            policy, parameters = parts
            seen = activations(policy.encoder, sample.obs)
            value = policy.actor.values(seen["features"])[rows, sample.action]
            error = (sample.weight * optax.huber_loss(value, backup)).mean()
            log = {"value_loss": error, "value": value.mean()}
            if auxiliary is None:
                return error, log
            further, judged = auxiliary.loss(parameters, policy.encoder, seen, progress, key)
            return error + further, log | judged

        parts = state.policy, None if auxiliary is None else state.auxiliary.parameters
        gradient, log = jax.grad(loss, has_aux=True)(parts)
        step, opt_state = self._optimiser.update(gradient[0], state.opt_state)
        policy: Any = optax.apply_updates(state.policy, step)  # pyright: ignore
        slow: Any = optax.incremental_update(policy, state.slow_policy, self.slow_rate)  # pyright: ignore
        judge = None if auxiliary is None else auxiliary.updated(state.auxiliary, gradient[1])
        return DQNState(policy, slow, opt_state, judge), log
