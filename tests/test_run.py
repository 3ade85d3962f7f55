import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import worlds
from headstart import HeadstartError, journal, knowledge
from headstart.knowledge import Knowledge
from headstart.run import Job, locked, make_job, prepare, run
from methods.test_methods import FIELDS, PROBLEM

LONGER = {"steps": 6000, "ensemble": 0.5, "trajectories": 8, "minibatch": 32}


def job_in(out, name="finetune", seed=0, **fields):
    return make_job(PROBLEM, name, seed, out, fields)


def same_bits(a: Path, b: Path):
    for part in ("knowledge", "zero_shot", "adapted"):
        one, two = Knowledge.load(a / part), Knowledge.load(b / part)
        assert one.parts.keys() == two.parts.keys()
        for name, leaves in one.parts.items():
            for path, array in leaves.items():
                np.testing.assert_array_equal(array, two.parts[name][path])
    tables = [json.loads((folder / "result.json").read_bytes()) for folder in (a, b)]
    for table in tables:
        table.pop("seconds")
    assert tables[0] == tables[1]
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (a, b)]
    rows = [[json.loads(line) for line in log] for log in logs]
    for row in (row for log in rows for row in log):
        row.pop("steps_per_second", None)
    assert rows[0] == rows[1]


def worker(folder, between="0"):
    """A worker that checkpoints at every update, so that no moment is special."""
    code = (
        "import sys, headstart; headstart.prepare_jax()\n"
        "from headstart import journal, grid\n"
        f"journal.SECONDS_BETWEEN_CHECKPOINTS = {between}\n"
        "from pathlib import Path; grid.work(Path(sys.argv[1]))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env)


@pytest.mark.parametrize(("name", "deaths"), [("epopt", 3), ("finetune", 2)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(name, deaths, tmp_path):
    fields = LONGER if name == "epopt" else {"steps": 6000}
    whole = job_in(tmp_path / "whole", name, **fields)
    prepare(whole, resume=False)
    assert worker(whole.folder).wait() == 0
    killed = job_in(tmp_path / "killed", name, **fields)
    prepare(killed, resume=False)
    size = (whole.folder / "log.jsonl").stat().st_size
    log = killed.folder / "log.jsonl"
    moments = [random.randrange(size) for _ in range(deaths)]  # by what the log says then
    for moment in moments:
        with worker(killed.folder) as process:
            while (log.stat().st_size if log.exists() else 0) < moment and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, f"it ended before {moment} of {size} bytes"
    with worker(killed.folder) as process:
        assert process.wait() == 0
    same_bits(whole.folder, killed.folder)
    assert not (killed.folder / "checkpoint").exists()


def test_a_finished_run_is_never_run_again(tmp_path):
    job = job_in(tmp_path, "scratch")
    assert not prepare(job, resume=False)
    first = run(job)
    stamp = (job.folder / "result.json").stat().st_mtime_ns
    assert prepare(job, resume=False)
    assert run(job) == first
    assert (job.folder / "result.json").stat().st_mtime_ns == stamp


def test_the_result_has_the_stated_keys(tmp_path):
    job = job_in(tmp_path, "scratch")
    prepare(job, resume=False)
    run(job)
    table = json.loads((job.folder / "result.json").read_bytes())
    assert table["problem"] == "track"
    assert table["method"] == "scratch"
    assert table["seed"] == 0
    assert table["source"].keys() >= {"steps", "episodes"}
    assert table["target"].keys() == {"observations", "steps", "episodes"}
    assert table["shots"][0].keys() == {"episodes", "steps", "returns"}
    assert table["seconds"].keys() == {"pretrain", "adapt", "evaluate"}
    assert table["versions"].keys() >= {"headstart", "jax", "mujoco"}
    config = json.loads((job.folder / "config.json").read_bytes())
    assert config["method"]["fields"]["learner"]["hidden"] == [16]
    assert config.keys() >= {"problem", "method", "seed", "versions", "commit"}
    assert Job.read(job.folder).method == job.method


def test_an_unfinished_run_is_resumed_only_when_asked(tmp_path):
    job = job_in(tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match="unfinished run: add --resume"):
        prepare(job, resume=False)
    assert not prepare(job, resume=True)


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    prepare(job_in(tmp_path), resume=False)
    changed = make_job(replace(PROBLEM, episodes=9), "finetune", 0, tmp_path)
    with pytest.raises(HeadstartError, match="holds a run with another problem"):
        prepare(changed, resume=True)


def test_a_folder_in_use_is_refused(tmp_path):
    job = job_in(tmp_path)
    prepare(job, resume=False)
    with locked(job.folder), pytest.raises(HeadstartError, match="is in use by another process"):
        run(job)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeadstartError, match="cannot write .*Not a directory"):
        prepare(job_in(tmp_path / "file"), resume=False)


def test_a_full_disk_keeps_what_was_finished(tmp_path, monkeypatch):
    first = job_in(tmp_path, "source-only")
    prepare(first, resume=False)
    run(first)
    job = job_in(tmp_path)
    prepare(job, resume=False)
    real = knowledge.write_synced

    def full(path, data):
        if path.name == "weights.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    monkeypatch.setattr(knowledge, "write_synced", full)
    with pytest.raises(HeadstartError, match=r"No space left on device.*run again with --resume"):
        run(job)
    assert (first.folder / "result.json").exists()
    monkeypatch.undo()
    assert run(job).shots[0].episodes == 0


def test_a_broken_environment_stops_the_run_and_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(worlds.Broken, "step", worlds.Broken.step)  # so that it is put back
    problem = replace(PROBLEM, source=replace_environment(PROBLEM.source, "worlds:Broken"))
    job = make_job(problem, "domain-randomization", 0, tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match="reward that is not finite"):
        run(job)
    assert prepare(job, resume=True) is False
    worlds.Broken.step = worlds.Track.step  # mended
    assert run(job).source["steps"] >= 256


def replace_environment(domain, name):
    from headstart import Domain

    return Domain(name, **domain.parameters)


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    kept = journal.Journal(tmp_path)
    kept.log(row=1)
    kept.save({"x": np.array(3.0)})
    kept.log(row=2)
    resumed = journal.Journal(tmp_path)
    before = resumed.seconds
    assert resumed.load()["x"] == 3.0
    assert resumed.seconds >= before
    assert (tmp_path / "log.jsonl").read_text() == '{"row": 1}\n'
    resumed.log(row=3)
    assert resumed.load()["x"] == 3.0  # a later stage asks again: what was logged since stays
    assert (tmp_path / "log.jsonl").read_text() == '{"row": 1}\n{"row": 3}\n'
    assert journal.Journal(tmp_path, resumable=False).load() is None


def test_a_log_without_a_checkpoint_starts_again(tmp_path):
    journal.Journal(tmp_path).log(row=1)
    assert journal.Journal(tmp_path).load() is None
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_the_log_of_a_run_in_stages_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    job = job_in(tmp_path, "epopt", **LONGER)
    prepare(job, resume=False)
    run(job)
    rows = [json.loads(line) for line in (job.folder / "log.jsonl").read_text().splitlines()]
    steps = [row["steps"] for row in rows if row["phase"] == "pretrain"]
    chunks = [step for step in steps if step <= 3072]
    assert chunks == list(range(128, 3072 + 1, 128))  # 8 environments × 16 steps
    assert all(
        b - a == 80 for a, b in zip(steps[len(chunks) :], steps[len(chunks) + 1 :], strict=False)
    )


def test_fields_of_the_problem_and_of_the_label_and_flags(tmp_path):
    job = make_job(PROBLEM, "epopt:epsilon=0.2;learner.hidden=8,8", 0, tmp_path)
    assert job.method.epsilon == 0.2
    assert job.method.learner.hidden == (8, 8)
    assert job.method.steps == FIELDS["epopt"]["steps"]
    assert job.label == "epopt:epsilon=0.2;learner.hidden=8,8"
    flagged = make_job(PROBLEM, "epopt", 0, tmp_path, {"learner.hidden": ["8", "8"]})
    assert flagged.method.learner.hidden == (8, 8)
    assert flagged.folder == tmp_path / "track" / "epopt" / "0"
