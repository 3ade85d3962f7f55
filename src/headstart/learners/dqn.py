"""DQN: deep Q-learning (Mnih et al., 2015), double (van Hasselt et al., 2016), over n steps.

    y = Σ_k γᵏ r_k + γⁿ Q̄(s_n, argmax_a Q(s_n, a)),   L = E[huber(Q(s, a) − y)]

with Q̄ a slow copy of Q. Observations are vectors, or images seen through convolutions.

With a temperature α it is soft Q-learning (Haarnoja et al., 2017, 1702.08165), which keeps every
way open that is about as good as the best:

    y = r + γ Σ_a π(a | s′) (Q̄(s′, a) − α log π(a | s′)),   π(a | s) ∝ e^{Q(s, a) / α}
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

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
from headstart.learners.pcgrad import by_task, joined, projected
from headstart.learners.popart import PopArt, in_new_units
from headstart.policies.actors import GreedyActor, categorical_entropy
from headstart.policies.encoders import encoders_for
from headstart.policies.memory import NoMemory
from headstart.policies.networks import MLP, task_of
from headstart.policies.policy import (
    AbstractPolicy,
    ActorPolicy,
    UniformPolicy,
    grafted,
    heads_for,
    knowledge_of,
    learned_parts,
    policy_for,
    task_told,
    with_learned_parts,
    with_network,
)
from headstart.pytree import PyTree


class DQNAgent(eqx.Module):
    """All that DQN learns."""

    policy: ActorPolicy
    slow_policy: ActorPolicy
    opt_state: optax.OptState
    auxiliary: PyTree = None
    popart: PopArt | None = None


@dataclass(frozen=True)
class DQN:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (128,)
    """Widths of the hidden layers after the encoder."""
    num_envs: int = 16
    """Copies of the environment stepped at once."""
    rollout_length: int = 4
    """Steps of each copy between two rounds of updates."""
    updates_per_step: float = 0.25
    """Gradient steps for each step of the environment."""
    batch_size: int = 64
    """Transitions in a gradient step."""
    buffer_size: int = 50_000
    """Transitions that are remembered."""
    learning_starts: int = 1_000
    """Steps at the start with actions uniformly at random, without updates."""
    priming: int = 0
    """Gradient steps taken at once, and in addition, where learning begins in the source."""
    learning_rate: float = 5e-4
    """Adam's step size."""
    discount: float = 0.99
    """γ."""
    n_step: int = 3
    """n: rewards summed before the value of where they led."""
    tau: float = 0.01
    """How far the slow copy moves towards Q at each gradient step."""
    epsilon: float = 0.05
    """Share of random actions, once it has fallen from 1."""
    exploration: float = 0.3
    """Share of the training over which it falls."""
    temperature: float = 0.0
    """α of soft Q-learning, which explores by itself, without ε; 0: only the best action counts."""
    heads: bool = False
    """Whether each task that the context tells as one-hot has an output layer of its own."""
    pcgrad: bool = False
    """Whether gradients of tasks, told as one-hot, that go against each other are projected."""
    popart: bool = False
    """Whether values are learned in units of their own spread, by task where there are heads."""
    max_grad_norm: float = 10.0
    """Gradients are scaled down to this norm."""
    reward_scale: float = 1.0
    """What rewards, as corrected by a method, are multiplied with."""

    encoders: tuple[str, ...] = ()
    """Encoders in place of the usual ones, as group=name or group=module:Class."""
    accepts: ClassVar[frozenset[str]] = frozenset(
        {"anchor", "auxiliary", "hindsight", "kept", "rates", "temperature", "transform"}
    )
    parts: ClassVar[tuple[str, ...]] = ("policy", "statistics", "encoder", "returns", "optimiser")
    on_policy: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "num_envs", "rollout_length", "batch_size", "buffer_size")
        require(self, 1, math.inf, "n_step", "hidden")
        require(self, 0, math.inf, "updates_per_step", "learning_starts", "learning_rate")
        require(self, 0, math.inf, "max_grad_norm", "priming", "reward_scale", "temperature")
        require(self, 0, 1, "discount", "tau", "epsilon", "exploration")
        if self.temperature and self.popart:
            raise HeadstartError(
                "soft Q-learning compares values with a temperature in the rewards' own units: set "
                "learner.popart to false, or learner.temperature to 0"
            )
        if self.temperature and self.n_step != 1:
            raise HeadstartError(
                "soft Q-learning counts the entropy of one step at a time: set learner.n_step to "
                f"1, not {self.n_step}, or learner.temperature to 0"
            )

    @property
    def expert(self) -> None:
        """Nobody's actions are wanted."""
        return None

    def held_at(self, temperature: float) -> "DQN":
        """The same with this α."""
        return replace(self, temperature=temperature)

    @property
    def length(self) -> int:
        return self.n_step

    @property
    def windows(self) -> int:
        return self.batch_size

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> OffPolicyState:
        """A fresh agent for a domain of this spec.

        Raises:
            HeadstartError: the actions are not one choice, or all of `total` steps would be random.
        """
        if not spec.actions.discrete or spec.actions.shape:
            raise HeadstartError(
                f"DQN takes one choice for an action, and {spec.name} takes {spec.actions}: use "
                "learner.algorithm sac or ppo"
            )
        encoder_key, actor_key, auxiliary_key = jax.random.split(key, 3)
        encoders = encoders_for(spec, "identity", self.encoders, encoder_key)
        memory = NoMemory(encoders.size, spec.actions.width, 0, key)
        actor = GreedyActor(encoders.size, spec.actions, self.hidden, actor_key)
        heads = heads_for(spec.groups, encoders, spec.name) if self.heads or self.pcgrad else None
        if self.heads and heads is not None:
            actor = with_network(actor, cast(MLP, actor.network).with_heads(heads))
        judge = hooks.auxiliary and hooks.auxiliary.init(encoders, auxiliary_key)
        agent = self._agent(policy_for(spec, actor, encoders, memory), judge)
        return begun(self, spec, agent, total)

    def _agent(self, policy: ActorPolicy, auxiliary: PyTree) -> DQNAgent:
        """One that starts from this policy, at the learner's α and with a fresh optimiser."""
        temperature = jnp.float32(self.temperature)
        policy = eqx.tree_at(lambda p: p.actor.temperature, policy, temperature)
        heads = self._heads(policy)
        scales = PopArt.fresh(heads[1] if heads else 1) if self.popart else None
        opt_state = self._optimiser.init(learned_parts(policy))
        return DQNAgent(policy, policy, opt_state, auxiliary, scales)

    def _heads(self, policy: ActorPolicy) -> tuple[int, int] | None:
        """Where its features tell the task, if each has a head."""
        return cast(MLP, policy.actor.network).heads if self.heads else None

    def behaviour(self, state: OffPolicyState, progress: Progress) -> AbstractPolicy:
        """What to act with while learning: at random first, then ever more greedily, or by α."""
        if progress.done < self.learning_starts:
            return UniformPolicy(state.policy.actions)
        if self.temperature:
            return state.policy
        fallen = min(progress.share / self.exploration, 1.0) if self.exploration else 1.0
        epsilon = jnp.float32(1.0 + fallen * (self.epsilon - 1.0))
        return eqx.tree_at(lambda policy: policy.actor.epsilon, state.policy, epsilon)

    def policy(self, state: OffPolicyState) -> ActorPolicy:
        """What was learned to do."""
        return state.policy

    def knowledge(self, state: OffPolicyState) -> Knowledge:
        """What the agent learned: the policy, which is greedy for its Q-function, the scale of its
        values, if there is one, and the optimiser."""
        knowledge = knowledge_of(state.policy).with_part("optimiser", state.agent.opt_state)
        if state.agent.popart is None:
            return knowledge
        return knowledge.with_part("returns", state.agent.popart)

    def graft(self, knowledge: Knowledge, state: OffPolicyState) -> OffPolicyState:
        """`state` with every part that `knowledge` holds put in its place; its optimiser is fresh
        where the knowledge has none."""
        policy = grafted(state.policy, knowledge, every=False)
        agent = self._agent(policy, state.auxiliary)
        moments = knowledge.graft_held("optimiser", agent.opt_state)
        agent = eqx.tree_at(lambda a: a.opt_state, agent, moments)
        if agent.popart is not None:
            agent = replace(agent, popart=knowledge.graft_held("returns", agent.popart))
        return OffPolicyState(agent, state.replay, state.transform)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        clip = optax.clip_by_global_norm(self.max_grad_norm)
        return optax.chain(clip, optax.adam(self.learning_rate))

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

    def batch(self, window: Transition) -> Batch:
        """Transitions over at most n steps, from windows of n."""
        return n_step(window, self.discount)

    def step(
        self,
        agent: DQNAgent,
        window: Transition,
        batch: Batch,
        hooks: Hooks,
        share: Any,
        key: PRNGKeyArray,
    ) -> tuple[DQNAgent, Metrics]:
        """One gradient step; to be called from compiled code."""
        auxiliary, anchor, popart = hooks.auxiliary, hooks.anchor, agent.popart
        told = window_rollout(window).timesteps()
        opinion = None if anchor is None else anchor.opinion(told)
        rows = jnp.arange(len(batch.reward))
        # Statistics are of the policy: the slow copy follows what is learned alone.
        learned = agent.slow_policy.encoders.learned_part
        slow_policy = eqx.tree_at(
            lambda p: p.encoders, agent.slow_policy, agent.policy.encoders.updated(learned)
        )
        values, slow = (_values(p, batch.next_obs) for p in (agent.policy, slow_policy))
        policy, features = agent.policy, agent.policy.encoders(batch.obs)
        unit = task_of(features, self._heads(policy))
        slow = slow if popart is None else popart.restored(slow, unit)
        if self.temperature:
            log_probs = jax.nn.log_softmax(values / self.temperature)
            led_to = (jnp.exp(log_probs) * (slow - self.temperature * log_probs)).sum(-1)
        else:
            led_to = slow[rows, jnp.argmax(values, axis=-1)]
        backup = self.reward_scale * batch.reward + batch.discount * led_to
        if hooks.hindsight is not None:
            soft = self.temperature > 0
            backup = hooks.hindsight.held(backup, self.discount, self.reward_scale, soft)

        if popart is not None:
            agent, backup = in_new_units(agent, _valued, backup, unit)

        def loss(parts: PyTree, weight: Array):
            (actor, memory, learned), parameters = parts
            actor = eqx.tree_at(_exploring, actor, _exploring(agent.policy.actor))
            encoders = agent.policy.encoders.updated(learned)
            layers = encoders.activations(batch.obs)
            values = actor.outputs(layers["features"])
            value = values[rows, batch.action]
            error = (weight * optax.huber_loss(value, backup)).mean()
            log = {"value_loss": error, "value": value.mean()}
            if self.temperature:
                log["entropy"] = categorical_entropy(values / self.temperature).mean()
            total = error
            if anchor is not None:
                policy = with_learned_parts(agent.policy, (actor, memory, learned))
                first = None if opinion is None else opinion[0]
                seen = layers["features"]
                anchor_key = jax.random.fold_in(key, 1)
                held, judged = anchor.loss(policy, seen, first, weight, anchor_key)
                total, log = total + held, log | judged
            if auxiliary is not None:
                further, judged = auxiliary.loss(parameters, encoders, layers, share, key)
                total, log = total + further, log | judged
            return total, log

        trained = learned_parts(agent.policy)
        parts = trained, None if auxiliary is None else agent.auxiliary.parameters
        if self.pcgrad:
            task = task_told(policy, features)
            gradients, logs = by_task(loss, parts, batch.weight, task)
            log = joined(logs)
            gradient = projected(gradients, jax.random.fold_in(key, 3))
        else:
            gradient, log = jax.grad(loss, has_aux=True)(parts, batch.weight)
        step, opt_state = self._optimiser.update(gradient[0], agent.opt_state)
        if hooks.rates is not None:
            rates = hooks.rates.policy, hooks.rates.policy, hooks.rates.encoder
            step = tuple(scaled(s, rate) for s, rate in zip(cast(Any, step), rates, strict=True))
        moved: PyTree = optax.apply_updates(trained, step)  # pyright: ignore
        policy = with_learned_parts(agent.policy, moved)
        slow_parts = learned_parts(agent.slow_policy)
        slow_parts = optax.incremental_update(moved, slow_parts, self.tau)
        slow = with_learned_parts(agent.slow_policy, slow_parts)
        judge = None if auxiliary is None else auxiliary.updated(agent.auxiliary, gradient[1])
        return DQNAgent(policy, slow, opt_state, judge, agent.popart), log


def _valued(agent: DQNAgent) -> list[Any]:
    """The networks that give values."""
    return [agent.policy.actor.network, agent.slow_policy.actor.network]


def _exploring(actor: Any) -> Any:
    """What is set, and not learned."""
    return actor.epsilon, actor.temperature


def _values(policy: ActorPolicy, obs: PyTree) -> Float[Array, "batch act"]:
    """Q of every action."""
    return cast(GreedyActor, policy.actor).outputs(policy.encoders(obs))
