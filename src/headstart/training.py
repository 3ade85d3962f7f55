"""One learner in one domain, and the policy that comes of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart import configuration, records
from headstart.knowledge import Knowledge
from headstart.learners import LEARNERS
from headstart.learners.learner import Learner
from headstart.methods.method import trusted
from headstart.policies.loaded import LoadedPolicy
from headstart.policies.policy import policy_from
from headstart.problem import Access, Domain, TransferProblem
from headstart.runs.job import make_job, prepare
from headstart.runs.progress import bars
from headstart.runs.run import run


@dataclass(frozen=True)
class Trained:
    """What training gave."""

    policy: LoadedPolicy
    """Acts in an environment of one's own; see `headstart.load`."""
    returns: list[float]
    """Of its most likely actions, in episodes that were not trained on."""
    folder: Path
    """Of the run: its log, and `knowledge`, for `headstart run … --from` and `evaluate`."""


def train(
    domain: Domain | str,
    learner: Learner | Mapping[str, Any] | str = "ppo",
    *,
    steps: int = 100_000,
    seed: int = 0,
    out: Path | str = "runs",
) -> Trained:
    """Train in a domain; in one that varies, every episode draws its own parameters.

    It is a run as any other: a killed one is gone on with, and a finished one is read.

    Args:
        domain: where, or the name of an environment.
        learner: a name, as of `headstart list`, or `module:Class`; or a table of fields with
            `algorithm`, as in a problem; or a learner.
        steps: of the domain, at least.
        seed: of all that is drawn.
        out: where the run is kept, in a folder by the names of the environment and the settings.

    Raises:
        HeadstartError: a name, a field or a parameter does not exist or does not suit.
    """
    domain = Domain(domain) if isinstance(domain, str) else domain
    if isinstance(learner, str):
        table: Mapping[str, Any] = {"algorithm": learner}
    elif isinstance(learner, Mapping):
        table = learner
    else:
        word = LEARNERS.name_of(type(learner))
        table = {"algorithm": word, **configuration.as_table(learner)}
    method = "domain-randomization" if domain.varied else "source-only"
    settings = {"domain": domain.as_table(), "learner": dict(table), "steps": steps}
    name = re.sub(r"[^\w.-]", "-", domain.environment)
    problem = TransferProblem(
        name=f"{name}-{records.digest(settings)[:6]}",
        source=domain,
        target=domain,
        access=Access(shots=(0,)),
        learner=table,
        methods={method: {"steps": steps}},
    )
    job = make_job(problem, method, seed, out)
    prepare(job, resume=True)
    with bars(f"{domain}, seed {seed}", job.folder) as progress:
        result = run(job, progress)
    held = Knowledge.load(job.folder / "adapted")
    policy = policy_from(held, trusted(job.method.learner))
    return Trained(LoadedPolicy(policy), result.shots[0].returns, job.folder)
