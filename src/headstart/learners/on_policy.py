"""PPO's two loops: on a source, for a number of steps and resumable; on a target, by episodes."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.knowledge import filled, grouped, joined, leaves
from headstart.learners.auxiliary import Auxiliary
from headstart.learners.policy import Policy
from headstart.learners.ppo import PPO, PPOState
from headstart.learners.rollout import chunk, episodes, log_round, seed_from
from headstart.target import Counted, Source, Target

Weigh = Callable[[np.ndarray], np.ndarray]
"""From the returns of a set of episodes, a weight for each."""


class Loop(NamedTuple):
    """Where a training loop stands: updates made, and the meter's steps when it began."""

    iteration: int
    first: int


def train(
    ppo: PPO,
    source: Source | Target,
    steps: int,
    key: PRNGKeyArray,
    state: PPOState | None = None,
    weigh: Weigh | None = None,
    stage: int = 0,
    rates: tuple[float, float] = (1.0, 0.1),
    auxiliary: Auxiliary | None = None,
) -> PPOState:
    """Train for at least `steps` steps, going on from the journal's checkpoint if there is one.

    Experience comes in chunks of running environments. With `weigh` it comes as whole episodes
    instead, one of every copy, and the policy's loss is weighted by episode. A method that trains
    several times numbers its stages, so that a checkpoint is resumed in its own. `rates` are the
    shares of the learning rate at the start and at the end. An auxiliary's loss is added to PPO's.
    """
    start_key, seed_key, run_key = jax.random.split(key, 3)
    batch = source.start(ppo.environments, seed_from(seed_key))
    environment = source.environment
    if state is None:
        state = ppo.init(
            environment.observation_space, environment.action_space, start_key, auxiliary
        )
    journal, meter = source.journal, source.meter
    saved = journal.load()
    loop = Loop(0, meter.steps)
    if saved is not None and saved["loop/stage"] > stage:
        return state
    if saved is not None and saved["loop/stage"] == stage:
        state, obs, loop = _restored(saved, state, batch)
    else:
        obs = batch.reset()
    iteration, first = loop
    done = meter.steps - first
    started, began_at = time.monotonic(), done
    while done < steps:
        share = done / steps
        act_key, update_key = jax.random.split(jax.random.fold_in(run_key, iteration))
        if weigh is None:
            experience, obs = chunk(state.policy, batch, obs, ppo.steps, act_key)
        else:
            tried = episodes(state.policy, batch, key=act_key)
            experience = tried.transitions(ppo.minibatch, weigh(tried.returns))
        rate = rates[0] + (rates[1] - rates[0]) * share
        measured = {}
        if auxiliary is not None:
            shown = experience.obs.reshape(-1, *experience.obs.shape[2:])
            measured = auxiliary.measure(state.auxiliary, state.policy.encoder, shown)
        state, log = ppo.update(state, experience, rate, update_key, auxiliary, share)
        log |= measured
        iteration += 1
        done = meter.steps - first
        returns = batch.finished()
        journal.log(
            phase=journal.phase,
            steps=meter.steps,
            episodes=meter.episodes,
            train_return=float(np.mean(returns)) if returns else None,
            **{name: float(value) for name, value in log.items()},
            steps_per_second=round((done - began_at) / (time.monotonic() - started)),
        )
        journal.progress(journal.phase, done, steps)
        if journal.due() and done < steps:
            journal.save(_checkpoint(state, obs, Loop(iteration, first), stage, batch))
    return state


def improve(
    ppo: PPO,
    target: Target,
    state: PPOState,
    episodes_per_update: int,
    key: PRNGKeyArray,
) -> Iterator[Policy]:
    """Policies for the target: the one given, then one after each update, to the last episode."""
    yield state.policy
    left = target.episodes_left
    if left is None:
        raise ValueError("improve needs a target with a limited number of episodes")
    total, iteration = left, 0
    while left > 0:
        seed_key, act_key, update_key = jax.random.split(jax.random.fold_in(key, iteration), 3)
        batch = target.start(min(episodes_per_update, left), seed_from(seed_key))
        tried = episodes(state.policy, batch, key=act_key)
        state, log = ppo.update(state, tried.transitions(ppo.minibatch), 1.0, update_key)
        iteration += 1
        left -= batch.num
        log_round(target, tried, log, total)
        yield state.policy


def _checkpoint(
    state: PPOState,
    obs: np.ndarray,
    loop: Loop,
    stage: int,
    batch: Counted,
) -> dict[str, np.ndarray]:
    groups = {
        "agent": leaves(state),
        "batch": batch.state(),
        "loop": {"obs": obs, "stage": np.array(stage), **loop._asdict()},
    }
    return joined(groups)


def _restored(
    saved: dict[str, np.ndarray],
    state: PPOState,
    batch: Counted,
) -> tuple[PPOState, np.ndarray, Loop]:
    groups = grouped(saved)
    batch.restore(groups["batch"])
    state = filled(state, groups["agent"], "the checkpoint")
    loop = groups["loop"]
    return state, loop["obs"], Loop(int(loop["iteration"]), int(loop["first"]))
