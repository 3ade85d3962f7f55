"""Imitation: a student that sees what the camera sees copies a driver who sees the true state.

    L(θ) = −E[log π_θ(a* | o)],   a* = teacher(s)

The student acts, the teacher says what it would have done there, and the student learns from all
that was said so far (DAgger; Ross, Gordon and Bagnell, AISTATS 2011, 1011.0686). It takes a
simulator that knows the state, so it is for the source; and no rewards.
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.actors import CategoricalActor
from headstart.learners.auxiliary import Auxiliary, activations
from headstart.learners.encoders import encoder_for
from headstart.learners.policy import Policy, greedy, knowledge_of, sampled
from headstart.learners.rollout import seed_from
from headstart.target import Source, Target

COPIES = 64
"""Of the source, in which the student acts."""


class Student(eqx.Module):
    """A policy in training, and the state of an auxiliary, if there is one."""

    policy: Policy
    opt_state: optax.OptState
    auxiliary: Any


@dataclass(frozen=True)
class Imitation:
    """Supervised learning of one of the world's demonstrators."""

    teacher: str = "good"
    """The demonstrator."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the policy's hidden layers."""
    rounds: int = 20
    """Of acting and learning, in turn; in a beginner's first the teacher acts."""
    updates: int = 2_500
    """Gradient steps in all."""
    batch: int = 128
    """Observations in a gradient step."""
    learning_rate: float = 1e-3
    """Adam's step size, which falls linearly to 0."""

    def __post_init__(self):
        require(self, 1, math.inf, "updates", "batch")
        require(self, 1, self.updates, "rounds")
        require(self, 0, math.inf, "learning_rate")

    def init(
        self,
        observation: spaces.Box,
        action: spaces.Box | spaces.Discrete,
        key: PRNGKeyArray,
        auxiliary: Auxiliary | None = None,
        policy: Policy | None = None,
    ) -> Student:
        """A student that knows what `policy` does, or nothing.

        Raises:
            HeadstartError: actions are not discrete.
        """
        if not isinstance(action, spaces.Discrete):
            raise HeadstartError("imitation is of discrete actions: use another learner")
        actor_key, encoder_key, judge_key = jax.random.split(key, 3)
        if policy is None:
            encoder = encoder_for(observation.shape, False, encoder_key)
            actor = CategoricalActor(encoder.size, int(action.n), self.hidden, actor_key)
            policy = Policy(actor, encoder)
        known: Any = jax.tree.map(jnp.copy, policy)  # gradient steps give up what they start from
        judge = None if auxiliary is None else auxiliary.init(known.encoder, judge_key)
        return Student(known, self.optimiser.init(known), judge)

    def knowledge(self, student: Student) -> Knowledge:
        """What the student learned: a policy, and how it sees."""
        return knowledge_of(student.policy)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Of the policy and its encoder."""
        rate = optax.linear_schedule(self.learning_rate, 0.0, self.updates)
        return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate))


def train(
    imitation: Imitation,
    source: Source | Target,
    steps: int,
    key: PRNGKeyArray,
    auxiliary: Auxiliary | None = None,
    policy: Policy | None = None,
) -> Student:
    """A student of the teacher's actions in at least `steps` steps of `source`, not resumed.

    It starts from `policy`, if there is one, and then acts in the first round too.
    """
    start_key, seed_key, run_key = jax.random.split(key, 3)
    space = source.environment.observation_space, source.environment.action_space
    student = imitation.init(*space, start_key, auxiliary, policy)
    batch = source.start(COPIES, seed_from(seed_key))
    length = -(-steps // (COPIES * imitation.rounds))
    seen = np.zeros((imitation.rounds, length, COPIES, *space[0].shape), space[0].dtype)
    wanted = np.zeros((imitation.rounds, length, COPIES), np.int32)
    first, began = source.meter.steps, time.monotonic()
    obs = batch.reset()
    for turn in range(imitation.rounds):
        act_key, update_key = jax.random.split(jax.random.fold_in(run_key, turn))
        for t in range(length):
            seen[turn, t], wanted[turn, t] = obs, batch.demonstrated(imitation.teacher)
            blank = turn == 0 and policy is None
            action = wanted[turn, t] if blank else sampled(student.policy, obs, act_key, t)
            obs = batch.step(np.asarray(action)).obs
        fresh = seen[turn].reshape(-1, *space[0].shape)
        agreed = np.asarray(greedy(student.policy, fresh)) == wanted[turn].ravel()
        log: dict[str, Any] = {"agreement": agreed.mean()}
        if auxiliary is not None:
            log |= auxiliary.measure(student.auxiliary, student.policy.encoder, jnp.asarray(fresh))
        count = imitation.updates // imitation.rounds
        student, learned = _updates(
            imitation, count, student, seen, wanted, turn + 1, auxiliary,
            turn / imitation.rounds, update_key,
        )  # fmt: skip
        taken, returns = source.meter.steps - first, batch.finished()
        source.journal.log(
            phase=source.journal.phase, steps=source.meter.steps, episodes=source.meter.episodes,
            train_return=float(np.mean(returns)) if returns else None,
            **{name: float(value) for name, value in (log | learned).items()},
            steps_per_second=round(taken / (time.monotonic() - began)),
        )  # fmt: skip
        source.journal.progress(source.journal.phase, taken, steps)
    return student


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _updates(
    imitation: Imitation,
    count: int,
    student: Student,
    seen: Shaped[Array, "rounds time env ..."],
    wanted: Int[Array, "rounds time env"],
    rounds: Int[Array, ""] | int,
    auxiliary: Auxiliary | None,
    progress: Any,
    key: PRNGKeyArray,
) -> tuple[Student, dict[str, Array]]:
    """`count` gradient steps on what was seen in the first `rounds` rounds."""
    most = rounds * wanted[0].size
    seen, wanted = seen.reshape(-1, *seen.shape[3:]), wanted.ravel()

    def one(student: Student, key: PRNGKeyArray):
        rows_key, loss_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (imitation.batch,), 0, most)

        def loss(policy: Policy, parameters: Any):
            shown = activations(policy.encoder, seen[rows])
            log_prob, _ = policy.actor.log_prob_and_entropy(shown["features"], wanted[rows])  # pyright: ignore
            own = -log_prob.mean()
            if auxiliary is None:
                return own, {"imitation_loss": own}
            further, log = auxiliary.loss(parameters, policy.encoder, shown, progress, loss_key)
            return own + further, log | {"imitation_loss": own}

        parameters = None if auxiliary is None else student.auxiliary.parameters
        gradients, log = jax.grad(loss, (0, 1), has_aux=True)(student.policy, parameters)
        step, opt_state = imitation.optimiser.update(gradients[0], student.opt_state)
        policy: Any = optax.apply_updates(student.policy, step)  # pyright: ignore
        judge = student.auxiliary
        if auxiliary is not None:
            judge = auxiliary.updated(judge, gradients[1])
        return Student(policy, opt_state, judge), log

    student, logs = jax.lax.scan(one, student, jax.random.split(key, count))
    return student, jax.tree.map(lambda x: x.mean(), logs)
