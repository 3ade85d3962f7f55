"""Imitation: a policy trained in the source by RL, and its copy, which goes on to learn from what
the first one does there.

    L(θ) = −E[log π_θ(a* | s)],   a* = argmax π_teacher(a | s)

A supervised loss, for what combines with it more easily than with RL: the copy keeps its behaviour
in the source while another loss changes what it sees.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, Shaped

from headstart.configuration import require
from headstart.learners.auxiliary import Auxiliary, activations
from headstart.learners.policy import Policy, greedy
from headstart.learners.ppo import PPO
from headstart.learners.rollout import chunk, seed_from
from headstart.target import Source

COPIES = 64
"""Of the source, in which the teacher is watched."""


class Student(eqx.Module):
    """A policy in training."""

    policy: Policy
    opt_state: optax.OptState
    auxiliary: Any


@dataclass(frozen=True)
class Imitation:
    """A teacher trained by RL, and a student of its actions."""

    teacher: PPO = field(default_factory=PPO)
    """How the teacher is trained."""
    frames: int = 10_000
    """Observations of the source that the teacher labels."""
    updates: int = 4_000
    """Gradient steps of the student."""
    batch: int = 128
    """Observations in a gradient step."""
    learning_rate: float = 3e-4
    """Adam's step size."""

    def __post_init__(self):
        require(self, 1, math.inf, "frames", "updates", "batch")
        require(self, 0, math.inf, "learning_rate")

    def student(
        self, teacher: Policy, source: Source, key: PRNGKeyArray, auxiliary: Auxiliary
    ) -> Policy:
        """A copy of the teacher, after learning from its actions and from the auxiliary's loss."""
        seed_key, act_key, judge_key, update_key = jax.random.split(key, 4)
        batch = source.start(COPIES, seed_from(seed_key))
        length = -(-self.frames // COPIES)
        seen, _ = chunk(teacher, batch, batch.reset(), length, act_key)
        obs = np.asarray(seen.obs).reshape(-1, *seen.obs.shape[2:])
        labels = np.concatenate([greedy(teacher, part) for part in np.split(obs, length)])
        fresh = np.arange(len(obs)) % 10 == 0
        judge = auxiliary.init(teacher.encoder, judge_key)
        student = Student(
            jax.tree.map(jnp.copy, teacher),
            self._optimiser.init(teacher),  # pyright: ignore[reportArgumentType]
            judge,
        )
        known = jnp.asarray(obs[~fresh]), jnp.asarray(labels[~fresh])
        each = max(self.updates // 20, 1)
        for done in range(0, self.updates, each):
            student, log = _updates(
                self, each, student, *known, auxiliary, done / self.updates,
                jax.random.fold_in(update_key, done),
            )  # fmt: skip
            log |= auxiliary.measure(
                student.auxiliary, student.policy.encoder, jnp.asarray(obs[fresh])
            )
            agreed = np.asarray(greedy(student.policy, obs[fresh])) == labels[fresh]
            source.journal.log(
                phase="imitation", updates=done + each, steps=source.meter.steps,
                agreement=float(agreed.mean()), **{k: float(v) for k, v in log.items()},
            )  # fmt: skip
            source.journal.progress("imitation", done + each, self.updates)
        return student.policy

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _updates(
    imitation: Imitation,
    count: int,
    student: Student,
    obs: Shaped[Array, "n ..."],
    labels: Shaped[Array, "n ..."],
    auxiliary: Auxiliary,
    progress: Any,
    key: PRNGKeyArray,
) -> tuple[Student, dict[str, Array]]:
    def one(student: Student, key: PRNGKeyArray):
        rows_key, loss_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (imitation.batch,), 0, len(obs))

        def loss(policy: Policy, parameters: Any):
            seen = activations(policy.encoder, obs[rows])
            log_prob, _ = policy.actor.log_prob_and_entropy(seen["features"], labels[rows])  # pyright: ignore
            own = -log_prob.mean()
            further, log = auxiliary.loss(parameters, policy.encoder, seen, progress, loss_key)
            return own + further, log | {"imitation_loss": own}

        gradients, log = jax.grad(loss, (0, 1), has_aux=True)(
            student.policy, student.auxiliary.parameters
        )
        step, opt_state = imitation._optimiser.update(gradients[0], student.opt_state)
        policy: Any = optax.apply_updates(student.policy, step)  # pyright: ignore
        judge = auxiliary.updated(student.auxiliary, gradients[1])
        return Student(policy, opt_state, judge), log

    student, logs = jax.lax.scan(one, student, jax.random.split(key, count))
    return student, jax.tree.map(lambda x: x.mean(), logs)
