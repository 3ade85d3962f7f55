"""What a user brings, by `module:Class`, in Python and on the command line."""

import json
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import own
from headstart import HeadstartError, envs
from headstart.cli.main import main
from headstart.errors import KnowledgeError
from headstart.experience.unroll import returns
from headstart.knowledge import Knowledge
from headstart.learners import LEARNERS
from headstart.policies.policy import ActorPolicy, knowledge_of, policy_from
from headstart.report import write
from headstart.report.compared import read
from headstart.runs.job import Job, make_job, prepare
from headstart.runs.logger import rows
from headstart.runs.run import run
from small import TRACK, TRACK_TOML

TOML = (
    TRACK_TOML
    + """
[methods.source-only]
steps = 256
[methods.scratch]
"""
)
MINE = replace(
    TRACK, learner={"algorithm": "own:MyLearner", "width": 4},
    methods={"source-only": {"steps": 256}, "finetune": {"steps": 256}},
)  # fmt: skip


@pytest.fixture
def track(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("track.toml").write_text(TOML)
    own.InProcess.started.clear()
    own.Sink.made.clear()


def finished(problem, label, out, **more):
    job = make_job(problem, label, 0, out, **more)
    prepare(job, resume=False)
    return job, run(job)


@pytest.mark.parametrize("label", ["source-only", "finetune", "scratch", "oracle:steps=256"])
def test_a_learner_of_ones_own(label, tmp_path):
    job, result = finished(MINE, label, tmp_path)
    assert type(job.method.learner) is own.MyLearner
    assert job.method.learner.width == 4
    assert Job.read(job.folder).method == job.method
    assert [shot.episodes for shot in result.shots] == [0, 3, 10]
    logged = [row for row in rows(job.folder) if row["phase"] not in ("evaluate", "carried")]
    assert all(row["mine"] == 1.0 for row in logged)
    policy = policy_from(Knowledge.load(job.folder / "adapted"))
    assert [w.shape[1] for w in policy.actor.network.weights] == [4, 4, 1]


def test_it_learns_as_what_it_delegates_to(tmp_path):
    _, mine = finished(MINE, "source-only", tmp_path / "mine")
    ppo = {"hidden": [4, 4], "num_envs": 8, "rollout_length": 16, "minibatch_size": 32,
           "epochs": 2, "learning_rate": 1e-3}  # fmt: skip
    _, theirs = finished(replace(MINE, learner=ppo), "source-only", tmp_path / "theirs")
    assert mine.shots == theirs.shots


def test_a_learner_of_ones_own_on_the_command_line(track, capsys):
    run = "run track.toml source-only --method.learner.algorithm own:MyLearner"
    assert main([*run.split(), "--method.learner.width", "4"]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    fields = json.loads((folder / "config.json").read_text())["method"]["fields"]["learner"]
    assert (fields["algorithm"], fields["width"]) == ("own:MyLearner", 4)
    with pytest.raises(SystemExit):
        main([*run.split(), "--help"])
    said = capsys.readouterr().out
    assert "--method.learner.width 8\n      Of both hidden layers." in said


def test_a_learner_that_lacks_a_member_is_refused_by_name(track, capsys):
    says = "own:NoLearner is not a learner: it lacks update, graft; see the page"
    with pytest.raises(HeadstartError, match=says):
        LEARNERS.find("own:NoLearner")
    command = "run track.toml source-only --method.learner.algorithm own:NoLearner"
    assert main(command.split()) == 2
    assert says in capsys.readouterr().err
    assert not Path("runs").exists()
    for name, says in (("own:Nobody", "unknown attribute of own 'Nobody'"),
                       ("nowhere:It", "there is no module 'nowhere' here"),
                       ("own:MyEncoder", "own:MyEncoder is not a learner: it lacks")):  # fmt: skip
        with pytest.raises(HeadstartError, match=says):
            make_job(replace(MINE, learner={"algorithm": name}), "source-only", 0, Path("runs"))


def test_a_learner_without_whole_episodes_is_refused_where_they_are_learned_from(monkeypatch):
    monkeypatch.delattr(own.MyLearner, "arranged")
    make_job(MINE, "source-only", 0, Path("runs"))
    for method in ("finetune", "scratch"):
        with pytest.raises(HeadstartError, match=f"{method} learns from whole episodes, and My"):
            make_job(MINE, method, 0, Path("runs"))


SEEN = replace(MINE, learner={**TRACK.learner, "encoders": ["state=own:MyEncoder"]})


def test_an_encoder_of_ones_own(tmp_path):
    job, _ = finished(SEEN, "finetune", tmp_path)
    knowledge = Knowledge.load(job.folder / "knowledge")
    assert knowledge.parts.keys() == {"policy", "critic", "returns", "encoder", "optimiser"}
    weight = knowledge.parts["encoder"]["state/weight"]
    drawn = own.MyEncoder(envs.spec_of(TRACK.source).groups["state"], jax.random.key(0)).weight
    assert weight.shape == drawn.shape == (2, 3)
    policy = policy_from(Knowledge.load(job.folder / "adapted"), trusted=["own:MyEncoder"])
    assert isinstance(policy, ActorPolicy)
    assert type(policy.encoders.by_group["state"]) is own.MyEncoder
    assert np.abs(np.asarray(policy.encoders.by_group["state"].weight) - weight).max() > 0
    write(read(tmp_path / SEEN.name))  # which trusts what the run itself named


def test_it_matters_what_it_sees(tmp_path):
    job, _ = finished(SEEN, "source-only", tmp_path)
    policy = policy_from(Knowledge.load(job.folder / "adapted"), trusted=["own:MyEncoder"])
    running = envs.start(TRACK.target, 4, 0)
    assert not np.array_equal(returns(policy, running), returns(own.halved(policy), running))


@pytest.mark.parametrize("learner", [{"algorithm": "own:MyLearner"}, TRACK.learner])
def test_knowledge_with_an_encoder_of_a_users_is_not_loaded_unless_trusted(
    learner, tmp_path, capsys, track
):
    seen = replace(SEEN, learner={**learner, "encoders": ["state=own:MyEncoder"]})
    job, _ = finished(seen, "source-only", tmp_path / "runs")
    knowledge = Knowledge.load(job.folder / "adapted")
    says = "the encoder 'own:MyEncoder' is code that did not come with Headstart: if you trust it"
    for trusted in ([], ["own:Other", "MyEncoder"]):
        with pytest.raises(KnowledgeError, match=says):
            policy_from(knowledge, trusted)
    policy = policy_from(knowledge, trusted=["own:MyEncoder"])
    again = knowledge_of(policy)
    assert json.loads(json.dumps(again.metadata)) == knowledge.metadata
    assert eqx.tree_equal(dict(again.parts["encoder"]), dict(knowledge.parts["encoder"]))
    assert main(["evaluate", str(job.folder / "adapted"), "track.toml"]) == 2
    assert says in capsys.readouterr().err


def test_an_encoder_of_ones_own_on_the_command_line(track, capsys):
    small = "--method.learner.num_envs 8 --method.learner.rollout_length 32"
    command = f"run track.toml source-only {small} --method.learner.encoders state=own:MyEncoder"
    assert main(command.split()) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    stated = Knowledge.load(folder / "adapted").metadata["policy"]
    assert stated["groups"]["state"]["encoder"] == "own:MyEncoder"
    wrong = (
        ("state=own:InProcess", "own:InProcess is not an encoder: it lacks size"),
        ("pixels=own:MyEncoder", "encoders are given as group=name, got 'pixels'"),
        ("state=statistic", "unknown encoder 'statistic': did you mean 'statistics'?"),
    )
    for seed, (encoder, says) in enumerate(wrong, start=1):
        command = f"run track.toml source-only --seed {seed} --method.learner.encoders {encoder}"
        assert main(command.split()) == 2
        assert says in capsys.readouterr().err


def test_darc_takes_an_encoder_of_ones_own(tmp_path):
    from headstart.problem import with_access
    from small import FIELDS, SAC

    learner = {**SAC, "encoders": ["state=own:MyEncoder"]}
    stated = replace(with_access(TRACK, steps=500, shots=(0,)), learner=learner)
    darc = {name: field for name, field in FIELDS["darc"].items() if name != "learner"}
    _, result = finished(replace(stated, methods={"darc": darc}), "darc", tmp_path)
    assert len(result.shots) == 1


def test_an_executor_and_a_sink_of_ones_own_on_the_command_line(track, capsys):
    command = (
        "compare track.toml source-only scratch --seeds 2 --engine own:InProcess --sink own:Sink"
    )
    assert main(command.split()) == 0
    ran = [folder.relative_to("runs/track") for folder in own.InProcess.started]
    assert sorted(map(str, ran)) == ["scratch/0", "scratch/1", "source-only/0", "source-only/1"]
    assert Path("runs/track/report.html").exists()
    for folder in own.InProcess.started:
        (sink,) = [sink for sink in own.Sink.made if sink.folder == folder]
        assert sink.rows == rows(folder)
        told = (folder / "sink.txt").read_text().split()
        assert told == [row["phase"] for row in rows(folder)]
        assert Job.read(folder).sinks == ("own:Sink",)


def test_an_executor_of_ones_own_says_what_failed(track, capsys):
    target = '[target]\nenvironment = "probes:'
    assert target + "Track" in TOML
    Path("track.toml").write_text(TOML.replace(target + "Track", target + "Raising"))
    command = "compare track.toml scratch --seeds 1 --engine own:InProcess --workers 1"
    assert main(command.split()) == 1
    assert "scratch/0 failed: probes:Raising raised ZeroDivisionError" in capsys.readouterr().err


def test_an_executor_that_is_none_is_named(track, capsys):
    for engine, says in (("own:Sink", "own:Sink is not an executor: it lacks start"),
                         ("lokal", "unknown executor 'lokal': did you mean 'local'?")):  # fmt: skip
        assert main(f"compare track.toml scratch --seeds 1 --engine {engine}".split()) == 2
        assert says in capsys.readouterr().err


def test_a_sink_of_ones_own(tmp_path, track):
    job, _ = finished(MINE, "source-only", tmp_path / "runs", sinks=["own:Sink"])
    (sink,) = own.Sink.made
    assert sink.folder == job.folder
    assert sink.rows == rows(job.folder)
    assert {row["phase"] for row in sink.rows} == {"pretrain", "evaluate"}


def test_a_sink_of_ones_own_on_the_command_line(track, capsys):
    command = "run track.toml scratch --sink own:Sink --sink own:Sink"
    assert main(command.split()) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    first, second = own.Sink.made
    assert first.rows == second.rows == rows(folder)
    assert main(["run", "track.toml", "scratch", "--seed", "1", "--sink", "own:NoSink"]) == 2
    assert "own:NoSink is not a sink: it lacks write" in capsys.readouterr().err
    assert not Path("runs/track/scratch/1").exists()
