"""SAC: soft actor-critic (Haarnoja et al., 2018, arXiv 1801.01290 and 1812.05905).

    y = r + γ (min_i Q̄_i(s′, a′) − α log π(a′ | s′)),   a′ ~ π(· | s′)
    L_Q = Σ_i E[(Q_i(s, a) − y)²],   L_π = E[α log π(a | s) − min_i Q_i(s, a)],   a ~ π(· | s)
    L_α = −log α E[log π(a | s) + H],   H = −dim a

with Q̄ a slow copy of the critics. A temperature that is held up keeps every way open that is about
as good as the best, and one that is held at nearly 0 settles on a way. Transitions may have
weights, which all three means take. All three are one loss, so that a gradient step is one backward
pass, and many steps are one compiled call.

With a memory, it learns from windows of consecutive steps, begun with nothing remembered: the
first `burn_in` of them fill the memories and are not learned from. Actor and critics have memories
of their own, since a shared one serves the critics alone (Ni et al., ICML 2022, 2110.05038).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.replay import Batch, n_step, window_rollout
from headstart.experience.transition import Rollout, Transition
from headstart.knowledge import Knowledge
from headstart.learners.learner import NO_HOOKS, Hooks, Metrics, Progress
from headstart.learners.off_policy import OffPolicyState, begun, scaled, update
from headstart.learners.pcgrad import by_parts, by_task, joined
from headstart.learners.popart import PopArt, in_new_units
from headstart.policies.actors import SquashedGaussianActor
from headstart.policies.encoders import Encoders, encoders_for, privileged_encoders
from headstart.policies.memory import MEMORIES, AbstractMemory, ahead
from headstart.policies.networks import MLP, rows, task_of
from headstart.policies.policy import (
    AbstractPolicy,
    ActorPolicy,
    UniformPolicy,
    described,
    grafted,
    heads_for,
    knowledge_of,
    policy_for,
    task_told,
    with_network,
)
from headstart.pytree import PyTree


class QCritic(eqx.Module):
    """Q of what was told so far and an action."""

    memory: AbstractMemory
    value: MLP

    def __call__(self, x: Float[Array, "... obs"], action: Float[Array, "... act"]) -> Array:
        """Q `[...]` of features that went through the memory."""
        return self.value(jnp.concatenate([x, action], axis=-1))[..., 0]


Critics = tuple[QCritic, QCritic]
COLD = 1e-6
"""The lowest temperature."""


class Learned(NamedTuple):
    """What a gradient changes."""

    policy: tuple[Any, AbstractMemory]
    """Its actor and its memory."""
    critics: Critics
    log_temperature: Array


class SACAgent(eqx.Module):
    """All that SAC learns."""

    policy: ActorPolicy
    privileged: Encoders
    """Of what the critics read and the policy does not."""
    critics: Critics
    slow_critics: Critics
    log_temperature: Float[Array, ""]
    opt_state: optax.OptState
    popart: PopArt | None = None


@dataclass(frozen=True)
class SAC:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of actor and critics alike."""
    memory: str = "none"
    """What is carried from step to step: none, or gru."""
    memory_size: int = 64
    """Width of the memory, if there is one."""
    window: int = 32
    """Consecutive steps that are learned from together, with a memory."""
    burn_in: int = 8
    """Steps at a window's start that only fill the memory."""
    encoders: tuple[str, ...] = ()
    """Encoders in place of the usual ones, as group=name or group=module:Class."""
    num_envs: int = 8
    """Copies of the environment stepped at once."""
    rollout_length: int = 8
    """Steps of each copy between two rounds of updates."""
    updates_per_step: float = 1.0
    """Gradient steps for each step of the environment."""
    batch_size: int = 256
    """Transitions in a gradient step."""
    buffer_size: int = 1_000_000
    """Transitions that are remembered."""
    learning_starts: int = 10_000
    """Steps at the start with actions uniformly at random, without updates."""
    priming: int = 0
    """Gradient steps taken at once, and in addition, where learning begins in the source."""
    learning_rate: float = 3e-4
    """Adam's step size, for actor, critics and temperature."""
    temperature: float = 0.1
    """α at the start."""
    entropy: float | None = -1.0
    """H, in nats for each dimension of the action, at which adjusting α keeps the entropy; if none
    is given, α is held. The most, of uniformly random actions, is 0.69."""
    discount: float = 0.99
    """γ."""
    tau: float = 0.005
    """How far the slow critics move towards the critics at each gradient step."""
    reward_scale: float = 1.0
    """What rewards, as corrected by a method, are multiplied with."""
    heads: bool = False
    """Whether each task that the context tells as one-hot has output layers of its own."""
    pcgrad: bool = False
    """Whether gradients of tasks, told as one-hot, that go against each other are projected."""
    popart: bool = False
    """Whether values are learned in units of their own spread, by task where there are heads; the
    temperature is in these units too."""
    accepts: ClassVar[frozenset[str]] = frozenset(
        {"anchor", "hindsight", "kept", "rates", "temperature", "transform"}
    )
    parts: ClassVar[tuple[str, ...]] = (
        "policy", "statistics", "critic", "temperature", "returns", "optimiser",
    )  # fmt: skip
    on_policy: ClassVar[bool] = False
    n_step: ClassVar[int] = 1

    def __post_init__(self):
        require(self, 1, math.inf, "num_envs", "rollout_length", "batch_size", "buffer_size")
        require(self, 1, math.inf, "hidden", "memory_size", "window")
        require(self, 0, math.inf, "updates_per_step", "learning_starts", "learning_rate")
        require(self, 0, math.inf, "priming", "reward_scale")
        require(self, 0, 1, "discount", "tau")
        require(self, COLD, math.inf, "temperature")
        if self.entropy is not None:
            require(self, -math.inf, math.log(2), "entropy")
        require(self, 0, self.window - 1, "burn_in")
        if self.memory != "none" and self.batch_size % self.window:
            raise HeadstartError(
                f"a batch of {self.batch_size} is not made of windows of {self.window}: change "
                "batch_size or window"
            )

    @property
    def expert(self) -> None:
        """Nobody's actions are wanted."""
        return None

    def held_at(self, temperature: float) -> "SAC":
        """The same with α held, at 10⁻⁶ instead of 0."""
        return replace(self, temperature=max(temperature, COLD), entropy=None)

    @property
    def length(self) -> int:
        return 1 if self.memory == "none" else self.window

    @property
    def windows(self) -> int:
        return self.batch_size // self.length

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> OffPolicyState:
        """A fresh agent for a domain of this spec.

        Raises:
            HeadstartError: the actions are discrete, an observation is an image that is not read by
                codes, a window is longer than what is kept, or all of `total` steps would be
                random.
        """
        if spec.actions.discrete:
            raise HeadstartError(
                f"SAC takes continuous actions, and {spec.name} has actions that are "
                f"{spec.actions}: use learner.algorithm ppo or dqn"
            )
        actor_key, first_key, second_key = jax.random.split(key, 3)
        encoders = encoders_for(spec, "identity", self.encoders, jax.random.fold_in(key, 4))
        privileged = privileged_encoders(spec, "identity", key)
        by_gradient = {**encoders.learned_part, **privileged.learned_part}
        if images := [name for name in by_gradient if spec.groups[name].kind == "image"]:
            raise HeadstartError(
                f"SAC trains no convolutions, and {', '.join(images)} of {spec.name} would be read "
                "through such: read images by codes, as learner.encoders = "
                f'["{images[0]}=codes"], or use learner.algorithm ppo'
            )
        act, remembers = spec.actions.width, cast(Any, MEMORIES.find(self.memory))
        memory_keys = jax.random.split(jax.random.fold_in(key, 5), 3)
        own = remembers(encoders.size, act, self.memory_size, memory_keys[0])
        actor = SquashedGaussianActor(own.size, spec.actions, self.hidden, actor_key)
        size = encoders.size + privileged.size
        known = heads_for(spec.groups, encoders, spec.name) if self.heads or self.pcgrad else None
        heads = known if self.heads else None
        if heads is not None:
            actor = with_network(actor, cast(MLP, actor.network).with_heads(heads))

        def critic(memory_key: PRNGKeyArray, key: PRNGKeyArray) -> QCritic:
            memory = remembers(size, act, self.memory_size, memory_key)
            value = MLP((memory.size + act, *self.hidden, 1), 1.0, key, jax.nn.relu)
            return QCritic(memory, value if heads is None else value.with_heads(heads))

        critics = critic(memory_keys[1], first_key), critic(memory_keys[2], second_key)
        log_temperature = jnp.array(math.log(self.temperature), jnp.float32)
        policy = policy_for(spec, actor, encoders, own)
        agent = self._agent(policy, privileged, critics, log_temperature)
        return begun(self, spec, agent, total)

    def _agent(
        self, policy: ActorPolicy, privileged: Encoders, critics: Critics, log_temperature: Array
    ) -> SACAgent:
        """One that starts from these parts, with a fresh optimiser."""
        parts: PyTree = Learned((policy.actor, policy.memory), critics, log_temperature)
        opt_state = self._optimiser.init(parts)
        heads = critics[0].value.heads
        scales = PopArt.fresh(heads[1] if heads else 1) if self.popart else None
        return SACAgent(policy, privileged, critics, critics, log_temperature, opt_state, scales)

    def behaviour(self, state: OffPolicyState, progress: Progress) -> AbstractPolicy:
        """What to act with while learning: at random first, then the policy."""
        if progress.done < self.learning_starts:
            return UniformPolicy(state.policy.actions)
        return state.policy

    def policy(self, state: OffPolicyState) -> ActorPolicy:
        """What was learned to do."""
        return state.policy

    def knowledge(self, state: OffPolicyState) -> Knowledge:
        """What the agent learned: policy, critic, optimiser, and the temperature if not held."""
        knowledge = knowledge_of(state.policy).with_part("critic", state.agent.critics)
        knowledge = knowledge.with_part("optimiser", state.agent.opt_state)
        if state.agent.popart is not None:
            knowledge = knowledge.with_part("returns", state.agent.popart)
        if self.entropy is None:
            return knowledge
        return knowledge.with_part("temperature", state.agent.log_temperature)

    def graft(self, knowledge: Knowledge, state: OffPolicyState) -> OffPolicyState:
        """`state` with every part that `knowledge` holds put in its place; its optimiser is fresh
        where the knowledge has none, and a temperature that is held stays where it is held.

        What was remembered of the source is not carried over: the replay is `state`'s.
        """
        critics = knowledge.graft_held("critic", state.agent.critics)
        log_temperature = state.agent.log_temperature
        if self.entropy is not None:
            log_temperature = knowledge.graft_held("temperature", log_temperature)
        policy = grafted(state.policy, knowledge, every=False)
        agent = self._agent(policy, state.agent.privileged, critics, log_temperature)
        moments = knowledge.graft_held("optimiser", agent.opt_state)
        agent = eqx.tree_at(lambda a: a.opt_state, agent, moments)
        if agent.popart is not None:
            agent = replace(agent, popart=knowledge.graft_held("returns", agent.popart))
        return OffPolicyState(agent, state.replay, state.transform)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def update(
        self,
        state: OffPolicyState,
        rollout: Rollout,
        progress: Progress,
        hooks: Hooks,
        key: PRNGKeyArray,
    ) -> tuple[OffPolicyState, Metrics]:
        """Remember a rollout, then take the gradient steps that are due."""
        return update(self, state, rollout, progress, hooks, key)

    def _skipped(self) -> int:
        """Steps at a window's start that are not learned from."""
        return 0 if self.memory == "none" else self.burn_in

    def batch(self, window: Transition) -> Batch:
        """The transitions of windows `[time, windows]` after the burn-in, side by side."""
        return n_step(
            jax.tree.map(lambda x: rows(x[self._skipped() :])[None], window), self.discount
        )

    def step(
        self,
        agent: SACAgent,
        window: Transition,
        batch: Batch,
        hooks: Hooks,
        share: Any,
        key: PRNGKeyArray,
    ) -> tuple[SACAgent, Metrics]:
        """One gradient step; to be called from compiled code."""
        next_key, act_key = jax.random.split(key)
        temperature = jnp.exp(agent.log_temperature)
        actor = cast(SquashedGaussianActor, agent.policy.actor)
        told = window_rollout(window).timesteps()
        last, taken = (
            described(a, agent.policy.actions) for a in (told.last_action, window.action)
        )
        x, next_x = (agent.policy.encoders(obs) for obs in (window.obs, window.next_obs))
        judged = agent.privileged.beside(x, window.obs)
        next_judged = agent.privileged.beside(next_x, window.next_obs)

        def remembered(memory: AbstractMemory, x: Array, next_x: Array) -> tuple[Array, Array]:
            """What a memory makes of every step, and of where its action led, `[batch, size]`."""
            out, states = memory.unroll(x, last, told.begins, memory.initial(x.shape[1]))
            led_to = ahead(memory, next_x, taken, states)
            return rows(out[self._skipped() :]), rows(led_to[self._skipped() :])

        _, led_to = remembered(agent.policy.memory, x, next_x)
        next_action, next_log_prob = actor.sample_and_log_prob(led_to, next_key)
        next_values = [
            critic(remembered(critic.memory, judged, next_judged)[1], next_action)
            for critic in agent.slow_critics
        ]
        popart, features = agent.popart, rows(x[self._skipped() :])
        unit = task_of(features, agent.critics[0].value.heads)
        soft_value = jnp.minimum(*next_values) - temperature * next_log_prob
        soft_value = soft_value if popart is None else popart.restored(soft_value, unit)
        backup = self.reward_scale * batch.reward + batch.discount * soft_value
        if hooks.hindsight is not None:
            backup = hooks.hindsight.held(backup, self.discount, self.reward_scale, soft=True)
        if popart is not None:
            agent, backup = in_new_units(agent, _valued, backup, unit)

        opinion = None if hooks.anchor is None else hooks.anchor.opinion(told)
        opinion = None if opinion is None else rows(opinion[self._skipped() :])

        def loss(parts: PyTree, weight: Array):
            (actor, memory), critics, log_temperature = parts
            heard = [remembered(critic.memory, judged, next_judged)[0] for critic in critics]
            values = [critic(h, batch.action) for critic, h in zip(critics, heard, strict=True)]
            errors = [(weight * (value - backup) ** 2).mean() for value in values]
            seen = remembered(memory, x, next_x)[0]
            action, log_prob = actor.sample_and_log_prob(seen, act_key)
            fixed = jax.lax.stop_gradient((critics, heard))
            value = jnp.minimum(*(critic(h, action) for critic, h in zip(*fixed, strict=True)))
            actor_loss = (weight * (temperature * log_prob - value)).mean()
            excess = 0.0
            if self.entropy is not None:
                above = jax.lax.stop_gradient(log_prob + self.entropy * action.shape[-1])
                excess = (weight * above).mean()
            log = {
                "critic_loss": sum(errors),
                "actor_loss": actor_loss,
                "entropy": -log_prob.mean(),
                "temperature": temperature,
                "value": values[0].mean(),
            }
            total = sum(errors) + actor_loss - log_temperature * excess
            if hooks.anchor is None:
                return total, log
            policy = eqx.tree_at(lambda p: (p.actor, p.memory), agent.policy, (actor, memory))
            anchor_key = jax.random.fold_in(key, 2)
            held, judged_by = hooks.anchor.loss(policy, seen, opinion, weight, anchor_key)
            return total + held, log | judged_by

        own = actor, agent.policy.memory
        parts: PyTree = Learned(own, agent.critics, agent.log_temperature)
        gradient: Any
        if self.pcgrad:
            task = task_told(agent.policy, features)
            gradients, logs = by_task(loss, parts, batch.weight, task)
            gradient, log = Learned(*by_parts(gradients, jax.random.fold_in(key, 3))), joined(logs)
        else:
            gradient, log = jax.grad(loss, has_aux=True)(parts, batch.weight)
        step, opt_state = self._optimiser.update(gradient, agent.opt_state)
        if hooks.rates is not None:
            rates = hooks.rates.policy, hooks.rates.critic, hooks.rates.temperature
            changes = zip(cast(Any, step), rates, strict=True)
            step = cast(Any, Learned(*(scaled(change, rate) for change, rate in changes)))
        parts = optax.apply_updates(parts, step)
        (actor, memory), critics, log_temperature = parts
        slow: PyTree = optax.incremental_update(critics, agent.slow_critics, self.tau)  # pyright: ignore
        policy = eqx.tree_at(lambda p: (p.actor, p.memory), agent.policy, (actor, memory))
        agent = SACAgent(
            policy, agent.privileged, critics, slow, log_temperature, opt_state, agent.popart
        )
        return agent, log


def _valued(agent: SACAgent) -> list[MLP]:
    """The networks that give values."""
    return [critic.value for critic in (*agent.critics, *agent.slow_critics)]
