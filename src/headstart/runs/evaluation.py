"""What a policy is worth in a domain: the harness's own episodes, with seeds of their own."""

import zlib
from typing import Any

import jax
import numpy as np

from headstart import envs
from headstart.experience.unroll import returns
from headstart.policies.policy import AbstractPolicy
from headstart.problem import Domain, TransferProblem
from headstart.runs.logger import ShowProgress, silent


def evaluate(
    domain: Domain, policy: AbstractPolicy, episodes: int, seed: int, sampled: bool = False
) -> np.ndarray:
    """Returns `[episodes]` of a policy in a `domain` that no method sees; every episode begins with
    nothing remembered.

    Args:
        domain: where it acts.
        policy: who acts.
        episodes: how many.
        seed: of the episodes, which are the same for every policy and method.
        sampled: whether actions are drawn, as in training; if not, they are the most likely ones.
    """
    running = envs.start(domain, min(episodes, 64), seed_for(seed, "evaluate"))
    rounds = -(-episodes // running.num)
    key = jax.random.key(seed_for(seed, "actions")) if sampled else None
    return returns(policy, running, rounds, key).ravel()[:episodes]


def sweep(
    problem: TransferProblem,
    first: AbstractPolicy,
    last: AbstractPolicy,
    seed: int,
    progress: ShowProgress = silent,
) -> list[dict[str, Any]]:
    """Returns of the zero-shot and the last policy at each value of the swept parameter."""
    rows: list[dict[str, Any]] = []
    for name, values in problem.sweep.items():
        for done, value in enumerate(values, start=1):
            domain = problem.target.with_parameters(**{name: value})
            scores = evaluate(domain, first, problem.sweep_episodes, seed).tolist()
            row = {"parameter": name, "value": value, "zero_shot": scores, "adapted": scores}
            if last is not first:
                row["adapted"] = evaluate(domain, last, problem.sweep_episodes, seed).tolist()
            rows.append(row)
            progress("sweep", done, len(values))
    return rows


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for every purpose."""
    return int(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(1)[0])
