"""Many runs. Each is a folder that `run.prepare` made; an engine needs nothing but its path.

`LocalProcesses` runs one single-threaded process on each core. To use a cluster instead, give
`run_all` another `Engine`: it is to execute `python -m headstart.grid FOLDER` somewhere that sees
the folder, and to say when that has ended.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headstart.errors import HeadstartError
from headstart.run import Job, run


class Handle(Protocol):
    """A worker under way."""

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that killed it), or none while it runs."""
        ...

    def error(self) -> str:
        """What it said when it failed."""
        ...

    def stop(self) -> None: ...


class Engine(Protocol):
    """Where workers run."""

    @property
    def slots(self) -> int: ...
    def start(self, folder: Path, slot: int) -> Handle: ...


@dataclass(frozen=True)
class LocalProcesses:
    """Processes on this machine, each pinned to a core of its own."""

    slots: int = field(default_factory=lambda: len(cores()))

    def start(self, folder: Path, slot: int) -> "LocalProcess":
        core = cores()[slot % len(cores())]
        # A fork of a process that runs threads can deadlock, so the worker pins itself.
        command = [sys.executable, "-m", "headstart.grid", str(folder), str(core)]
        errors = (folder / "worker.err").open("wb")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        errors.close()
        return LocalProcess(process, folder)


@dataclass(frozen=True)
class LocalProcess:
    process: subprocess.Popen
    folder: Path

    def poll(self) -> int | None:
        return self.process.poll()

    def error(self) -> str:
        said = (self.folder / "worker.err").read_text(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


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


def run_all(
    jobs: Sequence[Job],
    engine: Engine,
    watch: Callable[[dict[Job, float], int, int], None] = lambda *_: None,
) -> list[Failure]:
    """Run the prepared jobs; what failed and why. A failure stops no other run.

    Runs that share their pre-training wait for the first of them. `watch` is told a few times a
    second the running jobs with the share done of each, how many have ended and how many there are.
    """
    pending, running, failures = list(jobs), {}, []
    free = list(range(engine.slots))
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
            for job in list(pending):
                busy = {other.untouched_key for other in running if not _carried(other)}
                if free and (job.untouched_key not in busy or _carried(job)):
                    slot = free.pop(0)
                    pending.remove(job)
                    running[job] = (slot, engine.start(job.folder, slot))
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


def work(folder: Path) -> None:
    """What a worker does: one prepared run, its progress in a file beside it."""
    job = Job.read(folder)
    told = 0.0

    def progress(phase: str, done: float, total: float) -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            share = done / total
            (folder / ".progress").write_text(
                str(0.8 * share if phase == "pretrain" else 0.8 + 0.2 * share)
            )

    run(job, progress)


if __name__ == "__main__":
    if len(sys.argv) > 2 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[2])})
    from headstart import prepare_jax

    prepare_jax()
    try:
        work(Path(sys.argv[1]))
    except HeadstartError as error:
        sys.exit(str(error))
