"""Going on learning on a target, by episodes."""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.experience.source import Target
from headstart.experience.transition import Episodes, Rollout, Transition, narrowed
from headstart.experience.unroll import episodes, seed_from
from headstart.learners.learner import (
    NO_HOOKS,
    Hooks,
    Learner,
    Metrics,
    OnPolicyLearner,
    Progress,
    State,
    check_learning,
)
from headstart.policies.policy import AbstractPolicy, ActorPolicy

BEYOND = 2**30
"""Steps after which no learner acts at random any more."""


@runtime_checkable
class Plan(Protocol):
    """What a method does to a learner's updates on the target."""

    def hooks(self, share: float) -> Hooks:
        """Of the next updates, after a share of the target's episodes."""
        ...

    def before(self, state: State, episodes: int, key: PRNGKeyArray) -> State:
        """The state to be updated from a round of episodes, so many of which came before it."""
        ...

    def acting(self, policy: AbstractPolicy) -> AbstractPolicy:
        """Who acts: the learner's policy, or that with another's help."""
        ...

    def learned_from(self, tried: Episodes) -> Episodes:
        """What the learner is shown of a round."""
        ...


class Plain:
    """The learner's updates as they are."""

    def hooks(self, share: float) -> Hooks:
        return NO_HOOKS

    def before(self, state: State, episodes: int, key: PRNGKeyArray) -> State:
        return state

    def acting(self, policy: AbstractPolicy) -> AbstractPolicy:
        return policy

    def learned_from(self, tried: Episodes) -> Episodes:
        return tried


PLAIN = Plain()


def improve(
    learner: Learner,
    target: Target,
    state: State,
    episodes_per_update: int,
    key: PRNGKeyArray,
    explores: bool = False,
    plan: Plan = PLAIN,
) -> Iterator[ActorPolicy]:
    """Policies for the target: the one given, then one after each update, to the last episode.

    Who learns on policy learns from whole rounds of episodes; the others, from rollouts of the
    usual shape that are cut out of them, each cut a truncation, and without random steps first.
    Learning rates stand where they start.

    Args:
        learner: what learns.
        target: where; its episodes are limited.
        state: of the learner.
        episodes_per_update: episodes between two updates.
        key: of all that is drawn.
        explores: whether a learner that schedules its exploration (DQN) begins with random actions,
            as a policy must that knows nothing; if not, it explores as at a training's end.
        plan: what is added to the updates.

    Raises:
        ValueError: the target's episodes are not limited.
    """
    yield cast(ActorPolicy, plan.acting(learner.policy(state)))
    left = target.episodes_left
    if left is None:
        raise ValueError("improve needs a target with a limited number of episodes")
    total, iteration, learned_of = left, 0, 0
    pending: Transition | None = None
    while left > 0:
        progress = Progress(0, 1, (0.0, 0.0))
        if not learner.on_policy:
            share = (total - left) / total if explores else 1.0
            progress = Progress(BEYOND, BEYOND, (share, share))
        round_key = jax.random.fold_in(key, iteration)
        seed_key, act_key, update_key = jax.random.split(round_key, 3)
        hooks = plan.hooks((total - left) / total)
        envs = target.start(min(episodes_per_update, left), seed_from(seed_key))
        acting = plan.acting(learner.behaviour(state, progress))
        tried = episodes(acting, envs, key=act_key)
        learned = plan.learned_from(tried)
        state = plan.before(state, total - left, jax.random.fold_in(round_key, 3))
        logs: list[Metrics] = []
        if learner.on_policy and len(learned.starts) > 1:
            whole = cast(OnPolicyLearner, learner).arranged(learned)
            state, log = learner.update(state, whole, progress, hooks, update_key)
            logs = [log]
        elif not learner.on_policy:
            rollouts, pending = _cut(learner, learned.steps, pending)
            for i, rollout in enumerate(rollouts):
                step_key = jax.random.fold_in(update_key, i)
                progress = progress._replace(done=BEYOND + learned_of)
                state, log = learner.update(state, rollout, progress, hooks, step_key)
                learned_of += rollout.steps.reward.size
                logs += [log] if log else []
        iteration += 1
        left -= envs.num
        names = logs[0] if logs else ()
        log_round(
            target, tried, {n: float(np.mean([log[n] for log in logs])) for n in names}, total
        )
        yield cast(ActorPolicy, plan.acting(learner.policy(state)))


def log_round(target: Target, tried: Episodes, log: Mapping[str, Any], total: int) -> None:
    """The record of one round of adaptation, of `total` episodes that there were to take."""
    check_learning(log, target.steps)
    mean = float(tried.returns.mean())
    target.log(steps=target.steps, episodes=target.episodes, train_return=mean, **log)
    target.progress(total - (target.episodes_left or 0), total)


def _cut(
    learner: Learner, steps: Transition, pending: Transition | None
) -> tuple[list[Rollout], Transition]:
    """Consecutive steps as rollouts of the learner's usual shape, and those that are left over."""
    if pending is not None:
        steps = jax.tree.map(lambda *rows: np.concatenate(rows), pending, steps)
    length, env = learner.rollout_length, learner.num_envs
    each, count = length * env, len(steps.reward) // (length * env)

    def shaped(column: np.ndarray) -> np.ndarray:
        return np.moveaxis(narrowed(column).reshape(env, length, *column.shape[1:]), 0, 1)

    rollouts: list[Rollout] = []
    for start in range(0, count * each, each):
        cut = jax.tree.map(lambda column, s=start: shaped(column[s : s + each]), steps)
        cut.truncated[-1] |= ~cut.terminated[-1]
        action = np.zeros_like(cut.action[0])
        rollouts.append(Rollout(cut, np.ones(env, bool), action, np.zeros(env, np.float32)))
    return rollouts, jax.tree.map(lambda column: column[count * each :], steps)
