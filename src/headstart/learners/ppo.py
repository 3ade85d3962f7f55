"""PPO: proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347).

    L(θ) = E[min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)],   ρ = π_θ(a | s) / π_old(a | s)

with A from GAE(λ) (Schulman et al., 2016), bootstrapped with the value of the observation that a
truncated episode ended in. Observations and values are normalised by statistics that live in the
agent's state, so that they are saved, resumed and carried over with it.

With heads, values are in units of their task's own returns (PopArt: Hessel et al., AAAI 2019,
1809.04474), and advantages have mean 0 and deviation 1 task by task. Differs from the paper in:
there, advantages are divided by the returns' deviation. Here each task's are as PPO would have them
if it learned that task alone.

With a memory, a gradient step is on whole columns of a rollout: policy and critic are run again
from what they remembered at its start, afresh where an episode begins.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import CONTEXT, EnvSpec, Group
from headstart.errors import HeadstartError
from headstart.experience.transition import Episodes, Rollout
from headstart.knowledge import Knowledge
from headstart.learners.learner import NO_HOOKS, Anchor, Hooks, Metrics, Progress, Rates
from headstart.learners.pcgrad import by_parts, by_task
from headstart.learners.popart import rescaled
from headstart.policies.actors import GaussianActor, StochasticActor, stochastic_actor
from headstart.policies.critic import ActorCritic, Critic
from headstart.policies.encoders import Statistics, encoders_for, privileged_encoders
from headstart.policies.memory import MEMORIES, Memory, ahead
from headstart.policies.networks import MLP, rows, task_of
from headstart.policies.policy import (
    AbstractPolicy,
    ActorPolicy,
    described,
    grafted,
    heads_for,
    knowledge_of,
    policy_for,
    task_told,
    with_network,
)
from headstart.pytree import PyTree

NARROWS = 0.7
"""Share of the training after which a Gaussian's deviation is bounded."""


class PPOState(eqx.Module):
    """All that PPO learns and remembers."""

    policy: ActorPolicy
    critic: Critic
    returns: Statistics
    """Of what episodes return, by task where there are heads."""
    opt_state: optax.OptState
    auxiliary: PyTree = None


@dataclass(frozen=True)
class PPO:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of actor and critic alike."""
    memory: str = "none"
    """What is carried from step to step: none, or gru."""
    memory_size: int = 64
    """Width of the memory, if there is one."""
    encoders: tuple[str, ...] = ()
    """Encoders in place of the usual ones, as group=name or group=module:Class."""
    num_envs: int = 64
    """Copies of the environment stepped at once."""
    rollout_length: int = 32
    """Steps of each copy between two updates."""
    epochs: int = 10
    """Passes over the experience of an update."""
    minibatch_size: int = 256
    """Transitions in a gradient step."""
    learning_rate: float = 5e-4
    """Adam's step size at the start; it falls linearly to a tenth during training."""
    discount: float = 0.995
    """γ."""
    gae_lambda: float = 0.97
    """λ of the advantage estimate."""
    clip_eps: float = 0.2
    """ε of the clipped objective."""
    max_kl: float = 0.03
    """The policy stands still for the rest of an update once it is this far from where it began."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    final_std: float = 0.25
    """Bound on a Gaussian's standard deviation at the end of training, so that the most likely
    action is what was trained. It falls there from 1, geometrically, while the last 30 % are
    trained: a bound from the start costs exploration."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this norm."""
    heads: bool = False
    """Whether each task that the context tells as one-hot has output layers of its own, and values
    and advantages in units of their own spread."""
    pcgrad: bool = False
    """Whether gradients of tasks, told as one-hot, that go against each other are projected."""
    accepts: ClassVar[frozenset[str]] = frozenset({"anchor", "auxiliary", "rates", "weights"})
    parts: ClassVar[tuple[str, ...]] = (
        "policy",
        "critic",
        "statistics",
        "encoder",
        "returns",
        "optimiser",
    )
    on_policy: ClassVar[bool] = True

    def __post_init__(self):
        require(self, 1, math.inf, "num_envs", "rollout_length", "epochs", "minibatch_size")
        require(self, 1, math.inf, "hidden", "memory_size")
        require(self, 0, 1, "discount", "gae_lambda")
        require(self, 0, math.inf, "learning_rate", "clip_eps", "max_kl", "entropy_coef")
        require(self, 0, math.inf, "max_grad_norm")
        require(self, 1e-3, math.inf, "final_std")

    @property
    def expert(self) -> None:
        """Nobody's actions are wanted."""
        return None

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> PPOState:
        """A fresh agent for a domain of this spec.

        Raises:
            HeadstartError: a name of an encoder or a memory is unknown, or does not suit; or there
                are to be heads or pcgrad, and nothing tells the task.
        """
        actor_key, critic_key = jax.random.split(key)
        chosen = self.encoders
        told = self.heads or self.pcgrad
        if told and CONTEXT in spec.groups:
            # By statistics of a single task, whichever it is, nothing would be told.
            chosen = (f"{CONTEXT}=identity", *chosen)
        encoders = encoders_for(spec, "statistics", chosen, jax.random.fold_in(key, 2))
        privileged = privileged_encoders(spec, "statistics", key)
        remembers: Any = MEMORIES.find(self.memory)
        memory_keys = jax.random.split(jax.random.fold_in(key, 4))
        act = spec.actions.width
        own = remembers(encoders.size, act, self.memory_size, memory_keys[0])
        size = encoders.size + privileged.size
        critics = remembers(size, act, self.memory_size, memory_keys[1])
        actor = stochastic_actor(own.size, spec.actions, self.hidden, actor_key)
        value = MLP((critics.size, *self.hidden, 1), 1.0, critic_key)
        tasks = 1
        heads = heads_for(spec.groups, encoders, spec.name) if told else None
        if self.heads and heads is not None:
            actor = with_network(actor, cast(MLP, actor.network).with_heads(heads))
            value, tasks = value.with_heads(heads), heads[1]
        judge_key = jax.random.fold_in(key, 3)
        judge = hooks.auxiliary and hooks.auxiliary.init(encoders, judge_key)
        policy = policy_for(spec, actor, encoders, own)
        critic = Critic(critics, privileged, value)
        return self._with_parts(policy, critic, Statistics(Group((tasks,))), judge)

    def _with_parts(
        self, policy: ActorPolicy, critic: Critic, returns: Statistics, auxiliary: PyTree = None
    ) -> PPOState:
        """An agent that starts from these parts, with a fresh optimiser."""
        opt_state = self._optimiser.init(trained(policy, critic))  # pyright: ignore[reportArgumentType]
        return PPOState(policy, critic, returns, opt_state, auxiliary)

    def behaviour(self, state: PPOState, progress: Progress) -> AbstractPolicy:
        """The policy; where it has a memory, the critic's goes along."""
        if self.memory == "none":
            return state.policy
        return ActorCritic(state.policy, state.critic)

    def arranged(self, tried: Episodes, weight: np.ndarray | None = None) -> Rollout:
        """Whole episodes as a rollout; each in a column of its own where there is a memory."""
        rollout = tried.column if self.memory == "none" else tried.columns
        return rollout(self.minibatch_size, weight)

    def policy(self, state: PPOState) -> ActorPolicy:
        """What was learned to do."""
        return state.policy

    def knowledge(self, state: PPOState) -> Knowledge:
        """What the agent learned, as parts: policy, statistics or encoder, the critic with the
        scale of its values, how many returns this is of, and the optimiser's moments."""
        returns = state.returns
        critic = state.critic, returns.mean, returns.var
        knowledge = knowledge_of(state.policy).with_part("critic", critic)
        knowledge = knowledge.with_part("returns", returns.count)
        return knowledge.with_part("optimiser", state.opt_state)

    def graft(self, knowledge: Knowledge, state: PPOState) -> PPOState:
        """`state` with every part that `knowledge` holds put in its place; its optimiser is fresh
        where the knowledge has none, and the scale of returns that nothing counts soon gives way to
        that of new ones."""
        critic, returns = state.critic, state.returns
        if "critic" in knowledge.parts:
            critic, *scale = knowledge.graft("critic", (critic, returns.mean, returns.var))
            count = knowledge.graft_held("returns", jnp.ones_like(returns.count))
            returns = eqx.tree_at(lambda r: (r.mean, r.var, r.count), returns, (*scale, count))
        policy = grafted(state.policy, knowledge, every=False)
        state = self._with_parts(policy, critic, returns, state.auxiliary)
        moments = knowledge.graft_held("optimiser", state.opt_state)
        return eqx.tree_at(lambda s: s.opt_state, state, moments)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            optax.scale_by_adam(eps=1e-5),
        )

    def update(
        self,
        state: PPOState,
        rollout: Rollout,
        progress: Progress,
        hooks: Hooks,
        key: PRNGKeyArray,
    ) -> tuple[PPOState, Metrics]:
        """Improve the agent on what its behaviour policy has just done.

        Raises:
            HeadstartError: the rollout cannot be cut into minibatches.
        """
        time, env = rollout.steps.reward.shape
        each, unit = self._cut(time)
        units = time * env // unit
        if units % each:
            raise HeadstartError(
                f"{env} environments × {time} steps is not a multiple of the minibatch of "
                f"{each * unit}: change learner.num_envs, rollout_length or minibatch_size"
            )
        share = progress.share
        rate = jnp.asarray(self.learning_rate * (1 - 0.9 * share), jnp.float32)
        state, log = _update(self, state, rollout, rate, share, hooks, key)
        if isinstance(state.policy.actor, GaussianActor):
            narrowing = max(share - NARROWS, 0.0) / (1 - NARROWS)
            actor = state.policy.actor.narrowed(narrowing * math.log(self.final_std))
            state = eqx.tree_at(lambda s: s.policy.actor, state, actor)
        return state, log

    def _cut(self, time: int) -> tuple[int, int]:
        """How many units a minibatch has, and how many steps a unit: one, or a whole column."""
        if self.memory == "none":
            return self.minibatch_size, 1
        return max(self.minibatch_size // time, 1), time


def advantages(
    reward: Float[Array, "time env"],
    value: Float[Array, "time env"],
    next_value: Float[Array, "time env"],
    terminated: Bool[Array, "time env"],
    truncated: Bool[Array, "time env"],
    discount: float,
    gae_lambda: float,
) -> Float[Array, "time env"]:
    """GAE(λ). `next_value` is V of where each action led, also where an episode was truncated."""
    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    decay = discount * gae_lambda * (1.0 - (terminated | truncated))

    def back(advantage, step):
        delta, decay = step
        advantage = delta + decay * advantage
        return advantage, advantage

    _, result = jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
    return result


def standardised(
    x: Float[Array, "time env"], weight: Float[Array, "time env"]
) -> Float[Array, "time env"]:
    """With mean 0 and deviation 1 among what has weight."""
    mean = (weight * x).sum() / weight.sum()
    std = jnp.sqrt((weight * (x - mean) ** 2).sum() / weight.sum())
    return (x - mean) / (std + 1e-8)


class Samples(NamedTuple):
    """What a minibatch is drawn from, unit by unit: steps `[units, ...]` or, with a memory, columns
    `[units, time, ...]`. A time axis of one would cost a fifth of the speed."""

    seen: PyTree
    """Features; or groups, where encoders are learned."""
    privileged: Array | None
    last_action: Array
    begins: Array
    memory: Memory
    """Of policy and critic at each unit's start, `[units, ...]`."""
    action: Array
    log_prob: Array
    advantage: Array
    value: Array
    weight: Array
    valid: Array
    opinion: Array | None
    """An anchor's, if it has one."""
    task: Array | None
    """As one-hot, where gradients of tasks are projected."""

    def take(self, rows: Array) -> "Samples":
        """Some units; columns side by side, `[time, units, ...]`."""
        taken = jax.tree.map(lambda x: x[rows], self)
        return taken.turned() if self.memory else taken

    def turned(self) -> "Samples":
        """Columns by time first where they were by unit first, and the other way round."""
        turned = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), self._replace(memory=()))
        return turned._replace(memory=self.memory)


@partial(jax.jit, static_argnums=0)
def _update(
    ppo: PPO,
    state: PPOState,
    rollout: Rollout,
    rate: Array,
    progress: Any,
    hooks: Hooks,
    key: PRNGKeyArray,
) -> tuple[PPOState, Metrics]:
    samples, returns, critic = _prepared(ppo, state, rollout, hooks.anchor)
    policy, auxiliary = state.policy, hooks.auxiliary
    factors = Rates() if hooks.rates is None else hooks.rates
    count = len(samples.weight)
    each, _ = ppo._cut(rollout.steps.reward.shape[0])
    # Padding fills whole units of one step, and the ends of columns.
    used = samples.valid.reshape(count, -1).max(1)
    visited = jnp.ceil(used.sum() / each).astype(int)
    loss = partial(_loss, ppo, policy, hooks, progress)
    gradient_of = jax.grad(loss, has_aux=True)

    def minibatch(carry, rows, key):
        parts, opt_state, moving, judge = carry
        parameters = None if auxiliary is None else judge.parameters
        taken, learned = samples.take(rows), (parts, parameters)
        if taken.task is None:
            (gradient, judge_gradient), log = gradient_of(learned, taken, key)
        else:
            (gradient, judge_gradient), log = _surgery(loss, learned, taken, key)
        if auxiliary is not None:
            judge = auxiliary.updated(judge, judge_gradient)
        step: Any
        step, opt_state = ppo._optimiser.update(gradient, opt_state)
        moving = moving & (log["kl"] <= ppo.max_kl)
        # Learned encoders are the policy's as much as the critic's: they stand still with it.
        held = jnp.where(moving, rate, 0.0)
        rates = held * factors.policy, rate * factors.critic, held * factors.encoder
        parts = tuple(
            jax.tree.map(lambda p, s, r=r: p - r * s, part, part_step)
            for part, part_step, r in zip(parts, step, rates, strict=True)
        )
        return (parts, opt_state, moving, judge), log

    def epoch(carry, key):
        # Padding sorts to the end, and only the minibatches before it are visited.
        order = jnp.argsort(jax.random.uniform(key, (count,)) + (1.0 - used))

        def visit(carry, i_rows):
            i, rows = i_rows
            step_key = jax.random.fold_in(key, i)
            if rollout.valid is None:
                return minibatch(carry, rows, step_key)
            log = jax.eval_shape(minibatch, carry, rows, step_key)[1]
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log)
            return jax.lax.cond(
                i < visited,
                lambda carry: minibatch(carry, rows, step_key),
                lambda carry: (carry, nothing),
                carry,
            )

        rows = order.reshape(-1, each)
        carry, log = jax.lax.scan(visit, carry, (jnp.arange(len(rows)), rows))
        return carry, jax.tree.map(lambda x: x[visited - 1], log)

    start = trained(policy, critic), state.opt_state, jnp.array(True), state.auxiliary
    (parts, opt_state, _, judge), log = jax.lax.scan(
        epoch, start, jax.random.split(key, ppo.epochs)
    )
    head, (critic_memory, value), learned = parts
    valid = jnp.ones(rollout.steps.reward.size) if rollout.valid is None else rollout.valid
    valid = valid.reshape(-1)
    encoders, privileged = policy.encoders.updated(learned), critic.privileged
    if factors.statistics:
        encoders = encoders.merge(rollout.steps.obs, valid)
        privileged = privileged.merge(rollout.steps.obs, valid)
    policy = eqx.tree_at(lambda p: (p.actor, p.memory, p.encoders), policy, (*head, encoders))
    critic = Critic(critic_memory, privileged, value)
    log = jax.tree.map(lambda x: x[-1], log)
    return PPOState(policy, critic, returns, opt_state, judge), log


def _prepared(
    ppo: PPO, state: PPOState, rollout: Rollout, anchor: Anchor | None = None
) -> tuple[Samples, Statistics, Critic]:
    """What minibatches are drawn from, the statistics of returns, and the critic in their units."""
    policy, critic, steps = state.policy, state.critic, rollout.steps
    told = rollout.timesteps()
    # The behaviour policy normalised with the old statistics: so must π_old and the old values.
    encoded = partial(jax.lax.map, policy.encoders) if policy.encoders.learned else policy.encoders
    features, next_features = encoded(steps.obs), encoded(steps.next_obs)
    last, taken = (described(a, policy.actions) for a in (told.last_action, steps.action))
    recurrent = ppo.memory != "none"
    memory = rollout.memory
    if recurrent and not memory:  # whole episodes begin with nothing remembered
        env = rollout.begins.shape[0]
        memory = policy.initial(env), critic.memory.initial(env)
    own, critics = memory if recurrent else ((), ())
    heads = critic.value.heads
    of = None if heads is None else task_of(features, heads)
    task = 0 if of is None else of.argmax(-1)
    scale, shift = _units(state.returns, task)

    x = critic.privileged.beside(features, steps.obs)
    remembered, states = critic.memory.unroll(x, last, told.begins, critics)
    value = critic.value(remembered)[..., 0] * scale + shift
    led_to = critic.privileged.beside(next_features, steps.next_obs)
    led_to = ahead(critic.memory, led_to, taken, states)
    next_value = critic.value(led_to)[..., 0] * scale + shift
    gae = advantages(
        steps.reward, value, next_value, steps.terminated, steps.truncated,
        ppo.discount, ppo.gae_lambda,
    )  # fmt: skip
    ones = jnp.ones_like(steps.reward)
    valid = ones if rollout.valid is None else rollout.valid
    weight = valid if rollout.weight is None else rollout.weight * valid
    counts = valid.reshape(-1) if of is None else rows(valid[..., None] * of)
    returns = state.returns.merge((value + gae).reshape(-1, 1), counts, limit=1e5)
    new_scale, new_shift = _units(returns, task)
    if of is None:
        advantage = standardised(gae, weight)
        before, after = (scale, shift), (new_scale, new_shift)
    else:
        of_task = weight[..., None] * of
        each = jax.vmap(standardised, (None, 2), 2)(gae, of_task)
        # A task that was not met has no mean, and padding, which tells no task, is of the first.
        advantage = jnp.where(of_task > 0, each, 0.0).sum(-1)
        tasks = jnp.arange(of.shape[-1])
        before, after = _units(state.returns, tasks), _units(returns, tasks)
    network = rescaled(critic.value, before[0] / after[0], (before[1] - after[1]) / after[0])
    x, _ = policy.memory.unroll(features, last, told.begins, own)
    actor = cast(StochasticActor, policy.actor)
    log_prob, _ = actor.log_prob_and_entropy(x, steps.action)

    seen = {n: steps.obs[n] for n in policy.reads} if policy.encoders.learned else features
    samples = Samples(
        seen, critic.privileged(steps.obs) if critic.privileged.reads else None,
        last, told.begins, memory, steps.action, log_prob, advantage,
        (value + gae - new_shift) / new_scale, weight, valid,
        None if anchor is None else anchor.opinion(told),
        task_told(policy, features) if ppo.pcgrad else None,
    )  # fmt: skip
    samples = samples.turned() if recurrent else rows(samples)
    return samples, returns, Critic(critic.memory, critic.privileged, network)


def _units(returns: Statistics, task: int | Int[Array, "..."]) -> tuple[Array, Array]:
    """What values of tasks are multiplied with, and what is added, to be in the rewards' units."""
    return jnp.sqrt(returns.var[task] + 1e-8), returns.mean[task]


def _loss(
    ppo: PPO,
    policy: ActorPolicy,
    hooks: Hooks,
    progress: Any,
    learned: tuple[PyTree, PyTree],
    s: Samples,
    key: PRNGKeyArray,
    task: Array | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """PPO's loss of its parts, and an auxiliary's of its own, on some samples; `policy` is for what
    is not trained. With `task`, 1 where a sample is of it and 0 elsewhere: its part of the loss,
    without what is of no task, which are the entropy's bonus, anchors and auxiliaries."""
    parts, parameters = learned
    (actor, memory), (critic_memory, critic), encoding = parts
    encoders = policy.encoders.updated(encoding)
    if encoding:
        layers = encoders.activations(s.seen)
        features = layers["features"]
    else:
        layers, features = {"features": s.seen}, s.seen
    own, critics = s.memory if s.memory else ((), ())
    x, _ = memory.unroll(features, s.last_action, s.begins, own)
    log_prob, entropy = actor.log_prob_and_entropy(x, s.action)
    # Where the weight is 0 nothing holds the ratio, and 0 · ∞ is not 0.
    log_ratio = jnp.where(s.weight > 0, log_prob - s.log_prob, 0.0)
    weight, valid = (s.weight, s.valid) if task is None else (task * s.weight, task * s.valid)
    total = jnp.maximum(s.weight.sum(), 1.0)
    policy_loss, clipped = clipped_surrogate(log_ratio, s.advantage, weight, ppo.clip_eps, total)
    judged = features
    if s.privileged is not None:
        judged = jnp.concatenate([features, s.privileged], axis=-1)
    remembered, _ = critic_memory.unroll(judged, s.last_action, s.begins, critics)
    error = critic(remembered)[..., 0] - s.value
    value_loss = 0.5 * (valid * error**2).sum() / jnp.maximum(s.valid.sum(), 1.0)
    if task is not None:
        return policy_loss + value_loss, {}
    log = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "kl": (s.weight * (jnp.exp(log_ratio) - 1 - log_ratio)).sum() / total,
        "clipped": clipped,
    }
    loss = policy_loss + value_loss - ppo.entropy_coef * entropy
    if hooks.anchor is not None:
        own = eqx.tree_at(
            lambda p: (p.actor, p.memory, p.encoders), policy, (actor, memory, encoders)
        )
        anchor_key = jax.random.fold_in(key, 1)
        held, judgement = hooks.anchor.loss(own, x, s.opinion, s.valid, anchor_key)
        loss, log = loss + held, log | judgement
    if hooks.auxiliary is not None:
        layers = rows(layers) if s.memory else layers
        further, judgement = hooks.auxiliary.loss(parameters, encoders, layers, progress, key)
        loss, log = loss + further, log | judgement
    return loss, log


def _surgery(
    loss: Any, learned: tuple[PyTree, PyTree], s: Samples, key: PRNGKeyArray
) -> tuple[tuple[Any, PyTree], Metrics]:
    """The gradient of a loss, where that of a task's part is projected if it goes against
    another's; and the log."""
    (gradient, judge), log = jax.grad(loss, has_aux=True)(learned, s, key)

    def part(learned: tuple[PyTree, PyTree], task: Array) -> tuple[Array, Metrics]:
        return loss(learned, s, key, task)

    assert s.task is not None
    (gradients, _), _ = by_task(part, learned, jnp.ones_like(s.weight), s.task)
    agreed = tuple(by_parts(gradients, jax.random.fold_in(key, 3)))
    changed = jax.tree.map(lambda g, each, a: g - each.sum(0) + a, gradient, gradients, agreed)
    return (changed, judge), log


def clipped_surrogate(
    log_ratio: Float[Array, "..."],
    advantage: Float[Array, "..."],
    weight: Float[Array, "..."],
    clip_eps: float,
    total: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """−Σ w min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), and the weight of ratios outside the clip, both over
    `total`, which is the sum of all weights."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip_eps, 1 + clip_eps)
    gain = jnp.minimum(ratio * advantage, clipped * advantage)
    outside = (weight * (jnp.abs(ratio - 1) > clip_eps)).sum() / total
    return -(weight * gain).sum() / total, outside


def trained(policy: ActorPolicy, critic: Critic) -> tuple[Any, Any, dict[str, Any]]:
    """What the gradient changes: the policy's head, the critic's, and learned encoders."""
    head = policy.actor, policy.memory
    return head, (critic.memory, critic.value), policy.encoders.learned_part
