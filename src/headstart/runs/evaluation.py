"""What a policy is worth in a domain: the harness's own episodes, with seeds of their own."""

import zlib
from typing import Any

import numpy as np

from headstart import envs
from headstart.experience.unroll import returns
from headstart.policies.policy import AbstractPolicy
from headstart.problem import Domain, TransferProblem
from headstart.runs.logger import ShowProgress, silent


def evaluate(domain: Domain, policy: AbstractPolicy, episodes: int, seed: int) -> np.ndarray:
    """Returns `[episodes]` of the most likely actions in a `domain` that no method sees; every
    episode begins with nothing remembered."""
    running = envs.start(domain, min(episodes, 64), seed_for(seed, "evaluate"))
    rounds = -(-episodes // running.num)
    return returns(policy, running, rounds).ravel()[:episodes]


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
