"""What a person sees while they wait: the share done and the time left."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headstart.runs.executors import Watch
from headstart.runs.job import Job
from headstart.runs.logger import ShowProgress


def _columns() -> list[ProgressColumn]:
    return [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]


@contextmanager
def bars(title: str) -> Generator[ShowProgress]:
    """A bar for each phase of one run."""
    with Progress(*_columns(), console=Console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}

        def progress(phase: str, done: float, total: float) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(f"{title}: {phase}", total=total)
            shown.update(tasks[phase], completed=min(done, total))

        yield progress


@contextmanager
def board(total: int) -> Generator[Watch]:
    """One bar for all runs, and one for each that is under way."""
    with Progress(*_columns(), console=Console(stderr=True)) as shown:
        everything = shown.add_task(f"{total} runs", total=max(total, 1))
        tasks: dict[Job, TaskID] = {}

        def watch(running: Mapping[Job, float], ended: int, of: int) -> None:
            for job in tasks.keys() - running.keys():
                shown.remove_task(tasks.pop(job))
            for job, share in running.items():
                if job not in tasks:
                    tasks[job] = shown.add_task(f"  {job.label}, seed {job.seed}", total=1.0)
                shown.update(tasks[job], completed=share)
            shown.update(everything, completed=ended + sum(running.values()))

        yield watch
