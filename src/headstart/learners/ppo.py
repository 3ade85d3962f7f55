"""PPO: proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347).

    L(θ) = E[min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)],   ρ = π_θ(a | s) / π_old(a | s)

with A from GAE(λ) (Schulman et al., 2016), bootstrapped with the value of the observation that a
truncated episode ended in. Observations and values are normalised by statistics that live in the
agent's state, so that they are saved, resumed and carried over with it.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.actors import CategoricalActor, GaussianActor
from headstart.learners.auxiliary import Auxiliary, activations
from headstart.learners.encoders import Convolutions, Statistics, encoder_for
from headstart.learners.networks import MLP
from headstart.learners.policy import Policy, grafted, knowledge_of


class Transitions(NamedTuple):
    """A chunk of experience, `[time, environments, ...]`; an episode's end cuts a column."""

    obs: Shaped[Array, "time env *obs"]
    action: Shaped[Array, "time env ..."]
    reward: Float[Array, "time env"]
    next_obs: Shaped[Array, "time env *obs"]
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
    auxiliary: Any = None


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
        auxiliary: Auxiliary | None = None,
    ) -> PPOState:
        """A fresh agent for these spaces."""
        actor_key, critic_key = jax.random.split(key)
        encoder = encoder_for(observation.shape, True, jax.random.fold_in(key, 2))
        if isinstance(action, spaces.Discrete):
            actor = CategoricalActor(encoder.size, int(action.n), self.hidden, actor_key)
        else:
            actor = GaussianActor(encoder.size, action.shape[0], self.hidden, actor_key)
        critic = MLP((encoder.size, *self.hidden, 1), 1.0, critic_key)
        judge_key = jax.random.fold_in(key, 3)
        judge = None if auxiliary is None else auxiliary.init(encoder, judge_key)
        return self.with_parts(Policy(actor, encoder), critic, Statistics(1), judge)

    def with_parts(
        self, policy: Policy, critic: MLP, returns: Statistics, auxiliary: Any = None
    ) -> PPOState:
        """An agent that starts from these parts, with a fresh optimiser."""
        opt_state = self._optimiser.init(_trained(policy, critic))  # pyright: ignore[reportArgumentType]
        return PPOState(policy, critic, returns, opt_state, auxiliary)

    def knowledge(self, state: PPOState) -> Knowledge:
        """What the agent learned, as parts: policy, critic, statistics."""
        return knowledge_of(state.policy).with_part("critic", (state.critic, state.returns))

    def graft(self, knowledge: Knowledge, state: PPOState) -> PPOState:
        """`state` with every part that `knowledge` holds put in its place, its optimiser fresh."""
        critic = state.critic, state.returns
        if "critic" in knowledge.parts:
            critic = knowledge.graft("critic", critic)
        policy = grafted(state.policy, knowledge, every=False)
        return self.with_parts(policy, *critic, state.auxiliary)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            optax.scale_by_adam(eps=1e-5),
        )

    def update(
        self,
        state: PPOState,
        batch: Transitions,
        anneal: float,
        key: PRNGKeyArray,
        auxiliary: Auxiliary | None = None,
        progress: float = 0.0,
    ) -> tuple[PPOState, dict[str, Array]]:
        """Improve the agent on `batch`; `anneal` in [0, 1] scales the learning rate.

        An auxiliary's loss is added, after `progress` in [0, 1] of the training.

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
        return _update(self, state, batch, rate, key, auxiliary, progress)


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
def _update(
    ppo: PPO,
    state: PPOState,
    batch: Transitions,
    rate: Array,
    key: PRNGKeyArray,
    auxiliary: Auxiliary | None,
    progress: Any,
) -> tuple[PPOState, dict[str, Array]]:
    valid = batch.valid.reshape(-1)
    encoder = state.policy.encoder
    # The behaviour policy normalised with the old statistics: so must π_old and the old values.
    features, next_features = encoder(batch.obs), encoder(batch.next_obs)
    scale = jnp.sqrt(state.returns.var[0] + 1e-8)
    shift = state.returns.mean[0]

    def value_of(x):
        return state.critic(x)[..., 0] * scale + shift

    value = value_of(features)
    gae = advantages(
        batch.reward, value, value_of(next_features), batch.terminated, batch.truncated,
        ppo.discount, ppo.trace,
    )  # fmt: skip
    weight = batch.weight * batch.valid
    mean = (weight * gae).sum() / weight.sum()
    std = jnp.sqrt((weight * (gae - mean) ** 2).sum() / weight.sum())
    returns = state.returns.merge((value + gae).reshape(-1, 1), valid, limit=1e5)
    new_scale, new_shift = jnp.sqrt(returns.var[0] + 1e-8), returns.mean[0]
    critic = _rescaled(state.critic, scale / new_scale, (shift - new_shift) / new_scale)
    actor = cast(CategoricalActor | GaussianActor, state.policy.actor)
    log_prob, _ = actor.log_prob_and_entropy(features, batch.action)
    size = valid.size
    samples = jax.tree.map(
        lambda x: x.reshape(size, *x.shape[2:]),
        {
            "obs": batch.obs if isinstance(encoder, Convolutions) else features,
            "action": batch.action,
            "log_prob": log_prob,
            "advantage": (gae - mean) / (std + 1e-8),
            "value": (value + gae - new_shift) / new_scale,
            "weight": weight,
            "valid": batch.valid,
        },
    )

    def loss(parts, parameters, s, key):
        actor, critic, learned = parts
        convolved = isinstance(learned, Convolutions)
        seen = activations(learned, s["obs"]) if convolved else {"features": s["obs"]}
        features = seen["features"]
        log_prob, entropy = actor.log_prob_and_entropy(features, s["action"])
        # Where the weight is 0 nothing holds the ratio, and 0 · ∞ is not 0.
        log_ratio = jnp.where(s["weight"] > 0, log_prob - s["log_prob"], 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - ppo.clip, 1 + ppo.clip)
        gain = jnp.minimum(ratio * s["advantage"], clipped * s["advantage"])
        total = jnp.maximum(s["weight"].sum(), 1.0)
        policy_loss = -(s["weight"] * gain).sum() / total
        error = critic(features)[..., 0] - s["value"]
        value_loss = 0.5 * (s["valid"] * error**2).sum() / jnp.maximum(s["valid"].sum(), 1.0)
        log = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": (s["weight"] * (ratio - 1 - log_ratio)).sum() / total,
            "clipped": (s["weight"] * (jnp.abs(ratio - 1) > ppo.clip)).sum() / total,
        }
        total_loss = policy_loss + value_loss - ppo.entropy * entropy
        if auxiliary is None:
            return total_loss, log
        further, judged = auxiliary.loss(parameters, learned, seen, progress, key)
        return total_loss + further, log | judged

    def minibatch(rows, key, carry):
        parts, opt_state, moving, judge, _ = carry
        parameters = None if auxiliary is None else judge.parameters
        chosen = jax.tree.map(lambda x: x[rows], samples)
        gradients, log = jax.grad(loss, (0, 1), has_aux=True)(parts, parameters, chosen, key)
        gradient, judge_gradient = gradients
        if auxiliary is not None:
            judge = auxiliary.updated(judge, judge_gradient)
        step: Any
        step, opt_state = ppo._optimiser.update(gradient, opt_state)
        moving = moving & (log["kl"] <= ppo.max_kl)
        # A learned encoder is the policy's as much as the critic's: it stands still with it.
        held = jnp.where(moving, rate, 0.0)
        rates = held, rate, held
        parts = tuple(
            jax.tree.map(lambda p, s, r=r: p - r * s, part, part_step)
            for part, part_step, r in zip(parts, step, rates, strict=True)
        )
        return parts, opt_state, moving, judge, log

    def epoch(carry, key):
        # Padding sorts to the end, and only the minibatches before it are visited.
        order = jnp.argsort(jax.random.uniform(key, (size,)) + (1.0 - valid))
        rows = order.reshape(-1, ppo.minibatch)
        visited = jnp.ceil(valid.sum() / ppo.minibatch).astype(int)

        def visit(i, carry):
            return minibatch(rows[i], jax.random.fold_in(key, i), carry)

        return jax.lax.fori_loop(0, visited, visit, carry), None

    parts = _trained(state.policy, critic)
    few = jax.tree.map(lambda x: x[: ppo.minibatch], samples)
    own = None if auxiliary is None else state.auxiliary.parameters
    log = jax.eval_shape(loss, parts, own, few, key)[1]
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log)
    start = parts, state.opt_state, jnp.array(True), state.auxiliary, nothing
    (parts, opt_state, _, judge, log), _ = jax.lax.scan(
        epoch, start, jax.random.split(key, ppo.epochs)
    )
    actor, critic, learned = parts
    if isinstance(encoder, Statistics):
        encoder = encoder.merge(batch.obs.reshape(size, -1), valid)
    policy = Policy(actor, encoder if learned is None else learned)
    return PPOState(policy, critic, returns, opt_state, judge), log


def _trained(policy: Policy, critic: MLP) -> tuple[Any, MLP, Convolutions | None]:
    """What the gradient changes: actor, critic and, where it is learned, the encoder."""
    encoder = policy.encoder
    return policy.actor, critic, encoder if isinstance(encoder, Convolutions) else None


def _rescaled(critic: MLP, scale: Array, shift: Array) -> MLP:
    """The critic with its output mapped to `scale · output + shift` (PopArt, 1602.07714)."""
    last = critic.weights[-1] * scale, critic.biases[-1] * scale + shift
    return eqx.tree_at(lambda c: (c.weights[-1], c.biases[-1]), critic, last)
