"""Folders that somebody else has made: nothing in them is run unasked."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headstart import Access, Domain
from headstart.cli.main import main
from headstart.knowledge import digest
from headstart.records import digest as sha256
from headstart.runs.executors import LocalProcesses
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run
from small import TRACK

OPTIONAL = ("cffi", "cython", "charset_normalizer", "tensorboard", "brotli", "lxml", "pandas")
"""What libraries import if it is there."""
MARK = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').write_text('')\n"
HERE = Domain("cart-pole")
HEADSTART = Path(sys.executable).with_name("headstart")


def job_in(out, **fields):
    problem = replace(
        TRACK, name="hinge", source=HERE, target=HERE, sweep={}, access=Access(shots=(0,)),
        episodes=1, methods={"source-only": {"steps": 256}},
    )  # fmt: skip
    job = make_job(problem, "source-only", 0, out, fields)
    prepare(job, resume=False)
    return job


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    job = job_in(tmp_path_factory.mktemp("runs"))
    run(job)
    return job


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A working directory of a stranger's."""
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text(MARK)
    (tmp_path / "evil.py").write_text(MARK + "def make(): raise SystemExit('made')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(folder):
    return [path.stem for path in folder.glob("*.ran")]


@pytest.mark.parametrize(("domain", "status"), [("cart-pole", 0), ("hopper", 2)])
def test_nothing_that_lies_in_the_working_directory_is_imported(domain, status, finished, theirs):
    """MuJoCo looks for several of these."""
    evaluate = [HEADSTART, "evaluate", finished.folder / "adapted", domain, "--episodes", "1"]
    done = subprocess.run(evaluate, cwd=theirs, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ran(theirs) == []


def test_nor_by_a_worker(theirs):
    (theirs / "json.py").write_text(MARK)  # a worker's first import
    handle = LocalProcesses().start(job_in(theirs / "runs").folder, 0)
    assert handle.process.wait() == 0, handle.error()
    assert ran(theirs) == []


@pytest.mark.parametrize("place", ["environment", "gymnasium's", "method", "learner", "encoder"])
def test_a_report_imports_nothing_that_the_runs_name(place, finished, theirs, capsys):
    folder = theirs / "runs" / "hinge"
    copy = folder / "source-only" / "0"
    copy.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", finished.folder, copy], check=True)
    (copy / "digests.json").unlink()  # or forged as well
    config = json.loads((copy / "config.json").read_bytes())
    learner = config["method"]["fields"]["learner"]
    if place == "environment":
        config["problem"]["source"]["environment"] = "evil:make"
    elif place == "gymnasium's":
        config["problem"]["source"]["environment"] = "gym:evil:Thing-v0"
    elif place == "method":
        config["method"]["name"] = "evil:make:steps=1"
    elif place == "learner":
        learner["algorithm"] = "evil:make"
    else:
        learner["encoders"] = ["state=evil:make"]
        manifest = copy / "adapted" / "manifest.json"
        held = json.loads(manifest.read_bytes())
        held["metadata"]["policy"]["groups"]["state"]["encoder"] = "evil:make"
        manifest.write_text(json.dumps(held | {"digest": digest(held)}))
    (copy / "config.json").write_text(json.dumps(config))
    result = json.loads((copy / "result.json").read_bytes())
    (copy / "result.json").write_text(json.dumps(result | {"configuration": sha256(config)}))
    assert main(["report", str(folder)]) == 2
    says = "is code that did not come with Headstart, and it would be run: if you trust"
    assert says in capsys.readouterr().err
    assert ran(theirs) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "another"}, "is a result of another, seed 0: a run's folder is METHOD/SEED"),
        ({"seed": 1}, "is a result of source-only, seed 1: a run's folder is METHOD/SEED"),
        ({}, "its shots are not the problem's, 0"),
        ({"source": {"steps": -5, "episodes": 1}}, "source.steps is damaged: '-5'"),
    ],
)
def test_a_report_counts_no_result_of_another_run(change, says, finished, tmp_path, capsys):
    copy = tmp_path / "hinge" / "source-only" / "0"
    copy.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", finished.folder, copy], check=True)
    (copy / "digests.json").unlink()  # or forged as well
    table = json.loads((copy / "result.json").read_bytes())
    change = change or {"shots": table["shots"] * 2}
    (copy / "result.json").write_text(json.dumps(table | change))
    assert main(["report", str(tmp_path / "hinge")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gravity = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("gravity = " + "9" * 400, "a parameter is larger than any number that is computed with"),
        ("gravity = {uniform = [1, 1" + "0" * 400 + "]}", "uniform.high is larger than any number"),
        ("gravity = " + "[" * 20000, "is not TOML"),
        (
            "enviroment = 'hopper'",
            "unknown key of [source] 'enviroment': did you mean 'environment'",
        ),
    ],
)
def test_a_problem_that_is_none_is_one_line(text, says, tmp_path, capsys):
    domain = "" if "enviro" in text else 'environment = "cart-pole"\n'
    (tmp_path / "p.toml").write_text(f"[source]\n{domain}{text}\n[target]\n{domain}")
    assert main(["run", str(tmp_path / "p.toml"), "scratch"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
