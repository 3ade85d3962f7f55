"""What a person sees while they wait: the share done and the time left."""

import os
import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

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

from headstart.interrupts import stop_if_asked
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


SECONDS_BETWEEN_LINES = 10.0
"""Where nobody looks at a terminal."""


@contextmanager
def bars(title: str, folder: Path) -> Generator[ShowProgress]:
    """A bar for each phase of one run, whose log lies in `folder`, with the latest return; lines
    where there is no terminal."""
    console = Console(stderr=True)
    with Progress(*_columns(), console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}
        due = Every(SECONDS_BETWEEN_LINES)

        def progress(phase: str, done: float, total: float) -> None:
            stop_if_asked()
            if phase not in tasks:
                tasks[phase] = shown.add_task("", total=total)
            said = f"{title}: {phase}{_return(folder)}"
            shown.update(tasks[phase], completed=min(done, total), description=said)
            if not console.is_terminal and due():
                console.print(f"{said}, {done / total:.0%}", highlight=False)

        yield progress


@contextmanager
def board(total: int) -> Generator[Watch]:
    """One bar for all runs, and one for each that is under way, with its latest return; lines where
    there is no terminal."""
    console = Console(stderr=True)
    with Progress(*_columns(), console=console, disable=not console.is_terminal) as shown:
        everything = shown.add_task(f"{total} runs", total=max(total, 1))
        tasks: dict[Job, TaskID] = {}
        due = Every(SECONDS_BETWEEN_LINES)

        def watch(running: Mapping[Job, float], ended: int, of: int) -> None:
            stop_if_asked()
            for job in tasks.keys() - running.keys():
                shown.remove_task(tasks.pop(job))
            said = {job: f"{job.label}, seed {job.seed}{_return(job.folder)}" for job in running}
            for job, share in running.items():
                if job not in tasks:
                    tasks[job] = shown.add_task("", total=1.0)
                shown.update(tasks[job], completed=share, description=f"  {said[job]}")
            shown.update(everything, completed=ended + sum(running.values()))
            if running and not console.is_terminal and due():
                each = "; ".join(f"{said[job]}, {share:.0%}" for job, share in running.items())
                console.print(f"{ended} of {of} runs: {each}", highlight=False, soft_wrap=True)

        yield watch


class Every:
    """True once in so many seconds, and not at once."""

    def __init__(self, seconds: float):
        self._seconds, self._last = seconds, time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True


def _return(folder: Path) -> str:
    """The latest return of training that a run has logged, for a person."""
    try:
        with (folder / "log.jsonl").open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
            *_, last = re.findall(rb'"train_return": (-?[\d.]+)', file.read())
    except (OSError, ValueError):
        return ""
    return f", return {float(last):.4g}"
