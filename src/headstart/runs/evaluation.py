"""What a policy is worth in a domain: the harness's own episodes, with seeds of their own."""

import itertools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from headstart import envs
from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.envs.ledger import Tally
from headstart.envs.vector_env import VectorEnv
from headstart.experience.unroll import Played, returns
from headstart.policies.policy import AbstractPolicy, ActorPolicy, Watched
from headstart.problem import Domain, TransferProblem
from headstart.runs.logger import ShowProgress, silent


def evaluate(domain: Domain, policy: AbstractPolicy, episodes: int, seed: int) -> np.ndarray:
    """Returns `[episodes]` of a policy's most likely actions in a `domain` that no method sees;
    every episode begins with nothing remembered.

    Args:
        domain: where it acts.
        policy: who acts.
        episodes: how many.
        seed: of the episodes, which are the same for every policy and method.
    """
    return scored(domain, policy, episodes, seed)[0]


def scored(
    domain: Domain, policy: AbstractPolicy, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same, and of the episodes of which it is known, 1 for a success and 0 for another: one
    that ended where its goal is achieved; or, without goals, one with a step that the environment
    called a success. Nothing if it is known of none."""
    running, rounds = _copies(domain, episodes, seed)
    goals = running.spec.goals
    ends: list[list[float]] = [[] for _ in range(running.num)]
    met = np.full(running.num, np.nan)

    def watch(seen: Played) -> None:
        ended = seen.step.terminated | seen.step.truncated
        if goals is None and seen.step.succeeded is not None:
            met[seen.rows] = np.fmax(met[seen.rows], seen.step.succeeded)
        if not ended.any():
            return
        over = seen.rows[ended]
        if goals is not None:
            led = [jnp.float32(seen.step.next_obs[group][ended]) for group in (ACHIEVED, DESIRED)]
            met[over] = np.asarray(goals.success(*led))
        for copy in over:
            ends[int(copy)].append(float(met[copy]))
        met[over] = np.nan

    found = returns(policy, running, rounds, watch=watch).ravel()[:episodes]
    success = np.array(ends).ravel()[:episodes]
    known = success[~np.isnan(success)]
    return found, known if len(known) else None


def explore(
    domain: Domain, policy: ActorPolicy, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same with actions that are drawn, as in training: returns `[episodes]`, and the entropy
    of the policy in every state that it met, in nats."""
    entropies: list[np.ndarray] = []

    def watch(seen: Played) -> None:
        entropies.append(np.asarray(seen.carry.memory[1])[seen.rows])

    key = jax.random.key(seed_for(seed, "actions"))
    found = returns(Watched(policy), *_copies(domain, episodes, seed), key, watch)
    return found.ravel()[:episodes], np.concatenate(entropies)


def _copies(domain: Domain, episodes: int, seed: int) -> tuple[VectorEnv, int]:
    """Running copies, and how many episodes each is to play."""
    running = envs.start(domain, min(episodes, 64), evaluation_seed(seed), tally=Tally())
    return running, -(-episodes // running.num)


def sweep(
    problem: TransferProblem,
    first: AbstractPolicy,
    last: AbstractPolicy,
    seed: int,
    progress: ShowProgress = silent,
) -> list[dict[str, Any]]:
    """Returns of the zero-shot and the last policy at each value of the swept parameter, or of
    one at each of another."""
    rows: list[dict[str, Any]] = []
    if not problem.sweep:
        return rows
    every = list(itertools.product(*problem.sweep.values()))
    for done, values in enumerate(every, start=1):
        at = dict(zip(problem.sweep, values, strict=True))
        domain = problem.target.with_parameters(**at)
        found, success = scored(domain, first, problem.sweep_episodes, seed)
        scores = found.tolist()
        names = list(at)
        row = {"parameter": names[0], "value": values[0], "zero_shot": scores, "adapted": scores}
        if len(names) > 1:
            row |= {"second": names[1], "second_value": values[1]}
        if success is not None:
            row["success"] = success.tolist()
        if last is not first:
            row["adapted"] = evaluate(domain, last, problem.sweep_episodes, seed).tolist()
        rows.append(row)
        progress("sweep", done, len(every))
    return rows


def evaluation_seed(seed: int) -> int:
    """Of the episodes that a run is evaluated by."""
    return seed_for(seed, "evaluate")


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for every purpose."""
    return int(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(1)[0])
