import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import probes
from headstart import Domain
from headstart.runs.executors import LocalProcesses, error_in, run_all
from headstart.runs.job import make_job, prepare
from small import TRACK


def jobs_for(tmp_path, *labels, problem=TRACK, seed=0):
    jobs = [make_job(problem, label, seed, tmp_path) for label in labels]
    for job in jobs:
        prepare(job, resume=True)
    return jobs


def test_workers_run_jobs_and_failures_stop_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    broken = replace(TRACK, name="broken", target=Domain("probes:Raising"))
    jobs = jobs_for(tmp_path, "scratch") + jobs_for(tmp_path, "scratch", problem=broken)
    told = []
    failures = run_all(jobs, LocalProcesses(2), lambda running, ended, of: told.append((ended, of)))
    assert [failure.job for failure in failures] == [jobs[1]]
    assert "the motor is gone" in failures[0].reason
    assert "Traceback" not in failures[0].reason
    assert (jobs[0].folder / "result.json").exists()
    assert not (jobs[1].folder / "result.json").exists()
    assert told[-1] == (2, 2)


@pytest.mark.parametrize("encoders", [[], ["state=encoder_of_mine:Mine"]])
def test_a_worker_finds_what_the_user_has_written_where_they_are(encoders, tmp_path, monkeypatch):
    """And no path leads there but the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    text = Path(probes.__file__).read_text()
    Path("track_of_mine.py").write_text(text)
    encoder = (
        "\n\nfrom headstart.policies.encoders import Identity\n\n\nclass Mine(Identity): ...\n"
    )
    Path("encoder_of_mine.py").write_text(encoder)
    here = Domain("track_of_mine:Track")
    learner = TRACK.learner | {"encoders": encoders}
    problem = replace(TRACK, source=here, target=here, sweep={}, learner=learner)
    (job,) = jobs_for(tmp_path / "runs", "source-only", problem=problem)
    assert run_all([job], LocalProcesses(1)) == []
    assert (job.folder / "result.json").exists()


def test_a_killed_worker_is_named_and_its_run_goes_on_later(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    (job,) = jobs_for(tmp_path, "source-only:steps=200000")
    killed = []

    def kill(running, ended, of):
        if running and not killed and (job.folder / "log.jsonl").exists():
            children = subprocess.check_output(["pgrep", "-f", str(job.folder)], text=True)
            for pid in map(int, children.split()):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    (failure,) = run_all([job], LocalProcesses(1), kill)
    assert "killed by signal 9" in failure.reason
    assert prepare(job, resume=True) is False


@dataclass
class Recorded:
    """An engine that takes note of what runs beside what."""

    slots: int = 2
    running: dict = field(default_factory=dict)
    beside: list = field(default_factory=list)

    def start(self, folder, slot):
        self.beside.append((folder, set(self.running)))
        handle = Done(folder, self)
        self.running[folder] = handle
        return handle


@dataclass
class Done:
    folder: Path
    engine: Recorded
    polls: int = 0

    def poll(self):
        self.polls += 1
        if self.polls < 2:
            return None
        (self.folder / "knowledge").mkdir(exist_ok=True)
        (self.folder / "result.json").touch()
        self.engine.running.pop(self.folder, None)
        return 0

    def error(self):
        return ""

    def stop(self):
        pass


def test_runs_that_share_pre_training_wait_for_the_first_of_them(tmp_path):
    jobs = jobs_for(tmp_path, "source-only", "finetune", "scratch")
    engine = Recorded()
    assert run_all(jobs, engine) == []
    order = [folder.parent.name for folder, _ in engine.beside]
    assert order[0] == "source-only"
    assert order[1] == "scratch"
    finetune = next(beside for folder, beside in engine.beside if folder.parent.name == "finetune")
    assert jobs[0].folder not in finetune


def test_a_worker_says_in_one_line_what_is_wrong(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "headstart.runs.worker", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].endswith("is not a run: it has no config.json")


FRAMES = "Traceback (most recent call last):\n  File x\n    y\n"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (f"{FRAMES}ValueError: no\n\nMore.\n", "ValueError: no"),
        (f"{FRAMES}KeyError: 1\n\nDuring …\n\n{FRAMES}a.X: two\nlines\n", "a.X: two"),
        ("a warning\nheadstart is wrong\n", "headstart is wrong"),
        ("", "it said nothing"),
    ],
)
def test_of_a_traceback_the_error_is_shown_and_where_the_rest_is(said, says, tmp_path):
    (tmp_path / "worker.err").write_text(said)
    reason = error_in(tmp_path / "worker.err")
    assert reason.partition(" (where")[0] == says
    assert (f"is in {tmp_path}/worker.err" in reason) == ("Traceback" in said)


def test_a_worker_that_leaves_no_result_has_failed_whatever_its_exit_status(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    leaving = replace(TRACK, name="leaving", target=Domain("probes:Leaving"))
    (failure,) = run_all(jobs_for(tmp_path, "scratch", problem=leaving), LocalProcesses(1))
    assert "left no result" in failure.reason


def test_a_worker_ends_with_who_started_it(tmp_path, monkeypatch):
    """Else it would go on beside the next one, in the same folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    (job,) = jobs_for(tmp_path, "source-only:steps=2000000")
    code = (
        "import pathlib, sys, time; from headstart.runs.executors import LocalProcesses\n"
        "print(LocalProcesses(1).start(pathlib.Path(sys.argv[1]), 0).process.pid, flush=True)\n"
        "time.sleep(99)"
    )
    command = [sys.executable, "-c", code, str(job.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while not (job.folder / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive(worker)
        parent.kill()
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"
