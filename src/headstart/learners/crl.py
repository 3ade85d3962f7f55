"""CRL: contrastive RL (Eysenbach et al., NeurIPS 2022, 2206.07568; as in Bortkiewicz et al., ICLR
2025, 2408.11052), which learns to reach goals without rewards.

    f(s, a, g) = −‖φ(s, a) − ψ(g)‖,   fᵢⱼ = f(sᵢ, aᵢ, gⱼ)
    L_f = E_i[log Σ_j exp fᵢⱼ − fᵢᵢ] + E_j[log Σ_i exp fᵢⱼ − fⱼⱼ] + λ E_i[(log Σ_j exp fᵢⱼ)²]
    L_π = E[α log π(a | s, g) − f(s, a, g)],   a ~ π(· | s, g)
    L_α = −log α E[log π(a | s, g) + H],   H = −dim a

Each row of a batch has a goal gᵢ that was achieved later in its own episode, and one that came k
steps later than another is γᵏ times as likely. The goals of the other rows are what it did not lead
to. Where L_f is least, but for λ, f is log p_γ(g | s, a) / p(g) and a constant: how much likelier a
goal is after an action than it is at all.

Differs from the papers in: both sums of InfoNCE are taken, as only some of the papers' runs do; the
actor and the critic have one optimiser.
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
from headstart.envs.goals import DESIRED
from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.hindsight import Hindsight
from headstart.experience.replay import Batch, n_step
from headstart.experience.transition import Rollout, Transition
from headstart.knowledge import Knowledge
from headstart.learners.learner import NO_HOOKS, Hooks, Metrics, Progress
from headstart.learners.off_policy import OffPolicyState, begun, scaled, update
from headstart.policies.actors import SquashedGaussianActor
from headstart.policies.encoders import Encoders, encoders_for, privileged_encoders
from headstart.policies.memory import NoMemory
from headstart.policies.networks import MLP
from headstart.policies.policy import (
    AbstractPolicy,
    ActorPolicy,
    UniformPolicy,
    grafted,
    knowledge_of,
    policy_for,
)
from headstart.pytree import PyTree

NEAREST = 1e-6
"""Added to squared distances, since a root has no slope at 0."""


class ContrastiveCritic(eqx.Module):
    """Represents what is done, and what may come of it, as points."""

    action: MLP
    """φ, of a state and an action side by side."""
    goal: MLP
    """ψ."""


class Learned(NamedTuple):
    """What a gradient changes."""

    actor: SquashedGaussianActor
    critic: ContrastiveCritic
    log_temperature: Array


class CRLAgent(eqx.Module):
    """All that CRL learns."""

    policy: ActorPolicy
    privileged: Encoders
    """Of what the critic reads and the policy does not."""
    critic: ContrastiveCritic
    log_temperature: Float[Array, ""]
    opt_state: optax.OptState
    hindsight: Hindsight = eqx.field(static=True)
    """What finds a goal that was achieved later."""


@dataclass(frozen=True)
class CRL:
    """Hyperparameters, and the functions that they determine."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of actor and critic alike."""
    representation: int = 64
    """Width of φ and ψ."""
    num_envs: int = 8
    """Copies of the environment stepped at once."""
    rollout_length: int = 8
    """Steps of each copy between two rounds of updates."""
    updates_per_step: float = 1.0
    """Gradient steps for each step of the environment."""
    batch_size: int = 256
    """Transitions in a gradient step, each contrasted with the goals of all."""
    buffer_size: int = 1_000_000
    """Transitions that are remembered."""
    learning_starts: int = 10_000
    """Steps at the start with actions uniformly at random, without updates."""
    priming: int = 0
    """Gradient steps taken at once, and in addition, where learning begins in the source."""
    learning_rate: float = 3e-4
    """Adam's step size, for actor, critic and temperature."""
    penalty: float = 0.1
    """λ, which keeps f from drifting."""
    temperature: float = 0.1
    """α at the start."""
    entropy: float = -1.0
    """H, in nats for each dimension of the action, at which adjusting α keeps the entropy. The
    most, of uniformly random actions, is 0.69."""
    discount: float = 0.99
    """γ: how much less each step counts that a goal takes longer to come."""
    accepts: ClassVar[frozenset[str]] = frozenset({"kept", "rates"})
    parts: ClassVar[tuple[str, ...]] = ("policy", "critic", "temperature", "optimiser")
    on_policy: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "num_envs", "rollout_length", "batch_size", "buffer_size")
        require(self, 1, math.inf, "hidden", "representation")
        require(self, 0, math.inf, "updates_per_step", "learning_starts", "learning_rate")
        require(self, 0, math.inf, "priming", "penalty")
        require(self, 0, 1, "discount")
        require(self, 1e-6, math.inf, "temperature")
        require(self, -math.inf, math.log(2), "entropy")

    @property
    def expert(self) -> None:
        """Nobody's actions are wanted."""
        return None

    @property
    def length(self) -> int:
        return 1

    @property
    def windows(self) -> int:
        return self.batch_size

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> OffPolicyState:
        """A fresh agent for a domain of this spec.

        Raises:
            HeadstartError: the environment has no goals, the actions are discrete, an observation
                is an image, or all of `total` steps would be random.
        """
        if spec.goals is None:
            raise HeadstartError(
                f"CRL learns to reach goals, and {spec.name} has none: use an environment that "
                "observes achieved_goal and desired_goal, such as point-maze"
            )
        instead = "dqn" if spec.actions.discrete else "sac"
        if spec.actions.discrete or any(g.kind == "image" for g in spec.groups.values()):
            raise HeadstartError(
                f"CRL takes vectors and continuous actions, and {spec.name} has observations that "
                f"are {', '.join(map(str, spec.groups.values()))}, and actions that are "
                f"{spec.actions}: use {instead} with the method her"
            )
        encoder_key, actor_key, action_key, goal_key = jax.random.split(key, 4)
        encoders = encoders_for(spec, "identity", (), encoder_key)
        privileged = privileged_encoders(spec, "identity", encoder_key)
        memory = NoMemory(encoders.size, spec.actions.width, 0, key)
        actor = SquashedGaussianActor(encoders.size, spec.actions, self.hidden, actor_key)
        goal = encoders.by_group[DESIRED].size
        state = encoders.size - goal + privileged.size

        def represents(size: int, key: PRNGKeyArray) -> MLP:
            return MLP((size, *self.hidden, self.representation), 1.0, key, jax.nn.relu)

        critic = ContrastiveCritic(
            represents(state + spec.actions.width, action_key), represents(goal, goal_key)
        )
        policy = policy_for(spec, actor, encoders, memory)
        hindsight = Hindsight(spec.goals, spec.horizon, share=1.0, discount=self.discount)
        log_temperature = jnp.array(math.log(self.temperature), jnp.float32)
        agent = self._agent(policy, privileged, critic, log_temperature, hindsight)
        return begun(self, spec, agent, total)

    def _agent(
        self,
        policy: ActorPolicy,
        privileged: Encoders,
        critic: ContrastiveCritic,
        log_temperature: Array,
        hindsight: Hindsight,
    ) -> CRLAgent:
        """One that starts from these parts, with a fresh optimiser."""
        actor = cast(SquashedGaussianActor, policy.actor)
        opt_state = self._optimiser.init(cast(PyTree, Learned(actor, critic, log_temperature)))
        return CRLAgent(policy, privileged, critic, log_temperature, opt_state, hindsight)

    def behaviour(self, state: OffPolicyState, progress: Progress) -> AbstractPolicy:
        """What to act with while learning: at random first, then the policy."""
        if progress.done < self.learning_starts:
            return UniformPolicy(state.policy.actions)
        return state.policy

    def policy(self, state: OffPolicyState) -> ActorPolicy:
        """What was learned to do."""
        return state.policy

    def knowledge(self, state: OffPolicyState) -> Knowledge:
        """What the agent learned: policy, critic, temperature and optimiser."""
        knowledge = knowledge_of(state.policy).with_part("critic", state.agent.critic)
        knowledge = knowledge.with_part("temperature", state.agent.log_temperature)
        return knowledge.with_part("optimiser", state.agent.opt_state)

    def graft(self, knowledge: Knowledge, state: OffPolicyState) -> OffPolicyState:
        """`state` with every part that `knowledge` holds put in its place; its optimiser is fresh
        where the knowledge has none. The replay is `state`'s."""
        agent: CRLAgent = state.agent
        agent = self._agent(
            grafted(state.policy, knowledge, every=False),
            agent.privileged,
            knowledge.graft_held("critic", agent.critic),
            knowledge.graft_held("temperature", agent.log_temperature),
            agent.hindsight,
        )
        agent = replace(agent, opt_state=knowledge.graft_held("optimiser", agent.opt_state))
        return OffPolicyState(agent, state.replay)

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
        hooks = replace(hooks, hindsight=state.agent.hindsight)
        return update(self, state, rollout, progress, hooks, key)

    def batch(self, window: Transition) -> Batch:
        """The transitions of windows of one step, side by side."""
        return n_step(window, self.discount)

    def step(
        self,
        agent: CRLAgent,
        window: Transition,
        batch: Batch,
        hooks: Hooks,
        share: Any,
        key: PRNGKeyArray,
    ) -> tuple[CRLAgent, Metrics]:
        """One gradient step, on transitions whose desired goals were achieved later; to be called
        from compiled code."""
        encoders = agent.policy.encoders
        seen = {name: e for name, e in encoders.by_group.items() if name != DESIRED}
        state = agent.privileged.beside(Encoders(seen)(batch.obs), batch.obs)
        goal = encoders.by_group[DESIRED](batch.obs[DESIRED])
        temperature = jnp.exp(agent.log_temperature)

        def loss(parts: PyTree):
            actor, critic, log_temperature = parts
            done = critic.action(jnp.concatenate([state, batch.action], axis=-1))
            logits = closeness(done, critic.goal(goal))
            critic_loss = info_nce(logits, self.penalty)
            action, log_prob = actor.sample_and_log_prob(encoders(batch.obs), key)
            fixed = jax.lax.stop_gradient(critic)
            apart = fixed.action(jnp.concatenate([state, action], axis=-1)) - fixed.goal(goal)
            distance = jnp.sqrt((apart**2).sum(-1) + NEAREST)
            actor_loss = (temperature * log_prob + distance).mean()
            excess = jax.lax.stop_gradient(log_prob + self.entropy * action.shape[-1]).mean()
            log = {
                "critic_loss": critic_loss,
                "actor_loss": actor_loss,
                "entropy": -log_prob.mean(),
                "temperature": temperature,
                "accuracy": (logits.argmax(1) == jnp.arange(len(logits))).mean(),
            }
            return critic_loss + actor_loss - log_temperature * excess, log

        actor = cast(SquashedGaussianActor, agent.policy.actor)
        parts: PyTree = Learned(actor, agent.critic, agent.log_temperature)
        gradient, log = jax.grad(loss, has_aux=True)(parts)
        step, opt_state = self._optimiser.update(gradient, agent.opt_state)
        if hooks.rates is not None:
            rates = hooks.rates.policy, hooks.rates.critic, hooks.rates.temperature
            changes = zip(cast(Any, step), rates, strict=True)
            step = cast(Any, Learned(*(scaled(change, rate) for change, rate in changes)))
        actor, critic, log_temperature = cast(Any, optax.apply_updates(parts, step))
        policy = eqx.tree_at(lambda p: p.actor, agent.policy, actor)
        return CRLAgent(
            policy, agent.privileged, critic, log_temperature, opt_state, agent.hindsight
        ), log


def closeness(done: Float[Array, "n size"], goal: Float[Array, "m size"]) -> Float[Array, "n m"]:
    """f = −‖φ − ψ‖ of every pair, by a product of matrices, which is ten times as fast."""
    squares = (done**2).sum(-1)[:, None] + (goal**2).sum(-1)[None] - 2 * done @ goal.T
    return -jnp.sqrt(jnp.maximum(squares, 0.0) + NEAREST)


def info_nce(logits: Float[Array, "n n"], penalty: float) -> Float[Array, ""]:
    """How badly each row's own goal is told from the other goals, and its own row from the others.

    Args:
        logits: fᵢⱼ of every row and goal; those with i = j belong together.
        penalty: λ, of the squares of the logarithms of sums over goals, which have no level else.
    """
    own = jnp.diagonal(logits)
    over_goals, over_rows = (jax.nn.logsumexp(logits, axis=axis) for axis in (1, 0))
    told_apart = (over_goals - own).mean() + (over_rows - own).mean()
    return told_apart + penalty * (over_goals**2).mean()
