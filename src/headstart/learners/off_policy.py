"""The two loops of learners that remember: on a source, resumable; on a target, by episodes.

A correction makes the experience of the source worth more to the target: it learns from samples of
both, and changes the samples that the learner sees.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from headstart.errors import HeadstartError
from headstart.knowledge import filled, grouped, joined, leaves
from headstart.learners.auxiliary import Auxiliary
from headstart.learners.dqn import DQN
from headstart.learners.policy import Policy, anything
from headstart.learners.ppo import Transitions
from headstart.learners.replay import Replay, Sample
from headstart.learners.rollout import Episodes, chunk, episodes, log_round, seed_from
from headstart.learners.sac import SAC
from headstart.target import Counted, Source, Target

LOGGED_EVERY = 1024
BLOCK = 16
"""Gradient steps in a compiled call between episodes of a target, however long those are."""


Learner = SAC | DQN


class Correction(Protocol):
    """Learns from samples of both domains, and changes what is learned from the source's."""

    def init(self, observation: spaces.Box, action: Any, key: PRNGKeyArray) -> Any: ...
    def target_steps(self, done: int) -> int:
        """Steps of the target to have taken after `done` steps of the source."""
        ...

    def correct(
        self, state: Any, source: Sample, target: Sample, done: Array, key: PRNGKeyArray
    ) -> tuple[Any, Sample, dict[str, Array]]:
        """Learn, then correct `source`, after `done` steps of the source."""
        ...

    def measure(self, state: Any, source: Transitions, target: Transitions) -> dict[str, Array]:
        """How well it judges experience that it has not learned from."""
        ...


def random_steps(learner: Learner) -> int:
    """Steps with random actions, in whole chunks; learning begins with the chunk after them."""
    each = learner.environments * learner.steps
    return -(-learner.random_steps // each) * each


class Stream:
    """Running copies of a domain, and what is remembered of them."""

    def __init__(self, learner: Learner, batch: Counted, capacity: int):
        self.batch = batch
        space = batch.environment.observation_space, batch.environment.action_space
        self.replay = Replay.empty(*space, capacity, batch.num, learner.steps)
        self.obs: Any = None

    def collect(self, policy: Any, steps: int, key: PRNGKeyArray) -> Transitions:
        """`steps` steps of every copy, remembered."""
        if self.obs is None:
            self.obs = self.batch.reset()
        seen, self.obs = chunk(policy, self.batch, self.obs, steps, key)
        self.replay = self.replay.add(seen)
        return seen

    def state(self) -> dict[str, np.ndarray]:
        own = joined({"replay": leaves(self.replay), "batch": self.batch.state()})
        return own if self.obs is None else own | {"obs": np.asarray(self.obs)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        groups = grouped(state)
        self.batch.restore(groups["batch"])
        self.replay = filled(self.replay, groups["replay"], "the checkpoint")
        self.obs = state.get("obs")


class Trained(NamedTuple):
    """What comes out: the learner's state and, with a correction, what judged."""

    agent: Any
    judge: Any


class Progress(NamedTuple):
    """Where a training loop stands."""

    iteration: int
    updates: float
    """Gradient steps that are due."""


def train(
    learner: Learner,
    source: Source | Target,
    steps: int,
    key: PRNGKeyArray,
    correction: Correction | None = None,
    target: Target | None = None,
    auxiliary: Auxiliary | None = None,
) -> Trained:
    """Train for at least `steps` steps, going on from the journal's checkpoint if there is one.

    With a correction, `target` is stepped as well, as often as the correction says. An auxiliary's
    loss is added to the learner's.

    Raises:
        HeadstartError: all steps would be random, and none learned from.
    """
    each = learner.environments * learner.steps
    if steps <= random_steps(learner):
        raise HeadstartError(
            f"the first {learner.random_steps} of {steps} steps are random, in chunks of {each}, "
            "and learning begins after them: take more steps, or lower learner.random_steps"
        )
    start_key, seed_key, run_key, correction_key, target_key = jax.random.split(key, 5)
    environment = source.environment
    space = environment.observation_space, environment.action_space
    state = _begun(learner, space, auxiliary, start_key)
    judge = correction.init(*space, correction_key) if correction is not None else None
    capacity = min(learner.capacity, steps)
    streams = [Stream(learner, source.start(learner.environments, seed_from(seed_key)), capacity)]
    if correction is not None and target is not None:
        kept = max(correction.target_steps(steps), 1)
        batch = target.start(learner.environments, seed_from(target_key))
        streams.append(Stream(learner, batch, kept))
    journal, meter = source.journal, source.meter
    random = anything(environment.action_space)
    loop = Progress(0, 0.0)
    saved = journal.load()
    if saved is not None:
        state, judge, loop = _restored(saved, state, judge, streams)
    began = time.monotonic(), loop.iteration
    log: dict[str, Any] = {}
    while loop.iteration * each < steps:
        done = loop.iteration * each
        act_key, target_act_key, update_key = jax.random.split(
            jax.random.fold_in(run_key, loop.iteration), 3
        )
        exploring = done >= learner.random_steps
        policy = learner.explorer(state, done / steps) if exploring else random
        seen = streams[0].collect(policy, learner.steps, act_key)
        for stream in streams[1:]:
            upto = min(done + each, steps)
            wanted = correction.target_steps(upto) if correction is not None else 0
            taken = target.meter.steps if target is not None else 0
            while taken + each <= wanted:
                share = jax.random.fold_in(target_act_key, taken)
                fresh = stream.collect(policy, learner.steps, share)
                taken += each
                log |= correction.measure(judge, seen, fresh)  # pyright: ignore
        done += each
        logged = done % LOGGED_EVERY < each or done >= steps
        if auxiliary is not None and logged:
            shown = seen.obs.reshape(-1, *seen.obs.shape[2:])
            log |= auxiliary.measure(state.auxiliary, state.policy.encoder, shown)
        due = loop.updates + (learner.updates * each if exploring else 0)
        count = int(due)
        if count:
            replays = tuple(stream.replay for stream in streams)
            (state, judge), learned = _updates(
                learner, correction, count, (state, judge), replays, (done, done / steps),
                auxiliary, update_key,
            )  # fmt: skip
            log |= learned
        loop = Progress(loop.iteration + 1, due - count)
        if logged:
            returns = streams[0].batch.finished()
            spent = time.monotonic() - began[0]
            journal.log(
                phase=journal.phase,
                steps=meter.steps,
                episodes=meter.episodes,
                **({"target_steps": target.meter.steps} if target is not None else {}),
                train_return=float(np.mean(returns)) if returns else None,
                **{name: round(float(value), 5) for name, value in log.items()},
                steps_per_second=round((loop.iteration - began[1]) * each / spent),
            )
            log = {}
        journal.progress(journal.phase, done, steps)
        if journal.due() and done < steps:
            journal.save(_checkpoint(state, judge, loop, streams))
    return Trained(state, judge)


def _begun(
    learner: Learner,
    space: tuple[spaces.Box, Any],
    auxiliary: Auxiliary | None,
    key: PRNGKeyArray,
) -> Any:
    if auxiliary is None:
        return learner.init(*space, key)
    if isinstance(learner, SAC):
        raise HeadstartError("SAC sees no images, and has no encoder to align: use ppo or dqn")
    return learner.init(*space, key, auxiliary)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _updates(
    learner: Learner,
    correction: Correction | None,
    count: int,
    carry: tuple[Any, Any],
    replays: tuple[Replay, ...],
    done: tuple[Any, Any],
    auxiliary: Auxiliary | None,
    key: PRNGKeyArray,
) -> tuple[tuple[Any, Any], dict[str, Array]]:
    """`count` gradient steps after `done` steps, and that share of all; the log is their mean."""

    def one(carry: tuple[Any, Any], key: PRNGKeyArray):
        state, judge = carry
        sample_key, learn_key, correct_key, *keys = jax.random.split(key, 4)
        sample = replays[0].sample(learner.batch, sample_key, learner.discount, learner.n_step)
        judged: dict[str, Array] = {}
        if correction is not None:
            wanted = replays[1].sample(learner.batch, keys[0], learner.discount)
            judge, sample, judged = correction.correct(judge, sample, wanted, done[0], correct_key)
        further = () if auxiliary is None else (auxiliary, done[1])
        state, log = learner.learn(state, sample, learn_key, *further)
        return (state, judge), log | judged

    carry, logs = jax.lax.scan(one, carry, jax.random.split(key, count))
    return carry, jax.tree.map(lambda x: x.mean(), logs)


def improve(
    learner: Learner, target: Target, state: Any, episodes_per_update: int, key: PRNGKeyArray
) -> Iterator[Policy]:
    """Policies for the target: the one given, then one after each round of episodes."""
    yield _kept(learner.explorer(state, 1.0))
    left = target.episodes_left
    if left is None:
        raise ValueError("improve needs a target with a limited number of episodes")
    environment = target.environment
    space = environment.observation_space, environment.action_space
    replay = Replay.empty(*space, learner.capacity, 1, learner.steps)
    pending: list[np.ndarray] = []  # rows that do not fill a chunk yet
    total, iteration, due = left, 0, 0.0
    while left > 0:
        seed_key, act_key, update_key = jax.random.split(jax.random.fold_in(key, iteration), 3)
        batch = target.start(min(episodes_per_update, left), seed_from(seed_key))
        tried = episodes(learner.explorer(state, 1.0), batch, key=act_key)
        replay, pending = _remembered(replay, tried, pending, learner.steps)
        due += learner.updates * len(tried.reward)
        learned: list[tuple[int, dict[str, Array]]] = []
        for count in (BLOCK, 1):
            while due >= count and replay.filled > 0:
                update_key, block_key = jax.random.split(update_key)
                (state, _), log = _updates(
                    learner, None, count, (state, None), (replay,), (0, 1.0), None, block_key
                )
                due -= count
                learned.append((count, log))
        gradient_steps = sum(count for count, _ in learned)
        log = {
            name: sum(count * log[name] for count, log in learned) / gradient_steps
            for name in (learned[0][1] if learned else ())
        }
        iteration += 1
        left -= batch.num
        log_round(target, tried, log, total)
        yield _kept(learner.explorer(state, 1.0))


def _kept(policy: Policy) -> Policy:
    """A copy, since the next round of updates gives up the arrays of the state."""
    return jax.tree.map(jnp.copy, policy)


def _remembered(
    replay: Replay, tried: Episodes, pending: list[np.ndarray], steps: int
) -> tuple[Replay, list[np.ndarray]]:
    """The replay with episodes added in chunks of `steps`, and the rows that are left over."""
    columns = [*tried[:6]]
    if pending:
        columns = [np.concatenate(pair) for pair in zip(pending, columns, strict=True)]
    chunks = len(columns[2]) // steps
    for start in range(0, chunks * steps, steps):
        cut: list[Any] = [column[start : start + steps, None] for column in columns]
        replay = replay.add(Transitions(*cut, weight=cut[2], valid=cut[2]))
    return replay, [column[chunks * steps :] for column in columns]


def _checkpoint(
    state: Any, judge: Any, loop: Progress, streams: list[Stream]
) -> dict[str, np.ndarray]:
    groups = {"agent": leaves(state), "judge": leaves(judge), "loop": loop._asdict()}
    groups |= {f"stream{i}": stream.state() for i, stream in enumerate(streams)}
    return joined(groups)


def _restored(
    saved: Mapping[str, np.ndarray], state: Any, judge: Any, streams: list[Stream]
) -> tuple[Any, Any, Progress]:
    groups = grouped(saved)
    for i, stream in enumerate(streams):
        stream.restore(groups[f"stream{i}"])
    state = filled(state, groups["agent"], "the checkpoint")
    judge = filled(judge, groups.get("judge", {}), "the checkpoint")
    loop = groups["loop"]
    return state, judge, Progress(int(loop["iteration"]), float(loop["updates"]))
