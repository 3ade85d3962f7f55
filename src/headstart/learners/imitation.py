"""Imitation: a student that sees what the camera sees copies an expert who sees the true state.

    L(θ) = −E[log π_θ(a* | o)],   a* = expert(s)

The student acts, the expert says what it would have done there, and the student learns from all
that was said so far (DAgger; Ross, Gordon and Bagnell, AISTATS 2011, 1011.0686). It takes a
simulator that knows the state, so it is for the source; and no rewards.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import optax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import EXPERT, EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.replay import Replay, transition_row
from headstart.experience.transition import Rollout
from headstart.knowledge import Knowledge
from headstart.learners.learner import NO_HOOKS, Hooks, Metrics, Progress
from headstart.policies.actors import CategoricalActor
from headstart.policies.encoders import encoders_for
from headstart.policies.memory import NoMemory
from headstart.policies.networks import rows
from headstart.policies.policy import (
    AbstractPolicy,
    ActorPolicy,
    ExpertPolicy,
    grafted,
    knowledge_of,
    learned_parts,
    policy_for,
    with_learned_parts,
)
from headstart.pytree import PyTree


class Student(eqx.Module):
    """A policy in training, what it was shown, and the state of an auxiliary, if there is one."""

    policy: ActorPolicy
    opt_state: optax.OptState
    shown: Replay
    """Observations, the group `expert` among them."""
    auxiliary: PyTree
    beginner: bool = eqx.field(static=True)
    """Whether it knows nothing, so that the expert acts first."""


@dataclass(frozen=True)
class Imitation:
    """Supervised learning of one of the environment's experts."""

    expert: str = "good"
    """Whose actions are learned."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the policy's hidden layers."""
    encoders: tuple[str, ...] = ()
    """Encoders in place of the usual ones, as group=name or group=module:Class."""
    num_envs: int = 64
    """Copies of the environment stepped at once."""
    rollout_length: int = 20
    """Steps of each copy between two rounds of updates; the expert acts in a beginner's first."""
    updates_per_step: float = 0.1
    """Gradient steps for each step of the environment."""
    batch_size: int = 128
    """Observations in a gradient step."""
    learning_rate: float = 1e-3
    """Adam's step size, which falls linearly to 0 over a training."""
    accepts: ClassVar[frozenset[str]] = frozenset({"auxiliary"})
    parts: ClassVar[tuple[str, ...]] = ("policy", "statistics", "encoder")
    on_policy: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "num_envs", "rollout_length", "batch_size", "hidden")
        require(self, 0, math.inf, "learning_rate", "updates_per_step")
        if self._round * self.updates_per_step < 1:
            raise HeadstartError(
                f"a round of {self._round} steps has no gradient step: raise "
                f"learner.updates_per_step to 1/{self._round} or more"
            )

    def init(
        self, spec: EnvSpec, key: PRNGKeyArray, hooks: Hooks = NO_HOOKS, total: int | None = None
    ) -> Student:
        """A student that knows nothing yet, with room for what it sees in `total` steps.

        Raises:
            HeadstartError: actions are not choices, codes are to be read, which it does not train,
                or it is not said how long it learns.
        """
        if not spec.actions.discrete:
            raise HeadstartError("imitation is of discrete actions: use another learner")
        if total is None or EXPERT not in spec.groups:
            raise HeadstartError(
                "imitation asks an expert, who is in the source alone: it does not learn from "
                "episodes of a target"
            )
        actor_key, encoder_key, judge_key = jax.random.split(key, 3)
        encoders = encoders_for(spec, "identity", self.encoders, encoder_key)
        if any(encoder.common for encoder in encoders.by_group.values()):
            raise HeadstartError(
                "imitation trains no codes: leave them out of learner.encoders, and images are "
                "read through convolutions"
            )
        memory = NoMemory(encoders.size, spec.actions.width, 0, key)
        actor = CategoricalActor(encoders.size, spec.actions, self.hidden, actor_key)
        policy = policy_for(spec, actor, encoders, memory)
        judge = hooks.auxiliary and hooks.auxiliary.init(encoders, judge_key)
        row = transition_row(spec).obs
        shown = Replay.empty(row, total, self.num_envs, self.rollout_length)
        fresh = self._optimiser(total).init(learned_parts(policy))
        return Student(policy, fresh, shown, judge, beginner=True)

    @property
    def _round(self) -> int:
        """Steps of acting, in turn with learning."""
        return self.num_envs * self.rollout_length

    def _updates(self, steps: int) -> int:
        """Gradient steps after so many."""
        return int(self.updates_per_step * steps)

    def behaviour(self, state: Student, progress: Progress) -> AbstractPolicy:
        """The student; in a beginner's first round, the expert."""
        return ExpertPolicy() if state.beginner and progress.done == 0 else state.policy

    def policy(self, state: Student) -> ActorPolicy:
        """What was learned to do."""
        return state.policy

    def knowledge(self, state: Student) -> Knowledge:
        """What the student learned: a policy, and how it sees."""
        return knowledge_of(state.policy)

    def graft(self, knowledge: Knowledge, state: Student) -> Student:
        """A student that knows what the knowledge's policy does, its optimiser fresh."""
        policy = grafted(state.policy, knowledge, every=False)
        fresh = self._optimiser(1).init(learned_parts(policy))
        return Student(policy, fresh, state.shown, state.auxiliary, beginner=False)

    def _optimiser(self, total: int) -> optax.GradientTransformation:
        """For a training of at least `total` steps; its state does not depend on `total`."""
        whole = -(-total // self._round) * self._round
        rate = optax.linear_schedule(self.learning_rate, 0.0, self._updates(whole))
        return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate))

    def update(
        self,
        state: Student,
        rollout: Rollout,
        progress: Progress,
        hooks: Hooks,
        key: PRNGKeyArray,
    ) -> tuple[Student, Metrics]:
        """Remember what was seen, and take this round's gradient steps on all that was."""
        done = progress.done + rollout.steps.reward.size
        count = self._updates(done) - self._updates(progress.done)
        shown, rest = state.shown, eqx.tree_at(lambda s: s.shown, state, None)
        return _update(
            self, count, progress.total, shown, rest, rollout.steps.obs, hooks.auxiliary,
            progress.share, key,
        )  # fmt: skip


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _update(
    imitation: Imitation,
    count: int,
    total: int,
    shown: Replay,
    student: Student,
    obs: PyTree,
    auxiliary: PyTree,
    share: Any,
    key: PRNGKeyArray,
) -> tuple[Student, Metrics]:
    """`count` gradient steps on all that was shown, in a training of `total` steps."""
    optimiser = imitation._optimiser(total)
    fresh = rows(obs)
    chosen = student.policy.actor.mode(student.policy.encoders(fresh))
    agreed = (chosen == fresh[EXPERT]).mean()
    shown = shown.add(obs)
    most = shown.filled * shown.num_envs
    all_rows = rows(shown.columns)

    def one(carry: PyTree, key: PRNGKeyArray):
        policy, opt_state, judge = carry
        rows_key, loss_key = jax.random.split(key)
        chosen = jax.random.randint(rows_key, (imitation.batch_size,), 0, most)
        seen = jax.tree.map(lambda x: x[chosen], all_rows)

        def loss(parts: PyTree, parameters: PyTree):
            actor, _, learned = parts
            encoders = policy.encoders.updated(learned)
            layers = encoders.activations(seen)
            log_prob, _ = actor.log_prob_and_entropy(layers["features"], seen[EXPERT])
            own = -log_prob.mean()
            if auxiliary is None:
                return own, {"imitation_loss": own}
            further, log = auxiliary.loss(parameters, encoders, layers, share, loss_key)
            return own + further, log | {"imitation_loss": own}

        parameters = None if auxiliary is None else judge.parameters
        trained = learned_parts(policy)
        gradients, log = jax.grad(loss, (0, 1), has_aux=True)(trained, parameters)
        step, opt_state = optimiser.update(gradients[0], opt_state)
        moved: PyTree = optax.apply_updates(trained, step)  # pyright: ignore
        policy = with_learned_parts(policy, moved)
        if auxiliary is not None:
            judge = auxiliary.updated(judge, gradients[1])
        return (policy, opt_state, judge), log

    start = student.policy, student.opt_state, student.auxiliary
    (policy, opt_state, judge), logs = jax.lax.scan(one, start, jax.random.split(key, count))
    student = Student(policy, opt_state, shown, judge, student.beginner)
    return student, jax.tree.map(lambda x: x.mean(), logs) | {"agreement": agreed}
