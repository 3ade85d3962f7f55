"""A whole run of DARC on the broken half-cheetah, on one core: its seconds."""

import os
import tempfile
import time
from pathlib import Path

STEPS = 200_000


def seconds(steps: int) -> float:
    from headstart.problem import with_access
    from headstart.problem.named import find
    from headstart.runs.job import make_job, prepare
    from headstart.runs.run import run

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    problem = with_access(find("broken-cheetah"), steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(problem, "darc", 0, Path(folder), {"steps": steps})
        prepare(job, resume=False)
        start = time.perf_counter()
        run(job)
        return time.perf_counter() - start
