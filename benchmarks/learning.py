"""How well the learners learn: return of the most likely actions after training, seed by seed.

    uv run --locked python benchmarks/learning.py [hopper walker half-cheetah sac] [--workers N]

runs what is not yet there below `runs/`, prints the table beside the stored one (`learning.json`),
and says where the intervals of the two do not overlap; `--store` replaces the stored one.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import headstart

headstart.prepare_jax()

from headstart import Access, Domain, TransferProblem
from headstart.result import Result, estimate
from headstart.runs.executors import executor, run_all
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.progress import board

STORED = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Case:
    """A learner in one environment."""

    environment: str
    learner: str
    steps: int
    seeds: int


CASES = {
    "hopper": Case("hopper", "ppo", 1_000_000, 5),
    "walker": Case("walker", "ppo", 1_000_000, 4),
    "half-cheetah": Case("half-cheetah", "ppo", 1_000_000, 4),
    "sac": Case("half-cheetah", "sac", 100_000, 3),
}


def jobs(name: str, out: Path) -> list[Job]:
    """The runs of a case."""
    case = CASES[name]
    problem = TransferProblem(
        name=f"learning-{name}",
        source=Domain(case.environment),
        target=Domain(case.environment),
        access=Access(shots=(0,)),
        learner={"algorithm": case.learner},
        methods={"source-only": {"steps": case.steps}},
    )
    return [make_job(problem, "source-only", seed, out) for seed in range(case.seeds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--store", action="store_true", help="replace the stored table")
    options = parser.parse_args()
    every = {name: jobs(name, options.out) for name in options.cases or CASES}
    todo = [job for row in every.values() for job in row if not prepare(job, resume=True)]
    with board(len(todo)) as watch:
        failures = run_all(todo, executor("local", options.workers), watch)
    if failures:
        sys.exit(f"{len(failures)} runs failed, first {failures[0].reason}")
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    found, worse = {}, []
    for name, row in every.items():
        results = [Result.read(job.folder / "result.json") for job in row]
        found[name] = [round(result.shots[0].score) for result in results]
        now, before = (estimate([scores]) for scores in (found[name], stored.get(name, [0, 0])))
        print(f"{name:<14}{now.value:7.0f} {now.interval:<14} {found[name]}")
        print(f"{'  stored':<14}{before.value:7.0f} {before.interval:<14} {stored.get(name)}")
        if now.high is not None and before.low is not None and now.high < before.low:
            worse.append(name)
    print(f"worse than stored: {', '.join(worse) or 'none'}")
    if options.store:
        rows = [f' "{name}": {json.dumps(scores)}' for name, scores in (stored | found).items()]
        STORED.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
