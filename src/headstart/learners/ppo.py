"""PPO: proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347).

    L(θ) = E[min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)],   ρ = π_θ(a | s) / π_old(a | s)

with A from GAE(λ) (Schulman et al., 2016), bootstrapped with the value of the observation that a
truncated episode ended in. Observations and values are normalised by statistics that live in the
agent's state, so that they are saved, resumed and carried over with it.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge, leaves
from headstart.learners.networks import MLP, Statistics
from headstart.learners.policy import Policy, actor_for, policy_facts


class Transitions(NamedTuple):
    """A chunk of experience, `[time, environments, ...]`; an episode's end cuts a column."""

    obs: Float[Array, "time env obs"]
    action: Shaped[Array, "time env ..."]
    reward: Float[Array, "time env"]
    next_obs: Float[Array, "time env obs"]
    terminated: Bool[Array, "time env"]
    truncated: Bool[Array, "time env"]
    weight: Float[Array, "time env"]
    """What the policy's loss weighs a transition with."""
    valid: Float[Array, "time env"]
    """1 for experience, 0 for padding."""


class PPOState(eqx.Module):
    """All that PPO learns and remembers."""

    policy: Policy
    critic: MLP
    returns: Statistics
    opt_state: optax.OptState


@dataclass(frozen=True)
class PPO:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of actor and critic alike."""
    environments: int = 64
    """Copies of the environment stepped at once."""
    steps: int = 32
    """Steps of each copy between two updates."""
    epochs: int = 10
    """Passes over the experience of an update."""
    minibatch: int = 256
    """Transitions in a gradient step."""
    learning_rate: float = 5e-4
    """Adam's step size at the start; it falls linearly to a tenth during training."""
    discount: float = 0.995
    """γ."""
    trace: float = 0.97
    """λ of the advantage estimate."""
    clip: float = 0.2
    """ε of the clipped objective."""
    max_kl: float = 0.03
    """The policy stands still for the rest of an update once it is this far from where it began."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this norm."""

    def __post_init__(self):
        require(self, 1, math.inf, "environments", "steps", "epochs", "minibatch")
        require(self, 0, 1, "discount", "trace")
        require(self, 0, math.inf, "learning_rate", "clip", "max_kl", "entropy", "max_grad_norm")
        if not self.hidden or min(self.hidden) < 1:
            raise HeadstartError(f"hidden must be widths of at least 1, got {self.hidden}")

    def init(
        self,
        observation: spaces.Box,
        action: spaces.Box | spaces.Discrete,
        key: PRNGKeyArray,
    ) -> PPOState:
        """A fresh agent for these spaces."""
        actor_key, critic_key = jax.random.split(key)
        obs = observation.shape[0]
        discrete = isinstance(action, spaces.Discrete)
        size = int(action.n) if discrete else action.shape[0]
        actor = actor_for(discrete, obs, size, self.hidden, actor_key)
        policy = Policy(actor, Statistics(obs))
        critic = MLP((obs, *self.hidden, 1), 1.0, critic_key)
        return self.with_parts(policy, critic, Statistics(1))

    def with_parts(self, policy: Policy, critic: MLP, returns: Statistics) -> PPOState:
        """An agent that starts from these parts, with a fresh optimiser."""
        opt_state = self._optimiser.init((policy.actor, critic))  # pyright: ignore[reportArgumentType]
        return PPOState(policy, critic, returns, opt_state)

    def knowledge(self, state: PPOState) -> Knowledge:
        """What the agent learned, as parts: policy, critic, statistics."""
        actor = state.policy.actor
        parts = {
            "policy": leaves(actor),
            "critic": leaves((state.critic, state.returns)),
            "statistics": leaves(state.policy.statistics),
        }
        return Knowledge(parts, {"policy": policy_facts(actor)})

    def graft(self, knowledge: Knowledge, state: PPOState) -> PPOState:
        """`state` with every part that `knowledge` holds put in its place, its optimiser fresh."""
        policy, critic = state.policy, (state.critic, state.returns)
        actor, statistics = policy.actor, policy.statistics
        if "policy" in knowledge.parts:
            actor = knowledge.graft("policy", actor)
        if "statistics" in knowledge.parts:
            statistics = knowledge.graft("statistics", statistics)
        if "critic" in knowledge.parts:
            critic = knowledge.graft("critic", critic)
        return self.with_parts(Policy(actor, statistics), *critic)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            optax.scale_by_adam(eps=1e-5),
        )

    def update(
        self, state: PPOState, batch: Transitions, anneal: float, key: PRNGKeyArray
    ) -> tuple[PPOState, dict[str, Array]]:
        """Improve the agent on `batch`; `anneal` in [0, 1] scales the learning rate.

        Raises:
            HeadstartError: `time × env` is not a multiple of `minibatch`.
        """
        time, environments = batch.reward.shape
        if time * environments % self.minibatch:
            raise HeadstartError(
                f"{environments} environments × {time} steps is not a multiple of the minibatch "
                f"of {self.minibatch}: change learner.environments, steps or minibatch"
            )
        rate = jnp.asarray(self.learning_rate * anneal, jnp.float32)
        return _update(self, state, batch, rate, key)


def advantages(
    reward: Float[Array, "time env"],
    value: Float[Array, "time env"],
    next_value: Float[Array, "time env"],
    terminated: Bool[Array, "time env"],
    truncated: Bool[Array, "time env"],
    discount: float,
    trace: float,
) -> Float[Array, "time env"]:
    """GAE(λ). `next_value` is V of where each action led, also where an episode was truncated."""
    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    decay = discount * trace * (1.0 - (terminated | truncated))

    def back(advantage, step):
        delta, decay = step
        advantage = delta + decay * advantage
        return advantage, advantage

    _, result = jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
    return result


@partial(jax.jit, static_argnums=0)
def _update(ppo: PPO, state: PPOState, batch: Transitions, rate: Array, key: PRNGKeyArray):
    valid = batch.valid.reshape(-1)
    statistics = state.policy.statistics
    # The behaviour policy normalised with the old statistics: so must π_old and the old values.
    obs, next_obs = statistics.normalise(batch.obs), statistics.normalise(batch.next_obs)
    scale = jnp.sqrt(state.returns.var[0] + 1e-8)
    shift = state.returns.mean[0]

    def value_of(x):
        return state.critic(x)[..., 0] * scale + shift

    value = value_of(obs)
    gae = advantages(
        batch.reward, value, value_of(next_obs), batch.terminated, batch.truncated,
        ppo.discount, ppo.trace,
    )  # fmt: skip
    weight = batch.weight * batch.valid
    mean = (weight * gae).sum() / weight.sum()
    std = jnp.sqrt((weight * (gae - mean) ** 2).sum() / weight.sum())
    returns = state.returns.merge((value + gae).reshape(-1, 1), valid, limit=1e5)
    new_scale, new_shift = jnp.sqrt(returns.var[0] + 1e-8), returns.mean[0]
    critic = _rescaled(state.critic, scale / new_scale, (shift - new_shift) / new_scale)
    log_prob, _ = state.policy.actor.log_prob_and_entropy(obs, batch.action)
    size = valid.size
    samples = jax.tree.map(
        lambda x: x.reshape(size, *x.shape[2:]),
        {
            "obs": obs,
            "action": batch.action,
            "log_prob": log_prob,
            "advantage": (gae - mean) / (std + 1e-8),
            "value": (value + gae - new_shift) / new_scale,
            "weight": weight,
            "valid": batch.valid,
        },
    )

    def loss(parts, s):
        actor, critic = parts
        log_prob, entropy = actor.log_prob_and_entropy(s["obs"], s["action"])
        # Where the weight is 0 nothing holds the ratio, and 0 · ∞ is not 0.
        log_ratio = jnp.where(s["weight"] > 0, log_prob - s["log_prob"], 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - ppo.clip, 1 + ppo.clip)
        gain = jnp.minimum(ratio * s["advantage"], clipped * s["advantage"])
        total = jnp.maximum(s["weight"].sum(), 1.0)
        policy_loss = -(s["weight"] * gain).sum() / total
        error = critic(s["obs"])[..., 0] - s["value"]
        value_loss = 0.5 * (s["valid"] * error**2).sum() / jnp.maximum(s["valid"].sum(), 1.0)
        log = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": (s["weight"] * (ratio - 1 - log_ratio)).sum() / total,
            "clipped": (s["weight"] * (jnp.abs(ratio - 1) > ppo.clip)).sum() / total,
        }
        return policy_loss + value_loss - ppo.entropy * entropy, log

    def minibatch(rows, carry):
        parts, opt_state, moving, _ = carry
        gradient, log = jax.grad(loss, has_aux=True)(
            parts, jax.tree.map(lambda x: x[rows], samples)
        )
        step: Any
        step, opt_state = ppo._optimiser.update(gradient, opt_state)
        moving = moving & (log["kl"] <= ppo.max_kl)
        rates = jnp.where(moving, rate, 0.0), rate
        parts = tuple(
            jax.tree.map(lambda p, s, r=r: p - r * s, part, part_step)
            for part, part_step, r in zip(parts, step, rates, strict=True)
        )
        return parts, opt_state, moving, log

    def epoch(carry, key):
        # Padding sorts to the end, and only the minibatches before it are visited.
        order = jnp.argsort(jax.random.uniform(key, (size,)) + (1.0 - valid))
        rows = order.reshape(-1, ppo.minibatch)
        visited = jnp.ceil(valid.sum() / ppo.minibatch).astype(int)
        return jax.lax.fori_loop(0, visited, lambda i, c: minibatch(rows[i], c), carry), None

    parts = (state.policy.actor, critic)
    log = jax.eval_shape(loss, parts, jax.tree.map(lambda x: x[: ppo.minibatch], samples))[1]
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log)
    start = parts, state.opt_state, jnp.array(True), nothing
    (parts, opt_state, _, log), _ = jax.lax.scan(epoch, start, jax.random.split(key, ppo.epochs))
    shape = (size, batch.obs.shape[-1])
    policy = Policy(parts[0], statistics.merge(batch.obs.reshape(shape), valid))
    return PPOState(policy, parts[1], returns, opt_state), log


def _rescaled(critic: MLP, scale: Array, shift: Array) -> MLP:
    """The critic with its output mapped to `scale · output + shift` (PopArt, 1602.07714)."""
    last = critic.weights[-1] * scale, critic.biases[-1] * scale + shift
    return eqx.tree_at(lambda c: (c.weights[-1], c.biases[-1]), critic, last)
