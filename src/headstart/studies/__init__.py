"""Published claims, re-run.

A study is a module with `arms()`, the runs that it compares, by name; `collect(out)`, its table of
results from the finished ones; `draw(table, path)`, `shown(table)` for a person, and
`claims(table)`. Its results as they came with this version lie beside it, as JSON.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart import records
from headstart.errors import HeadstartError, unknown

if TYPE_CHECKING:
    from headstart.problem import TransferProblem
    from headstart.result import Result
    from headstart.runs.job import Job

STUDIES = {
    "first-run": "What the first comparison of the README shows, on three triples of seeds",
    "epopt-hopper": "EPOpt on the hopper: robustness to the torso's mass, and its posterior",
    "darc-wall": "DARC on a grid whose target has a wall, and the reverse",
    "darc-archery": "DARC's corrected reward for one arrow in the wind",
    "darc-cheetah": "DARC on a half-cheetah with a dead joint or a wall behind it",
    "memory-and-context": "Memory, and being shown the body, where the body is hidden",
    "maxent-hallway": "Pre-training that keeps every way open, or settles on one, and a hallway",
    "diayn-finetune": "Skills learned without a reward, and then a task for the best of them",
    "finetune-collapse": "Fine-tuning that loses what was carried, and a recipe that holds it",
    "primacy": "Too many gradient steps on the first hundred transitions, and resets",
    "smerl-obstacle": "Five ways to solve the source, and then an obstacle on one of them",
    "source-kept": "What fine-tuning forgets of the source, and what keeps it",
    "reward-scales": "Tasks that are paid 0.01, 1 and 100 a step, learned together",
    "runner-directions": "Eight directions learned together, each alone, and those in between",
    "bit-flip": "Hindsight on bits to be flipped, which random actions never get right",
    "mixed-minatar": "One policy for five games, and a game held out",
    "fetch-reach": "Hindsight on a robot's arm that is to reach a point",
    "fetch-push": "Hindsight on a robot's arm that is to push a block",
    "point-maze-goals": "Goals in a winding maze: as they come, at the frontier, where they fail",
    "reach-avoid": "A policy that goes where it is told, and a task that no place says",
    "metaworld": "One policy for five tasks of a robot's arm",
    "confusion-drive": "Domain confusion from sun to rain, dusk, fog and a low sun",
}


Scores = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Claim:
    """A sentence, whether the numbers bear it out, and the numbers."""

    text: str
    holds: bool
    evidence: str


def above(text: str, more: Scores, less: Scores, factor: float = 1.0, digits: int = 0) -> Claim:
    """The claim that runs return more than `factor` times what others do: it holds if the interval
    of the difference does."""
    from headstart.result import contrast, iqm

    apart = contrast((1.0, more), (-factor, less))
    if factor == 1:
        by = "apart by"
    else:
        by = f"above {factor:g} times as much by"
    low, high = (float("nan") if x is None else x for x in (apart.low, apart.high))
    return Claim(
        text,
        low > 0,
        f"{iqm(more):.{digits}f} against {iqm(less):.{digits}f}, {by} {apart.value:.{digits}f} "
        f"[{low:.{digits}f}, {high:.{digits}f}]",
    )


def above_paired(text: str, more: Scores, less: Scores, digits: int = 0) -> Claim:
    """The same of runs that started from the same: it holds if the interval of the difference,
    taken seed by seed, does; and on how many seeds it is so."""
    from headstart.result import estimate

    more, less = np.asarray(more), np.asarray(less)
    apart = estimate(more - less)
    low, high = (float("nan") if x is None else x for x in (apart.low, apart.high))
    by = f"by {apart.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return Claim(text, apart.above_zero, f"{by}; on {int((more > less).sum())} of {len(more)}")


def beyond(text: str, found: Scores, bound: float, below: bool = False) -> Claim:
    """The claim that runs are above a bound, or below it: it holds if their interval is."""
    from headstart.result import estimate

    it = estimate(found)
    low, high = (it.value if x is None else x for x in (it.low, it.high))
    holds = high < bound if below else low > bound
    return Claim(text, holds, f"{it.value:.2f} [{low:.2f}, {high:.2f}]")


def at_shots(returns: Sequence[Scores]) -> str:
    """Interquartile mean returns over runs, given as a row for each, shot by shot."""
    from headstart.result import iqm

    return "".join(f"{iqm(column):>7.0f}" for column in zip(*returns, strict=True))


ROBOT: dict[str, Any] = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 128, "num_envs": 10,
    "rollout_length": 8, "learning_starts": 2000, "learning_rate": 1e-3, "reward_scale": 1.0,
}  # fmt: skip
"""SAC for a robot, small enough for a study."""


@dataclass(frozen=True)
class Arm:
    """One of the things compared: a method, as `compare` names it, on a problem, some seeds."""

    problem: "TransferProblem"
    label: str
    seeds: int
    first: int = 0
    """The first seed: those before it have chosen settings."""

    @property
    def numbers(self) -> range:
        """Its seeds."""
        return range(self.first, self.first + self.seeds)

    def jobs(self, out: Path) -> "list[Job]":
        from headstart.runs.job import make_job

        return [make_job(self.problem, self.label, seed, out) for seed in self.numbers]

    def folders(self, out: Path) -> list[Path]:
        return [out / self.problem.name / self.label / str(seed) for seed in self.numbers]

    def results(self, out: Path) -> "list[Result]":
        """Raises:
        HeadstartError: a run is not finished.
        """
        from headstart.result import Result

        return [Result.read(folder / "result.json") for folder in self.folders(out)]

    def logged(self, out: Path, name: str) -> list[Any]:
        """The first value logged under a name, run by run."""
        from headstart.runs.logger import rows

        return [
            next(row[name] for row in rows(folder) if name in row) for folder in self.folders(out)
        ]


def collected(
    arms: Mapping[str, Arm], out: Path, of: Callable[[Arm, "list[Result]"], dict[str, Any]]
) -> dict[str, Any]:
    """The `arms` of a study's table, and the `versions` that they ran with.

    Args:
        arms: what is compared, by name.
        out: where the runs are kept.
        of: an arm and its finished runs; what is kept of them, beside their source steps.

    Raises:
        HeadstartError: a run is not finished.
    """
    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms.items():
        results = arm.results(out)
        table["versions"] = results[0].versions
        steps = [run.source["steps"] for run in results]
        table["arms"][name] = of(arm, results) | {"source_steps": steps}
    return table


def find(name: str) -> ModuleType:
    """Raises:
    HeadstartError: there is no such study.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return importlib.import_module(f"headstart.studies.{name.replace('-', '_')}")


def run(name: str, out: Path, workers: int | None) -> dict[str, Any]:
    """Run what is not yet there below `out`, and write `out/NAME.json` and its figure.

    Raises:
        HeadstartError: a run failed.
    """
    from headstart.runs.executors import executor, run_all
    from headstart.runs.job import prepare
    from headstart.runs.progress import board

    study = find(name)
    arms: Mapping[str, Arm] = study.arms()
    seeds = range(max(arm.seeds for arm in arms.values()))
    every = [arm.jobs(out) for arm in arms.values()]
    jobs = [jobs[seed] for seed in seeds for jobs in every if seed < len(jobs)]
    todo = [job for job in jobs if not prepare(job, resume=True)]
    with board(len(todo)) as watch:
        failures = run_all(todo, executor("local", workers), watch)
    if failures:
        raise HeadstartError(
            f"{len(failures)} of {len(jobs)} runs failed, first {failures[0].job.folder}: "
            f"{failures[0].reason}; run the study again to go on with it"
        )
    table = study.collect(out) | {"problems": posed(name), "compared": compared(name)}
    path = out / f"{name}.json"
    path.write_text(json.dumps(table | {"digest": records.digest(table)}, indent=1))
    study.draw(table, path.with_suffix(".svg"))
    return table


def posed(name: str) -> dict[str, Any]:
    """The problems of a study as they stand now, with what they set for its methods."""
    from headstart.runs.job import method_name

    arms = find(name).arms().values()
    problems = {arm.problem.name: arm.problem.as_table() for arm in arms}
    for problem, table in problems.items():
        labels = {arm.label for arm in arms if arm.problem.name == problem}
        used = labels | {method_name(label) for label in labels}
        table["methods"] = {k: v for k, v in table["methods"].items() if k in used}
    return json.loads(json.dumps(problems))


def compared(name: str) -> dict[str, Any]:
    """The arms of a study as they stand now: problem, method, and seeds of each."""
    return {
        arm: {"problem": a.problem.name, "method": a.label, "seeds": [a.first, a.seeds]}
        for arm, a in find(name).arms().items()
    }


def stored(name: str, folder: Path = Path(__file__).parent) -> dict[str, Any]:
    """The results that came with this version.

    Raises:
        HeadstartError: none came with it, or they are damaged, or the problems or arms of the study
            have changed since.
    """
    path = folder / f"{name.replace('-', '_')}.json"
    if not path.exists():
        raise HeadstartError(f"{path} is not there: run the study without --check")
    table = records.read(path)
    if table.pop("digest", None) != records.digest(table):
        raise HeadstartError(f"{path} is damaged: run the study again, without --check")
    for what, now in (("problem", posed(name)), ("arm", compared(name))):
        then = table["problems" if what == "problem" else "compared"]
        for one in now | then:
            if now.get(one) != then.get(one):
                raise HeadstartError(
                    f"the {what} {one} has changed since the results in {path} were stored: run "
                    "the study again, without --check"
                )
    return table
