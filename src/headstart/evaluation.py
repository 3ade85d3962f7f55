"""What a policy is worth in a domain: the harness's own episodes, with seeds of their own."""

import zlib
from typing import Any

import numpy as np

from headstart import envs
from headstart.envs.environment import Declared
from headstart.errors import HeadstartError
from headstart.journal import Progress, silent
from headstart.problem import Domain, TransferProblem


def evaluate(domain: Domain, policy: Any, episodes: int, seed: int) -> np.ndarray:
    """Returns `[episodes]` of the most likely actions in a `domain` that no method sees."""
    from headstart.learners import rollout

    batch = envs.start(domain, min(episodes, 64), seed_for(seed, "evaluate"))
    rounds = -(-episodes // batch.num)
    return rollout.returns(policy, batch, rounds).ravel()[:episodes]


def check_policy_fits(facts: dict[str, Any], environment: Declared) -> None:
    """Raises:
    HeadstartError: a policy with these facts cannot act in `environment`.
    """
    from headstart.learners.actors import ACTORS

    space: Any = environment.action_space
    discrete = not space.shape
    needed = {
        "obs": list(environment.observation_space.shape),
        "act": int(space.n) if discrete else space.shape[0],
        "discrete": discrete,
    }
    found = {**facts, "discrete": ACTORS[facts["actor"]].discrete}
    what = {"obs": "observations of shape", "act": "actions of size", "discrete": "discrete ="}
    for name, value in needed.items():
        if found[name] != value:
            raise HeadstartError(
                f"the policy takes {what[name]} {found[name]}, and {environment.name} has {value}: "
                "evaluate it in the environment that it was trained in"
            )


def sweep(
    stated: TransferProblem, first: Any, last: Any, seed: int, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Returns of the zero-shot and the last policy at each value of the swept parameter."""
    rows = []
    for name, values in stated.sweep.items():
        for done, value in enumerate(values, start=1):
            domain = stated.target.with_parameters(**{name: value})
            scores = evaluate(domain, first, stated.sweep_episodes, seed).tolist()
            row = {"parameter": name, "value": value, "zero_shot": scores, "adapted": scores}
            if last is not first:
                row["adapted"] = evaluate(domain, last, stated.sweep_episodes, seed).tolist()
            rows.append(row)
            progress("sweep", done, len(values))
    return rows


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for every purpose."""
    return int(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(1)[0])
