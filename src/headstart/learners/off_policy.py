"""What learners that remember share: when they learn, and many gradient steps in one call."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from headstart.envs.goals import DESIRED
from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.hindsight import Chosen, Hindsight
from headstart.experience.replay import (
    Batch,
    Places,
    Replay,
    check_executed,
    n_step,
    transition_row,
)
from headstart.experience.transition import Rollout, Transition
from headstart.learners.learner import Hooks, Metrics, Progress
from headstart.policies.policy import ActorPolicy
from headstart.pytree import PyTree

DRAWN_TOGETHER = 16
"""Gradient steps whose windows are drawn at once: one by one, to draw them costs as much as the
gradients of a small network."""
LOOKED_AT_TOGETHER = 2**18
"""Rows of episodes, at most, among which their goals are looked for at once."""
Draw = tuple[Places, Chosen | None] | None
"""Where windows are, and the goals that they are to be told; nothing where none are wanted."""


class OffPolicyState(eqx.Module):
    """An agent, its experience, and the state of a batch transform, if there is one."""

    agent: PyTree
    replay: Replay
    transform: PyTree = None

    @property
    def policy(self) -> ActorPolicy:
        return self.agent.policy

    @property
    def auxiliary(self) -> PyTree:
        return self.agent.auxiliary

    def with_transform(self, transform: PyTree) -> "OffPolicyState":
        """With the state of a batch transform."""
        return OffPolicyState(self.agent, self.replay, transform)


@runtime_checkable
class OffPolicy(Protocol):
    """A learner, as far as this file is concerned."""

    @property
    def num_envs(self) -> int: ...
    @property
    def rollout_length(self) -> int: ...
    @property
    def learning_starts(self) -> int: ...
    @property
    def priming(self) -> int: ...
    @property
    def updates_per_step(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def buffer_size(self) -> int: ...
    @property
    def discount(self) -> float: ...
    @property
    def length(self) -> int:
        """Consecutive steps that are learned from together."""
        ...

    @property
    def windows(self) -> int:
        """Windows of that length in a gradient step."""
        ...

    def batch(self, window: Transition) -> Batch:
        """Transitions `[batch]` that a window `[time, windows]` holds."""
        ...

    def step(
        self, agent: PyTree, window: Transition, batch: Batch, hooks: Hooks, share: Any,
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Metrics]:  # fmt: skip
        """One gradient step on the transitions of a window, which may have been changed."""
        ...


def begun(
    learner: OffPolicy,
    spec: EnvSpec,
    agent: PyTree,
    total: int | None,
) -> OffPolicyState:
    """A state with nothing remembered, and room for `total` transitions at most.

    Raises:
        HeadstartError: a window is longer than what is kept, or all steps would be random.
    """
    if total is not None and total <= learning_begins(learner):
        each = learner.num_envs * learner.rollout_length
        raise HeadstartError(
            f"the first {learner.learning_starts} of {total} steps are random, in rollouts of "
            f"{each}, and learning begins after them: take more steps, or lower "
            "learner.learning_starts"
        )
    capacity = learner.buffer_size if total is None else min(learner.buffer_size, total)
    row = transition_row(spec)
    replay = Replay.empty(row, capacity, learner.num_envs, learner.rollout_length)
    if replay.slots < learner.length:
        raise HeadstartError(
            f"a window of {learner.length} steps is longer than the {replay.slots} of each copy "
            "that are kept: raise learner.buffer_size, or lower learner.window or num_envs"
        )
    return OffPolicyState(agent, replay)


def learning_begins(learner: OffPolicy) -> int:
    """Steps with random actions, in whole rollouts; learning begins with the rollout after them."""
    each = learner.num_envs * learner.rollout_length
    return -(-learner.learning_starts // each) * each


def update(
    learner: OffPolicy,
    state: OffPolicyState,
    rollout: Rollout,
    progress: Progress,
    hooks: Hooks,
    key: PRNGKeyArray,
) -> tuple[OffPolicyState, Metrics]:
    """Remember a rollout and count it in the statistics of observations, where there are any; then
    take the gradient steps that are due. The log is their mean.

    The arrays of the state's replay are given up.
    """
    check_executed(rollout)
    done = progress.done + rollout.steps.reward.size
    before, after = (_due(learner, steps) for steps in (progress.done, done))
    replay, agent, transform, log = _update(
        learner, after - before, state.replay, state.agent, state.transform, rollout.steps, hooks,
        (done, _share(progress, done)), key,
    )  # fmt: skip
    return OffPolicyState(agent, replay, transform), log


def _due(learner: OffPolicy, steps: int) -> int:
    """Gradient steps in all after so many steps of the environment."""
    passed = max(steps - learning_begins(learner), 0)
    return int(learner.updates_per_step * passed) + (learner.priming if passed else 0)


def _share(progress: Progress, done: int) -> float:
    return progress._replace(done=done).share


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _update(
    learner: OffPolicy,
    count: int,
    replay: Replay,
    agent: PyTree,
    judge: PyTree,
    steps: Transition,
    hooks: Hooks,
    progress: tuple[Any, Any],
    key: PRNGKeyArray,
) -> tuple[Replay, PyTree, PyTree, Metrics]:
    """`count` gradient steps after so many steps, and that share of all."""
    replay = replay.add(steps)
    if hooks.rates is None or hooks.rates.statistics:
        encoders = agent.policy.encoders.merge(steps.obs, jnp.ones(steps.reward.size))
        agent = eqx.tree_at(lambda a: a.policy.encoders, agent, encoders)
    done, share = progress

    sources = [(replay, learner.windows)]
    if hooks.kept is not None:
        kept = round(hooks.kept_share * learner.windows)
        sources = [(replay, learner.windows - kept), (hooks.kept, kept)]

    together = DRAWN_TOGETHER
    if hooks.hindsight is not None:
        each = learner.windows * max(hooks.hindsight.longest(source) for source, _ in sources)
        together = max(min(together, LOOKED_AT_TOGETHER // each), 1)

    def draw(key: PRNGKeyArray) -> tuple[list[Draw], Sequence[PRNGKeyArray]]:
        sample_key, *keys = jax.random.split(key, 4)
        own = [sample_key] if len(sources) == 1 else jax.random.split(sample_key)
        pairs = zip(sources, own, strict=True)
        return [_drawn(*source, learner.length, hooks.hindsight, k) for source, k in pairs], keys

    def one(carry: tuple[PyTree, PyTree], now: tuple[list[Draw], Sequence[PRNGKeyArray]]):
        agent, judge = carry
        draws, (learn_key, transform_key, reference_key) = now
        windows = [
            _window(source, draw, hooks.hindsight)
            for (source, _), draw in zip(sources, draws, strict=True)
            if draw is not None
        ]
        window = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *windows)
        if hooks.hindsight is not None and hooks.hindsight.latent:
            window = hooks.hindsight.judged(window, agent.policy.encoders.by_group[DESIRED])
        batch = learner.batch(window)
        judged: dict[str, Array] = {}
        if hooks.transform is not None:
            compared = None
            if hooks.reference is not None:
                other = hooks.reference.transitions(learner.batch_size, 1, reference_key)
                compared = n_step(other, learner.discount)
            judge, batch, judged = hooks.transform(judge, batch, compared, done, transform_key)
        agent, log = learner.step(agent, window, batch, hooks, share, learn_key)
        return (agent, judge), log | judged

    if not count:
        return replay, agent, judge, {}
    drawn = jax.lax.map(draw, jax.random.split(key, count), batch_size=together)
    (agent, judge), logs = jax.lax.scan(one, (agent, judge), drawn)
    return replay, agent, judge, jax.tree.map(lambda x: x.mean(), logs)


def _drawn(
    replay: Replay, size: int, length: int, hindsight: Hindsight | None, key: PRNGKeyArray
) -> Draw:
    if not size:
        return None
    places = replay.places(size, length, key)
    if hindsight is None:
        return places, None
    return places, hindsight.choose(replay, places, jax.random.fold_in(key, 2))


def _window(
    replay: Replay, draw: tuple[Places, Chosen | None], hindsight: Hindsight | None
) -> Transition:
    places, chosen = draw
    window = replay.transitions_at(places)
    if hindsight is None or chosen is None:
        return window
    return hindsight(replay, window, chosen)


def scaled(step: PyTree, rate: Array | float) -> PyTree:
    """A gradient step times a factor."""
    return jax.tree.map(lambda x: rate * x, step)
