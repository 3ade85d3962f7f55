"""Finished runs of several methods on one problem, as they lie on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headstart import records
from headstart.errors import HeadstartError
from headstart.methods import METHODS
from headstart.problem import TransferProblem, from_table
from headstart.result import Result
from headstart.runs.executors import error_in
from headstart.runs.job import Job
from headstart.runs.logger import rows

LEFT_OUT = "left_out.json"
"""Beside the methods' folders."""


class Compared(NamedTuple):
    """A problem, what several methods made of it, and what is not finished."""

    folder: Path
    problem: TransferProblem
    results: dict[str, list[Result]]
    """The finished runs by method, baselines first, each method's by seed."""
    jobs: dict[str, Job]
    """The first run of every method, as it was asked for."""
    logs: dict[str, list[list[dict[str, Any]]]]
    """What the runs of every method have logged."""
    unfinished: dict[str, str]
    """Folders of runs that failed or were not run to their end, and what they said."""
    left_out: dict[str, str]
    """Methods that a comparison of everything could not run, and why."""


def read(folder: Path | str) -> Compared:
    """The runs of one problem below `folder`.

    Raises:
        HeadstartError: none is finished, one is damaged, or they are not of one problem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HeadstartError(f"there is no folder {folder}")
    found: dict[str, list[Result]] = {}
    for path in sorted(folder.glob("*/*/result.json")):
        result = Result.read(path)
        if (result.method, str(result.seed)) != path.parent.parts[-2:]:
            raise HeadstartError(
                f"{path} is a result of {result.method}, seed {result.seed}: a run's folder is "
                "METHOD/SEED, so remove it or put it where it belongs"
            )
        found.setdefault(result.method, []).append(result)
    if not found:
        raise HeadstartError(
            f"{folder} holds no finished run: give the folder of a problem, as in runs/hopper-mass"
        )
    known = list(METHODS)
    order = sorted(
        found,
        key=lambda m: (
            known.index(m.split(":")[0]) if m.split(":")[0] in known else 99,
            m,
        ),
    )
    configs = sorted(folder.glob("*/*/config.json"))
    unfinished = {
        str(c.parent): _said(c.parent) for c in configs if not (c.parent / "result.json").exists()
    }
    results = {label: sorted(found[label], key=lambda r: r.seed) for label in order}
    problem = _problem(folder, results)
    for label, runs in results.items():
        for result in runs:
            if tuple(shot.episodes for shot in result.shots) != problem.access.shots:
                raise HeadstartError(
                    f"{folder / label / str(result.seed)}/result.json is damaged: its shots are "
                    f"not the problem's, {', '.join(map(str, problem.access.shots))}"
                )
    return Compared(
        folder,
        problem,
        results,
        {label: Job.read(folder / label / str(runs[0].seed)) for label, runs in results.items()},
        {
            label: [rows(folder / label / str(run.seed)) for run in runs]
            for label, runs in results.items()
        },
        unfinished,
        _left_out(folder / LEFT_OUT),
    )


def _said(run: Path) -> str:
    errors = run / "worker.err"
    failed = errors.exists() and errors.stat().st_size
    return error_in(errors) if failed else "not run to its end"


def _left_out(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return records.fitted(records.read(path), dict[str, str], str(path))


def _problem(folder: Path, results: Mapping[str, Sequence[Result]]) -> TransferProblem:
    stated: Any = None
    for label, runs in results.items():
        for result in runs:
            path = folder / label / str(result.seed) / "config.json"
            try:
                config = records.read(path)
                # What it sets for one method is nothing to the runs of another.
                found = config["problem"] | {"methods": {}}, config["versions"]
            except (KeyError, TypeError) as error:
                raise HeadstartError(f"{path} is damaged: {error!r}") from None
            stated = found if stated is None else stated
            if found != stated:
                raise HeadstartError(
                    f"{path.parent} is a run on another version of the problem or of Headstart: "
                    "give each its own --out"
                )
    return from_table(stated[0])
