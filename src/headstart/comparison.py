"""Methods side by side on one problem: run, and looked at."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import HeadstartError
from headstart.knowledge import write_atomically
from headstart.methods import METHODS
from headstart.problem import TransferProblem
from headstart.report.compared import LEFT_OUT, Compared, read
from headstart.runs.checks import check_problem
from headstart.runs.executors import Failure, executor, run_all
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.progress import board

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


MOST_SEEDS = 1000


@dataclass(frozen=True)
class Comparison:
    """What several methods made of a problem."""

    folder: Path
    """Where the runs are kept."""
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Methods that cannot run on this problem, and why."""
    failures: list[Failure] = field(default_factory=list[Failure])
    """Runs that did not end well."""

    @cached_property
    def runs(self) -> Compared:
        """All that is finished, with what was logged.

        Raises:
            HeadstartError: nothing is.
        """
        return read(self.folder)

    def table(self) -> "pandas.DataFrame":
        """A row for each method, seed and shot: the return on the target, what was taken of it, and
        the return back in the source."""
        import pandas

        rows = [
            {
                "method": label, "seed": run.seed, "episodes": shot.episodes, "steps": shot.steps,
                "return": shot.score,
                "source_return": shot.source_score if shot.source else None,
                "source_steps": run.source["steps"],
            }
            for label, runs in self.runs.results.items()
            for run in runs
            for shot in run.shots
        ]  # fmt: skip
        return pandas.DataFrame(rows)

    def plot(self) -> "Figure":
        """Returns on the target over its episodes, with 95 % intervals over seeds."""
        from headstart.report import shots_figure
        from headstart.report.figures import as_written

        fig = shots_figure(self.runs.results)
        as_written(fig)
        return fig

    def report(self) -> Path:
        """Write the report, one HTML file with everything inside."""
        from headstart.report import write

        return write(self.runs)

    def _repr_html_(self) -> str:
        """For a notebook: the curves, and what each method was worth."""
        import pandas

        from headstart.report.figures import svg
        from headstart.report.table import rows

        problem, results, jobs = self.runs.problem, self.runs.results, self.runs.jobs
        worth = rows(results, None, jobs)
        ends = {0: "first", len(problem.access.shots) - 1: "last"}
        columns = {
            f"after {problem.access.shots[i]} episodes": [row[end] for row in worth]
            for i, end in ends.items()
        }
        table = pandas.DataFrame(columns, index=[row["label"] for row in worth])
        return svg(self.plot(), f"compare-{problem.name}") + table.to_html()


def compare(
    problem: TransferProblem,
    methods: Sequence[str] = (),
    *,
    seeds: int = 3,
    out: Path | str = "runs",
    workers: int | None = None,
    engine: str = "local",
    sinks: Sequence[str] = (),
) -> Comparison:
    """Run methods on a problem, each from several seeds, in processes of their own; what is
    finished already is taken as it is.

    Args:
        problem: a source, a target, and the access to it.
        methods: as on the command line; those that the problem lists if none is named, or all that
            can run.
        seeds: runs of each.
        out: where they are kept.
        workers: processes at once; one for each core if not given.
        engine: where they are executed: `local`, or `module:Class`.
        sinks: where rows of the log go too.

    Raises:
        HeadstartError: a method that was asked for does not exist or does not suit, or none does.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise HeadstartError(f"seeds must be a number from 1 to {MOST_SEEDS}, got {seeds}")
    check_problem(problem)
    wanted = tuple(methods or problem.methods)
    of: dict[str, list[Job]] = {}
    left_out: dict[str, str] = {}
    for label in dict.fromkeys(wanted or METHODS):
        try:
            of[label] = [make_job(problem, label, n, out, sinks=sinks) for n in range(seeds)]
        except HeadstartError as error:
            if wanted:
                raise
            left_out[label] = str(error)
            print(f"headstart: {label} is left out: {error}", file=sys.stderr)
    if not of:
        raise HeadstartError(f"no method can run here: {next(iter(left_out.values()))}")
    if not wanted:
        folder = Path(out) / problem.name
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / LEFT_OUT, json.dumps(left_out, indent=1).encode())
    jobs = [job for seed in zip(*of.values(), strict=True) for job in seed]
    todo = [job for job in jobs if not prepare(job, resume=True)]
    with board(len(todo)) as watch:
        failures = run_all(todo, executor(engine, workers), watch)
    return Comparison(Path(out) / problem.name, left_out, failures)
