"""SAC: soft actor-critic (Haarnoja et al., 2018, arXiv 1801.01290 and 1812.05905).

    y = r + γ (min_i Q̄_i(s′, a′) − α log π(a′ | s′)),   a′ ~ π(· | s′)
    L_Q = Σ_i E[(Q_i(s, a) − y)²],   L_π = E[α log π(a | s) − min_i Q_i(s, a)],   a ~ π(· | s)
    L_α = −log α E[log π(a | s) + H],   H = −dim a

with Q̄ a slow copy of the critics. All three are one loss, so that a gradient step is one backward
pass, and many steps are one compiled call.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jaxtyping import Array, Float, PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.actors import SquashedGaussianActor
from headstart.learners.encoders import Identity
from headstart.learners.networks import MLP
from headstart.learners.policy import Policy, grafted, knowledge_of
from headstart.learners.replay import Sample

Critics = tuple[MLP, MLP]


class SACState(eqx.Module):
    """All that SAC learns and remembers, but for its experience."""

    policy: Policy
    critics: Critics
    slow_critics: Critics
    log_temperature: Float[Array, ""]
    opt_state: optax.OptState


@dataclass(frozen=True)
class SAC:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of actor and critics alike."""
    environments: int = 8
    """Copies of the environment stepped at once."""
    steps: int = 8
    """Steps of each copy between two rounds of updates."""
    updates: float = 1.0
    """Gradient steps for each step of the environment."""
    batch: int = 256
    """Transitions in a gradient step."""
    capacity: int = 1_000_000
    """Transitions that are remembered."""
    random_steps: int = 10_000
    """Steps at the start with actions uniformly at random, without updates."""
    learning_rate: float = 3e-4
    """Adam's step size, for actor, critics and temperature."""
    temperature: float = 0.1
    """α at the start; it is then adjusted to keep the entropy at −dim a."""
    discount: float = 0.99
    """γ."""
    slow_rate: float = 0.005
    """How far the slow critics move towards the critics at each gradient step."""
    reward_scale: float = 1.0
    """What rewards, as corrected by a method, are multiplied with."""
    n_step: ClassVar[int] = 1

    def __post_init__(self):
        require(self, 1, math.inf, "environments", "steps", "batch", "capacity")
        require(self, 0, math.inf, "updates", "random_steps", "learning_rate", "reward_scale")
        require(self, 0, 1, "discount", "slow_rate")
        require(self, 1e-6, math.inf, "temperature")
        if not self.hidden or min(self.hidden) < 1:
            raise HeadstartError(f"hidden must be widths of at least 1, got {self.hidden}")

    def init(
        self, observation: spaces.Box, action: spaces.Box | spaces.Discrete, key: PRNGKeyArray
    ) -> SACState:
        """A fresh agent for these spaces.

        Raises:
            HeadstartError: the actions are discrete, or the observations images.
        """
        if isinstance(action, spaces.Discrete) or len(observation.shape) != 1:
            raise HeadstartError(
                f"SAC takes vectors and continuous actions, got {observation} and {action}: use "
                "learner.algorithm ppo or dqn"
            )
        obs, act = observation.shape[0], action.shape[0]
        actor_key, first_key, second_key = jax.random.split(key, 3)
        policy = Policy(SquashedGaussianActor(obs, act, self.hidden, actor_key), Identity(obs))
        sizes = (obs + act, *self.hidden, 1)
        first, second = (MLP(sizes, 1.0, k, jax.nn.relu) for k in (first_key, second_key))
        return self.with_parts(policy, (first, second))

    def with_parts(self, policy: Policy, critics: Critics) -> SACState:
        """An agent that starts from these parts, with a fresh temperature and optimiser."""
        log_temperature = jnp.array(math.log(self.temperature), jnp.float32)
        # A copy, since a donated buffer may not appear twice.
        slow = jax.tree.map(jnp.copy, critics)
        opt_state = self._optimiser.init((policy.actor, critics, log_temperature))  # pyright: ignore[reportArgumentType]
        return SACState(policy, critics, slow, log_temperature, opt_state)

    def knowledge(self, state: SACState) -> Knowledge:
        """What the agent learned, as parts: policy, critic."""
        return knowledge_of(state.policy).with_part("critic", state.critics)

    def graft(self, knowledge: Knowledge, state: SACState) -> SACState:
        """`state` with every part that `knowledge` holds put in its place, its optimiser fresh."""
        critics = state.critics
        if "critic" in knowledge.parts:
            critics = knowledge.graft("critic", critics)
        return self.with_parts(grafted(state.policy, knowledge, every=False), critics)

    def explorer(self, state: SACState, progress: float) -> Policy:
        """What to act with while learning."""
        return state.policy

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def learn(
        self, state: SACState, sample: Sample, key: PRNGKeyArray
    ) -> tuple[SACState, dict[str, Array]]:
        """One gradient step; to be called from compiled code."""
        next_key, act_key = jax.random.split(key)
        temperature = jnp.exp(state.log_temperature)
        actor = cast(SquashedGaussianActor, state.policy.actor)
        next_action, next_log_prob = actor.sample_and_log_prob(sample.next_obs, next_key)
        led_to = jnp.concatenate([sample.next_obs, next_action], axis=-1)
        next_value = jnp.minimum(*(critic(led_to)[:, 0] for critic in state.slow_critics))
        soft_value = next_value - temperature * next_log_prob
        backup = self.reward_scale * sample.reward + sample.discount * soft_value
        taken = jnp.concatenate([sample.obs, sample.action], axis=-1)

        def loss(parts: Any):
            actor, critics, log_temperature = parts
            values = [critic(taken)[:, 0] for critic in critics]
            errors = [(sample.weight * (value - backup) ** 2).mean() for value in values]
            action, log_prob = actor.sample_and_log_prob(sample.obs, act_key)
            chosen = jnp.concatenate([sample.obs, action], axis=-1)
            fixed = jax.lax.stop_gradient(critics)
            value = jnp.minimum(*(critic(chosen)[:, 0] for critic in fixed))
            actor_loss = (temperature * log_prob - value).mean()
            excess = jax.lax.stop_gradient(log_prob).mean() - action.shape[-1]
            log = {
                "critic_loss": sum(errors),
                "actor_loss": actor_loss,
                "entropy": -log_prob.mean(),
                "temperature": temperature,
                "value": values[0].mean(),
            }
            return sum(errors) + actor_loss - log_temperature * excess, log

        parts = (state.policy.actor, state.critics, state.log_temperature)
        gradient, log = jax.grad(loss, has_aux=True)(parts)
        step, opt_state = self._optimiser.update(gradient, state.opt_state)
        parts: Any = optax.apply_updates(parts, step)  # pyright: ignore[reportArgumentType]
        actor, critics, log_temperature = parts
        slow: Any = optax.incremental_update(critics, state.slow_critics, self.slow_rate)  # pyright: ignore
        policy = Policy(actor, state.policy.encoder)
        return SACState(policy, critics, slow, log_temperature, opt_state), log
