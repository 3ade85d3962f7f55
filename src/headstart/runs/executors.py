"""Many runs. Each is a folder that `job.prepare` made; an executor needs nothing but its path.

`LocalProcesses` runs one single-threaded process on each core. To use a cluster instead, name an
`Executor` of your own: it is to execute `python -m headstart.runs.worker FOLDER` somewhere that
sees the folder, and to say when that has ended.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from headstart.registry import Registry
from headstart.runs.job import Job


@runtime_checkable
class Handle(Protocol):
    """A worker under way."""

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that killed it), or none while it runs."""
        ...

    def error(self) -> str:
        """What it said when it failed."""
        ...

    def stop(self) -> None: ...


@runtime_checkable
class Executor(Protocol):
    """Where workers run."""

    @property
    def slots(self) -> int: ...
    def start(self, folder: Path, slot: int) -> Handle: ...


EXECUTORS = Registry(
    "executor", {"local": "headstart.runs.executors:LocalProcesses"}, needs=("start",)
)


@dataclass(frozen=True)
class LocalProcesses:
    """Processes on this machine, each pinned to a core of its own."""

    slots: int = field(default_factory=lambda: len(cores()))

    def start(self, folder: Path, slot: int) -> "LocalProcess":
        core = cores()[slot % len(cores())]
        # A fork of a process that runs threads can deadlock, so the worker pins itself.
        # With -P, nothing that lies in the working directory is taken for a module unasked.
        command = [sys.executable, "-P", "-m", "headstart.runs.worker", str(folder), str(core)]
        errors = (folder / "worker.err").open("wb")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        errors.close()
        return LocalProcess(process, folder)


def executor(name: str, workers: int | None = None) -> Executor:
    """The executor of that name, `local` or `module:Class`, for so many workers if that is said.

    Raises:
        HeadstartError: there is none.
    """
    kind = EXECUTORS.find(name)
    return kind() if workers is None else kind(workers)


@dataclass(frozen=True)
class LocalProcess:
    process: subprocess.Popen[bytes]
    folder: Path

    def poll(self) -> int | None:
        return self.process.poll()

    def error(self) -> str:
        return error_in(self.folder / "worker.err")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def error_in(file: Path) -> str:
    """The last line of what a process said in a file; of a traceback, the error."""
    said = file.read_text(errors="replace").strip()
    _, traceback, after = said.rpartition("Traceback (most recent call last)")
    if not traceback:
        return said.splitlines()[-1] if said else "it said nothing"
    error = next(line for line in after.splitlines()[1:] if line and not line[0].isspace())
    return f"{error} (where, is in {file})"


@dataclass(frozen=True)
class Failure:
    """A run that did not end well."""

    job: Job
    reason: str


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


Watch = Callable[[dict[Job, float], int, int], None]
"""Is told a few times a second the running jobs with the share done of each, how many have ended
and how many there are."""


NO_RESULT = (
    "its worker ended as if all were well and left no result: does the environment or the method "
    "call sys.exit?"
)


def unwatched(running: dict[Job, float], ended: int, total: int) -> None:
    """Nobody looks."""


def run_all(
    jobs: Sequence[Job],
    executor: Executor,
    watch: Watch = unwatched,
) -> list[Failure]:
    """Run the prepared jobs; what failed and why. A failure stops no other run.

    Runs that share their pre-training wait for the first of them.
    """
    pending, free = list(jobs), list(range(executor.slots))
    running: dict[Job, tuple[int, Handle]] = {}
    failures: list[Failure] = []
    try:
        while pending or running:
            for job, (slot, handle) in list(running.items()):
                status = handle.poll()
                if status is None:
                    continue
                del running[job]
                free.append(slot)
                if status:
                    failures.append(Failure(job, _reason(status, handle)))
                elif not (job.folder / "result.json").exists():
                    failures.append(Failure(job, NO_RESULT))
            for job in list(pending):
                busy = {other.untouched_key for other in running if not _carried(other)}
                if free and (job.untouched_key not in busy or _carried(job)):
                    slot = free.pop(0)
                    pending.remove(job)
                    running[job] = (slot, executor.start(job.folder, slot))
            watch(
                {job: _share(job) for job in running},
                len(jobs) - len(pending) - len(running),
                len(jobs),
            )
            time.sleep(0.2)
    finally:
        for _, handle in running.values():
            handle.stop()
    return failures


def _carried(job: Job) -> bool:
    return (job.folder / "knowledge").exists()


def _reason(status: int, handle: Handle) -> str:
    if status < 0:
        return f"its worker was killed by signal {-status} (out of memory?)"
    return handle.error()


def _share(job: Job) -> float:
    try:
        return float((job.folder / ".progress").read_text())
    except (OSError, ValueError):
        return 0.0
