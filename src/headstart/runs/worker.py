"""What a worker does: one prepared run, its progress in a file beside it.

    python -m headstart.runs.worker FOLDER [CORE]

With a core it is pinned to that, and ends when the process that started it does.
"""

import os
import sys
import threading
import time
from pathlib import Path


def work(folder: Path) -> None:
    """Run the job that was prepared in `folder`, if it is still the same here."""
    from headstart.runs.job import Job, prepare
    from headstart.runs.run import run

    told = 0.0
    job = Job.read(folder)
    prepare(job, resume=True)

    def progress(phase: str, done: float, total: float) -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            share = done / total
            (folder / ".progress").write_text(
                str(0.8 * share if phase == "pretrain" else 0.8 + 0.2 * share)
            )

    run(job, progress)


def end_with(parent: int) -> None:
    """End this process soon after its parent's end: nobody would know of it any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Pin this process to its core, and work."""
    if len(sys.argv) > 2:
        end_with(os.getppid())
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {int(sys.argv[2])})
    from headstart.errors import HeadstartError
    from headstart.jax_setup import prepare_jax

    prepare_jax()
    try:
        work(Path(sys.argv[1]))
    except HeadstartError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
