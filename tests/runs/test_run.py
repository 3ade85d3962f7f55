import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import probes
import small
from headstart import Access, Domain, HeadstartError, TransferProblem, knowledge
from headstart.knowledge import Knowledge
from headstart.learners import train
from headstart.policies.policy import policy_from
from headstart.report.compared import read
from headstart.report.table import notes
from headstart.result import Result
from headstart.runs import checkpointer
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.logger import Logger, cut_to_pretraining, rows
from headstart.runs.metering import Meter
from headstart.runs.run import locked, run
from headstart.runs.worker import work
from small import FIELDS, TRACK

LONGER = {"steps": 6000, "ensemble": 0.5, "trajectories": 8, "minibatch_size": 32}


def job_in(out, name="finetune", seed=0, **fields):
    return make_job(TRACK, name, seed, out, fields)


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


OFTEN = {
    (checkpointer, "SECONDS_BETWEEN_CHECKPOINTS"): 0.0,
    (checkpointer, "CHECKPOINT_SHARE"): 1e9,
    (train, "LOGGED_EVERY"): 1,
}
"""Checkpoints and a row of the log at every update, so that no moment is special."""


@pytest.fixture
def often(monkeypatch):
    for (module, name), value in OFTEN.items():
        monkeypatch.setattr(module, name, value)


def worker(folder):
    """Another process at work on a run."""
    code = (
        "import sys, headstart; headstart.prepare_jax()\n"
        "from pathlib import Path\n"
        "from headstart.learners import train\n"
        "from headstart.runs import checkpointer, worker\n"
        + "".join(f"{m.__name__.split('.')[-1]}.{n} = {v}\n" for (m, n), v in OFTEN.items())
        + "worker.work(Path(sys.argv[1]))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env)


def killed_and_whole(job_in, deaths):
    """The folders of a run, killed so often on its way, and of the same run left alone."""
    whole = job_in("whole")
    prepare(whole, resume=False)
    run(whole)
    killed = job_in("killed")
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
    run(killed)
    assert not (killed.folder / "checkpoint").exists()
    return killed.folder, whole.folder


MORTAL = {
    "epopt": (LONGER, 3),
    "finetune": ({"steps": 6000}, 2),
    "smerl": ({"steps": 1600, "skills": 2, "from_optimum": True, "learner": small.SAC}, 3),
}


@pytest.mark.parametrize("name", MORTAL)
@pytest.mark.usefixtures("often")
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(name, tmp_path):
    fields, deaths = MORTAL[name]
    same_bits(*killed_and_whole(lambda out: job_in(tmp_path / out, name, **fields), deaths))


class Killed(Exception):
    pass


LOGGED = {
    "source-only": {"steps": 1000, "learner": small.SAC},
    "darc": {**FIELDS["darc"], "steps": 1000, "ratio": {**FIELDS["darc"]["ratio"], "warmup": 200}},
}


@pytest.mark.parametrize("name", LOGGED)
def test_the_log_is_the_same_where_a_checkpoint_falls_between_two_rows(name, tmp_path, monkeypatch):
    """What was measured and what episodes under way have gained are not forgotten."""
    for (module, attribute), value in {**OFTEN, (train, "LOGGED_EVERY"): 300}.items():
        monkeypatch.setattr(module, attribute, value)
    problem = TransferProblem(
        "long", Domain("gym:Pendulum-v1"), Domain("gym:Pendulum-v1"),
        Access(steps=1000, shots=(0,)), episodes=1,
    )  # fmt: skip
    whole, killed = (
        make_job(problem, name, 0, tmp_path / out, LOGGED[name]) for out in ("whole", "killed")
    )
    prepare(whole, resume=False)
    run(whole)
    prepare(killed, resume=False)
    save, saved = Checkpointer.save, []

    def save_and_die(self, arrays, envs):
        save(self, arrays, envs)
        saved.append(envs)
        if len(saved) % 9 == 0:
            raise Killed

    monkeypatch.setattr(Checkpointer, "save", save_and_die)
    deaths = 0
    while not (killed.folder / "result.json").exists():
        try:
            run(killed)
        except Killed:
            deaths += 1
    assert deaths == len(saved) // 9 > 5
    same_bits(killed.folder, whole.folder)


GRU = {"memory": "gru", "memory_size": 8}
LEARNERS = {
    "ppo": ("probes:Dot", small.PPO | {"minibatch_size": 64}, 2048),
    "sac": ("probes:Track", small.SAC, 800),
    "crl": ("point-maze", small.CRL, 800),
    "dqn": (
        "grid",
        {
            "algorithm": "dqn", "hidden": [16], "num_envs": 8, "rollout_length": 4,
            "learning_starts": 128, "batch_size": 16, "updates_per_step": 0.125,
        },
        640,
    ),
    "imitation": (
        "probes:Dot",
        {
            "algorithm": "imitation", "expert": "centre", "hidden": [16], "num_envs": 8,
            "rollout_length": 10, "updates_per_step": 0.05, "batch_size": 16,
        },
        800,
    ),
    "ppo with a memory": ("recall:discrete", small.PPO | GRU, 4096),
    "sac with a memory": ("recall:continuous", small.SAC | GRU | {"window": 8, "burn_in": 2}, 800),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.usefixtures("often")
def test_every_learner_resumes_to_the_same_bits(name, tmp_path):
    environment, learner, steps = LEARNERS[name]
    problem = TransferProblem(
        name="any", source=Domain(environment), target=Domain(environment), learner=learner,
        access=Access(shots=(0,)), episodes=2, methods={"source-only": {"steps": steps}},
    )  # fmt: skip
    same_bits(*killed_and_whole(lambda out: make_job(problem, "source-only", 0, tmp_path / out), 2))


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
    measured = {"returns", "sampled", "source", "entropy", "success"}
    assert table["shots"][0].keys() == {"episodes", "steps"} | measured
    drawn, likely = table["shots"][0]["sampled"], table["shots"][0]["returns"]
    assert len(drawn) == len(likely)
    assert drawn != likely
    assert table["seconds"].keys() == {"pretrain", "adapt", "evaluate"}
    assert table["versions"].keys() >= {"headstart", "jax", "mujoco"}
    config = json.loads((job.folder / "config.json").read_bytes())
    assert config["method"]["fields"]["learner"]["hidden"] == [16]
    assert config["method"]["fields"]["learner"]["algorithm"] == "ppo"
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
    changed = make_job(replace(TRACK, episodes=9), "finetune", 0, tmp_path)
    says = "holds a run with another problem: problem.episodes is 4 there, and 9 here"
    with pytest.raises(HeadstartError, match=says):
        prepare(changed, resume=True)


def test_a_run_of_code_that_was_edited_since_is_not_taken_for_one_of_this(tmp_path, monkeypatch):
    """Neither its result, nor its pre-training, nor by a worker that was started before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wind_of.py").write_text("STRENGTH = 0.1\n")
    own = tmp_path / "edited_world.py"
    text = (Path(probes.__file__).read_text() + "\nfrom wind_of import STRENGTH\n").encode()
    own.write_bytes(text)
    there = Domain("edited_world:Track")
    problem = replace(TRACK, source=there, target=there, sweep={}, access=Access(shots=(0,)))
    made = make_job(problem, "source-only", 0, tmp_path)
    key = made.pretraining_key
    prepare(made, resume=False)
    work(made.folder)
    assert prepare(made, resume=False)  # finished
    (tmp_path / "wind_of.py").write_text("STRENGTH = 0.2\n")
    again = make_job(problem, "source-only", 0, tmp_path)
    assert again.pretraining_key != key
    says = "holds a run with another code: wind_of has been edited since; choose another --out"
    with pytest.raises(HeadstartError, match=says):
        prepare(again, resume=True)
    with pytest.raises(HeadstartError, match=says):
        work(made.folder)


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
    monkeypatch.setattr(probes.Broken, "step", probes.Broken.step)  # so that it is put back
    problem = replace(TRACK, source=replace_environment(TRACK.source, "probes:Broken"))
    job = make_job(problem, "domain-randomization", 0, tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match="reward that is not finite"):
        run(job)
    assert prepare(job, resume=True) is False
    probes.Broken.step = probes.Track.step  # mended
    assert run(job).source["steps"] >= 256


def replace_environment(domain, name):
    return Domain(name, **domain.parameters)


@pytest.mark.parametrize("then", ["removed", "made anew"])
@pytest.mark.parametrize("write", ["log", "save", "dumps"])
@pytest.mark.usefixtures("often")
def test_a_run_whose_folder_is_taken_away_writes_no_further(tmp_path, monkeypatch, write, then):
    """An orphan would mix what it learned into the run that took its place."""
    job, kept = job_in(tmp_path, steps=6000), tmp_path / "kept"
    prepare(job, resume=False)
    of = {"log": Logger, "save": Checkpointer, "dumps": Result}[write]
    whole = getattr(of, write)

    def take_away(self, *arguments):
        found = whole(self, *arguments)
        if not kept.exists():
            job.folder.rename(kept)
            if then == "made anew":
                other = job_in(tmp_path, steps=3000)
                prepare(other, resume=False)
                with locked(other.folder):
                    pass
        return found

    monkeypatch.setattr(of, write, take_away)
    with pytest.raises(HeadstartError, match=r"was removed while its run was under way|No such fi"):
        run(job)
    left = {path.name for path in job.folder.glob("*")}
    assert left <= {"config.json", ".lock"}


def test_a_result_is_of_the_configuration_beside_it(tmp_path):
    job = job_in(tmp_path)
    prepare(job, resume=False)
    found = run(job)
    assert len(found.configuration) == 64
    config = job.folder / "config.json"
    table = json.loads(config.read_bytes())
    config.write_text(json.dumps(table))  # other spaces, the same configuration
    assert run(job) == found
    table["method"]["fields"]["steps"] = 8000
    config.write_text(json.dumps(table))
    with pytest.raises(HeadstartError, match="is the result of another configuration than"):
        Result.read(job.folder / "result.json")


def test_a_number_that_a_disk_has_changed_is_noticed(tmp_path):
    job = job_in(tmp_path)
    prepare(job, resume=False)
    found = run(job)
    path = job.folder / "result.json"
    whole = path.read_bytes()
    for was, now in ((b"1", b"2"), (b"\n", b" ")):
        path.write_bytes(whole.replace(was, now, 1))
        with pytest.raises(HeadstartError, match=r"result.json is damaged: it is not the file"):
            run(job)
    (job.folder / "digests.json").write_text("[]")
    with pytest.raises(HeadstartError, match=r"digests.json is damaged"):
        run(job)
    path.write_bytes(whole)
    (job.folder / "digests.json").unlink()  # as in runs of older versions
    assert run(job) == found


def test_a_finished_run_is_shown_where_nothing_can_be_written(tmp_path, monkeypatch):
    job = job_in(tmp_path)
    prepare(job, resume=False)
    result = run(job)

    def denied(*_):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "replace", denied)
    assert prepare(job, resume=False)
    assert run(job) == result


@pytest.mark.parametrize("kind", ["Track", "Erratic"])
@pytest.mark.usefixtures("often")
def test_an_environment_that_cannot_be_played_again_is_named_where_a_run_resumes(
    kind, tmp_path, monkeypatch
):
    problem = replace(TRACK, source=Domain(f"probes:{kind}"), target=Domain("probes:Track"))
    job = make_job(problem, "source-only", 0, tmp_path)
    prepare(job, resume=False)
    save, saved = Checkpointer.save, []

    def save_and_die(self, arrays, envs):
        save(self, arrays, envs)
        saved.append(envs)
        if len(saved) == 1:
            raise Killed

    monkeypatch.setattr(Checkpointer, "save", save_and_die)
    with pytest.raises(Killed):
        run(job)
    run(job)
    notices = [row["notice"] for row in rows(job.folder) if "notice" in row]
    assert len(notices) == (kind == "Erratic")
    assert all("probes:Erratic did other than before" in notice for notice in notices)
    assert len(notes(read(tmp_path / "track"))) == len(notices)


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    Logger(tmp_path).log({"row": 1})
    Checkpointer(tmp_path).save({"x": np.array(3.0)}, [])
    Logger(tmp_path).log({"row": 2})
    resumed = Checkpointer(tmp_path)
    before = resumed.seconds
    assert resumed.load()["x"] == 3.0
    assert resumed.seconds >= before
    assert (tmp_path / "log.jsonl").read_text() == '{"row": 1}\n'
    Logger(tmp_path).log({"row": 3})
    assert resumed.load()["x"] == 3.0  # a later stage asks again: what was logged since stays
    assert (tmp_path / "log.jsonl").read_text() == '{"row": 1}\n{"row": 3}\n'
    assert Checkpointer().load() is None


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    """By a full disk, which the run is to be resumed after."""
    whole = '{"phase": "pretrain"}\n{"phase": "adapt"}\n'
    (tmp_path / "log.jsonl").write_text(whole + '{"phase": "pre')
    assert [row["phase"] for row in rows(tmp_path)] == ["pretrain", "adapt"]
    cut_to_pretraining(tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == '{"phase": "pretrain"}\n'


def test_what_a_process_saved_itself_is_nothing_to_go_back_to(tmp_path):
    meter = Meter()
    keeper = Checkpointer(tmp_path, {"target": meter})
    keeper.save({}, [])
    meter.steps = 7
    assert keeper.load() is None
    assert meter.steps == 7


def test_a_log_without_a_checkpoint_starts_again(tmp_path):
    Logger(tmp_path).log({"row": 1})
    assert Checkpointer(tmp_path).load() is None
    assert (tmp_path / "log.jsonl").read_text() == ""


@pytest.mark.usefixtures("often")
def test_the_log_of_a_run_in_stages_is_whole(tmp_path):
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
    job = make_job(TRACK, "epopt:epsilon=0.2;learner.hidden=8,8", 0, tmp_path)
    assert job.method.epsilon == 0.2
    assert job.method.learner.hidden == (8, 8)
    assert job.method.steps == FIELDS["epopt"]["steps"]
    assert job.label == "epopt:epsilon=0.2;learner.hidden=8,8"
    flagged = make_job(TRACK, "epopt", 0, tmp_path, {"learner.hidden": ["8", "8"]})
    assert flagged.method.learner.hidden == (8, 8)
    assert flagged.folder == tmp_path / "track" / "epopt" / "0"


@pytest.mark.parametrize("method", ["source-only", "scratch"])
@pytest.mark.parametrize("learner", [small.PPO, small.DQN | {"n_step": 1}])
def test_a_run_that_diverges_fails_by_name(learner, method, tmp_path):
    """With actions to choose from, nothing else would show it: numbers that are not any still have
    a largest."""
    cart = Domain("gym:CartPole-v1")
    problem = replace(
        TRACK, source=cart, target=cart, sweep={}, learner=learner | {"learning_rate": 1e30},
        access=Access(shots=(0, 40)), methods={"source-only": {"steps": 1024},
                                               "scratch": {"episodes_per_update": 4}},
    )  # fmt: skip
    job = make_job(problem, method, 0, tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match=r"learning has diverged: after \d+ steps \w+_loss is"):
        run(job)
    assert not (job.folder / "result.json").exists()


def test_a_checkpoint_that_is_damaged_is_not_resumed_from(tmp_path):
    job = job_in(tmp_path, "source-only", steps=2000)
    prepare(job, resume=False)
    keeper = Checkpointer(job.folder)
    keeper.save({"loop/stage": np.array(0)}, [])
    path = job.folder / checkpointer.CHECKPOINT
    data = path.read_bytes()
    for i in (0, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[i] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(HeadstartError, match=f"{path} is damaged: remove it"):
            run(job)
    path.write_bytes(data[:-1])
    with pytest.raises(HeadstartError, match=f"{path} is damaged: remove it"):
        run(job)


@pytest.mark.parametrize(
    ("spent", "says"),
    [
        ({"source": {"steps": -1}}, "spent: source.steps is damaged: '-1' is not"),
        ({"source": {"steps": 1.5}}, "is not <class 'int'>"),
        ({"source": {}}, "does not say observations of the source"),
        ({"target": {"steps": 10**9}}, "made with 1000000000 steps of the target, and access al"),
        ({"seconds": "9"}, "seconds is damaged: '9' is not <class 'float'>"),
        (None, "it holds no object"),
    ],
)
def test_what_a_donor_says_that_it_spent_is_held_against_the_access(spent, says, tmp_path):
    job = job_in(tmp_path, "source-only")
    prepare(job, resume=False)
    run(job)
    (job.folder / "result.json").unlink()
    held = Knowledge.load(job.folder / "knowledge")
    stated = held.metadata["spent"]
    forged = spent
    if spent:
        ((name, value),) = spent.items()
        kept = stated[name] if name != "seconds" and value else {}
        forged = stated | {name: kept | value if isinstance(value, dict) else value}
    replace(held, metadata=held.metadata | {"spent": forged}).save(job.folder / "knowledge")
    with pytest.raises(HeadstartError, match=re.escape(says)):
        run(job)


def test_a_policy_that_is_changed_after_it_was_yielded_was_another(tmp_path):
    """It is evaluated only when the next one comes."""
    job = make_job(replace(TRACK, sweep={}, methods={}), "own:Rewriting", 0, tmp_path)
    prepare(job, resume=False)
    run(job)
    first, last = (policy_from(Knowledge.load(job.folder / n)) for n in ("zero_shot", "adapted"))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(first.actor))
    assert all(np.all(leaf == 1) for leaf in jax.tree.leaves(last.actor))
