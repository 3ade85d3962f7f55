"""How well the learners learn: return of the most likely actions after training, seed by seed.

    uv run --locked python benchmarks/learning.py [hopper-ppo grid-dqn ...] [--workers N]

runs what is not yet there below `runs/`, prints the table beside the stored one (`learning.json`),
and says where the intervals of the two do not overlap; `--store` replaces the stored one.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import headstart

headstart.prepare_jax()

from headstart import Access, Domain, TransferProblem
from headstart.problem.named import find
from headstart.result import Result, estimate
from headstart.runs.executors import executor, run_all
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.progress import board

STORED = Path(__file__).with_suffix(".json")
SETTINGS: dict[str, Mapping[str, Any]] = {
    "ppo": {"algorithm": "ppo"},
    "sac": {"algorithm": "sac"},
    "swing-up": find("rusty-hinge").learner,
    "dqn-small": find("wall").learner,
    "sac-small": find("archery").learner,
    "sac-middle": find("cheetah-obstacle").learner,
    "imitation": find("rainy-drive").learner,
}


@dataclass(frozen=True)
class Case:
    """A learner in one environment, whose parameters are nominal."""

    environment: str
    settings: str
    steps: int
    seeds: int

    @property
    def learner(self) -> Mapping[str, Any]:
        return SETTINGS[self.settings]

    @property
    def name(self) -> str:
        return f"{self.environment}-{self.learner['algorithm']}"

    def problem(self) -> TransferProblem:
        """Trained and judged in the same domain."""
        return TransferProblem(
            name=f"learning-{self.name}",
            source=Domain(self.environment),
            target=Domain(self.environment),
            access=Access(shots=(0,)),
            learner=self.learner,
            methods={"source-only": {"steps": self.steps}},
        )

    def jobs(self, out: Path) -> list[Job]:
        return [make_job(self.problem(), "source-only", seed, out) for seed in range(self.seeds)]

    def said(self, scores: list[float]) -> str:
        """The results, for the pages of the environment and of the learner."""
        numbers = ", ".join(f"{score:g}" for score in scores)
        return f"`{self.name}` | {self.steps:,} | {numbers}"


CASES = {
    case.name: case
    for case in (
        Case("hopper", "ppo", 1_000_000, 5),
        Case("walker", "ppo", 1_000_000, 4),
        Case("half-cheetah", "ppo", 1_000_000, 4),
        Case("ant", "ppo", 1_000_000, 3),
        Case("cart-pole", "swing-up", 600_000, 5),
        Case("half-cheetah", "sac", 100_000, 3),
        Case("two-way-cheetah", "sac-middle", 60_000, 3),
        Case("plane", "sac-small", 40_000, 3),
        Case("runner", "sac-small", 20_000, 3),
        Case("navigation", "sac-small", 20_000, 3),
        Case("maze", "sac-small", 20_000, 3),
        Case("archery", "sac-small", 20_000, 3),
        Case("grid", "dqn-small", 40_000, 3),
        Case("drive", "imitation", 25_000, 3),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--store", action="store_true", help="replace the stored table")
    options = parser.parse_args()
    every = {name: CASES[name].jobs(options.out) for name in options.cases or CASES}
    todo = [job for row in every.values() for job in row if not prepare(job, resume=True)]
    with board(len(todo)) as watch:
        failures = run_all(todo, executor("local", options.workers), watch)
    if failures:
        sys.exit(f"{len(failures)} runs failed, first {failures[0].reason}")
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    found, worse = {}, []
    for name, row in every.items():
        results = [Result.read(job.folder / "result.json") for job in row]
        found[name] = [float(f"{result.shots[0].score:.4g}") for result in results]
        rows = {name: found[name], "  stored": stored.get(name, [])}
        told = {what: estimate(scores) for what, scores in rows.items() if scores}
        for what, e in told.items():
            print(f"{what:<20}{e.value:8.4g} [{e.low:.4g}, {e.high:.4g}]")
        if "  stored" in told and told[name].high < told["  stored"].low:
            worse.append(name)
    print(f"worse than stored: {', '.join(worse) or 'none'}")
    if options.store:
        rows = [f' "{name}": {json.dumps(scores)}' for name, scores in (stored | found).items()]
        STORED.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
