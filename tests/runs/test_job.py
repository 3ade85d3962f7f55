"""The problem's learner, and what is refused before anything runs."""

import re
from dataclasses import replace

import pytest

import small
from headstart import Domain, HeadstartError
from headstart.cli.main import main
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.methods import METHODS
from headstart.problem import with_access
from headstart.problem.problem import read
from headstart.report import compared, write
from headstart.runs.job import Job, configured, learner_of, make_job, prepare
from headstart.runs.run import run
from small import DOT, TRACK, TRACK_TOML

PLAIN = replace(TRACK, methods={"source-only": {"steps": 256}, "finetune": {"steps": 256}})
TOML = (
    TRACK_TOML
    + """
[learner]
algorithm = "sac"
hidden = [8]
num_envs = 2
rollout_length = 8
batch_size = 16
learning_starts = 64
updates_per_step = 0.5
[methods.source-only]
steps = 256
[methods.scratch]
"""
)


@pytest.fixture
def track(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "track.toml").write_text(TOML)
    return read(tmp_path / "track.toml")


@pytest.mark.parametrize("name", METHODS)
def test_the_problems_learner_serves_every_method(name, track):
    assert type(learner_of(track)) is SAC
    assert configured(track, name, {}).learner == learner_of(track)
    plain = replace(TRACK, methods={})
    assert configured(plain, name, {}).learner == learner_of(plain)
    assert type(learner_of(replace(plain, learner={}))) is PPO


def test_it_is_written_with_the_problem_and_read_again(track, tmp_path):
    job = make_job(track, "source-only", 0, tmp_path)
    prepare(job, resume=False)
    again = Job.read(job.folder)
    assert again.problem == track
    assert again.method == job.method
    assert again.method.learner.hidden == (8,)


def test_who_may_take_other_things_of_the_target_does_not_share_pretraining(tmp_path):
    once, more = (
        make_job(with_access(PLAIN, steps=steps, shots=shots), "source-only", 0, tmp_path)
        for steps, shots in ((0, (0,)), (500, (0,)))
    )
    longer = make_job(with_access(PLAIN, steps=0, shots=(0, 5)), "source-only", 0, tmp_path)
    assert once.untouched_key == longer.untouched_key != more.untouched_key


def test_another_learner_must_be_asked_for(track):
    """By the method's own table, by the label or by flags; the others keep the problem's."""
    table = {"source-only": {"learner": {"algorithm": "ppo", "num_envs": 4}}}
    stated = replace(track, methods=table)
    assert type(configured(stated, "source-only", {}).learner) is PPO
    assert configured(stated, "source-only", {}).learner.num_envs == 4
    assert type(configured(stated, "scratch", {}).learner) is SAC
    labelled = configured(track, "scratch:learner.algorithm=ppo", {})
    assert labelled.learner == PPO()  # nothing of another algorithm's fields
    assert configured(track, "scratch", {"learner.algorithm": "ppo"}).learner == PPO()
    wider = configured(track, "scratch", {"learner.hidden": "32"})
    assert wider.learner == replace(learner_of(track), hidden=(32,))


def test_compare_marks_a_learner_that_is_not_the_problems(track, tmp_path, capsys):
    ppo = "learner.num_envs=8;learner.rollout_length=16;learner.minibatch_size=32"
    labels = ["source-only", f"source-only:learner.algorithm=ppo;{ppo}",
              "source-only:learner.hidden=4,4"]  # fmt: skip
    compare = ["compare", "track.toml", *labels, "--seeds", "1", "--engine", "own:InProcess"]
    assert main(compare) == 0
    html = (tmp_path / "runs" / "track" / "report.html").read_text()
    cells = re.findall(r"</span>(source-only[^<]*)(?:<br><span[^>]*>([^<]*)</span>)?</td>", html)
    marks = dict(cells[: len(labels)])  # the first table's
    assert marks.keys() == set(labels)
    assert [marks[label] for label in labels] == [
        "", "another learner: ppo", "another learner: hidden [4, 4]",
    ]  # fmt: skip


def test_a_method_whose_table_names_another_learner_is_marked(tmp_path):
    stated = with_access(TRACK, steps=500, shots=(0,))
    for label in ("source-only", "darc"):  # whose table says SAC
        job = make_job(stated, label, 0, tmp_path)
        prepare(job, resume=False)
        run(job)
    html = write(compared.read(tmp_path / stated.name)).read_text()
    assert re.findall(r"another learner: [^<]*", html) == ["another learner: sac"]


@pytest.mark.parametrize(
    ("problem", "label", "says"),
    [
        (
            with_access(PLAIN, steps=50_000), "darc:steps=200000",
            r"darc cannot use PPO, which knows no 'transform' \(it knows anchor, auxiliary, rates, "
            r"weights\): set algorithm in \[learner\], or learner.algorithm for darc alone",
        ),
        (replace(PLAIN, learner=small.SAC), "epopt", "epopt cannot use SAC, which knows no 'weigh"),
        (
            replace(PLAIN, learner=small.SAC), "random-convolution",
            "random-convolution cannot use SAC, which knows no 'auxiliary'",
        ),
        (
            replace(PLAIN, learner=small.PPO | {"encoders": ["state=statistic"]}, methods={}),
            "source-only", "unknown encoder 'statistic': did you mean 'statistics'",
        ),
        (
            replace(PLAIN, learner=small.PPO | {"memory": "lstm"}, methods={}), "source-only",
            "unknown memory 'lstm'",
        ),
        (replace(DOT, learner=small.SAC), "source-only", "SAC takes continuous actions"),
        (
            replace(
                PLAIN,
                learner=small.SAC
                | {"memory": "gru", "window": 64, "batch_size": 64, "buffer_size": 64},
            ),
            "source-only", "window",
        ),
        (
            replace(PLAIN, learner={"algorithm": "own:MyLearner"}), "epopt",
            r"epopt cannot use MyLearner, which knows no 'weights' \(it knows none\)",
        ),
        (
            replace(
                PLAIN, learner=small.SAC | {"memory": "gru", "window": 16, "rollout_length": 8},
                methods={},
            ),
            "scratch", "trained on histories of 8 steps, and its windows have 16: set",
        ),
        (
            replace(
                PLAIN, source=Domain("probes:Track", shows_critic=("wind",)),
                target=Domain("probes:Track", shows_critic=("mass",)),
            ),
            "finetune", "source shows wind and the target mass: a critic would take one for",
        ),
        (
            replace(DOT, learner={"algorithm": "imitation", "expert": "centre"}, methods={}),
            "scratch",
            "scratch learns from the target's rewards, and Imitation from an expert, who is "
            "in the source alone: choose another learner.algorithm",
        ),
        (
            replace(DOT, learner={"algorithm": "imitation", "expert": "centre"}, methods={}),
            "finetune", "finetune learns from the target's rewards, and Imitation from an expert",
        ),
    ],
)  # fmt: skip
def test_a_method_says_before_it_runs_that_it_cannot_use_the_learner(
    problem, label, says, tmp_path
):
    with pytest.raises(HeadstartError, match=says):
        make_job(problem, label, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("learner", "says"),
    [
        ({"algorithm": "dqn", "memory": "gru"}, "dqn has no 'memory': ppo and sac have it"),
        ({"algorithm": "ppo", "tau": 0.1}, "ppo has no 'tau': sac and dqn have it"),
        ({"algorithm": "sac", "gae_lambda": 0.1}, "sac has no 'gae_lambda': ppo has it"),
        ({"gae_lamda": 0.1}, "unknown field of learner 'gae_lamda': did you mean 'gae_lambda'?"),
        ({"algorithm": "pppo"}, "unknown learner 'pppo': did you mean 'ppo'?"),
        ({"num_envs": "many"}, "learner.num_envs must be a whole number, got 'many'"),
    ],
)
def test_a_field_that_the_learner_lacks_is_named_with_who_has_it(learner, says, tmp_path):
    with pytest.raises(HeadstartError, match=re.escape(says)):
        make_job(replace(PLAIN, learner=learner), "source-only", 0, tmp_path)
    flags = {f"learner.{name}": value for name, value in learner.items()}
    with pytest.raises(HeadstartError, match=re.escape(says)):
        make_job(replace(PLAIN, learner={}), "source-only", 0, tmp_path, flags)
    assert list(tmp_path.iterdir()) == []


def test_a_learner_that_is_no_table_is_named(tmp_path):
    (tmp_path / "odd.toml").write_text('learner = "sac"\n' + TOML.split("[learner]")[0])
    with pytest.raises(HeadstartError, match="learner must be a table"):
        read(tmp_path / "odd.toml")


def test_a_sink_that_is_none_is_refused_before_it_runs(tmp_path):
    for sink, says in (("own:NoSink", "own:NoSink is not a sink: it lacks write"),
                       ("nowhere", "unknown sink 'nowhere'")):  # fmt: skip
        with pytest.raises(HeadstartError, match=says):
            make_job(PLAIN, "source-only", 0, tmp_path, sinks=[sink])
    assert list(tmp_path.iterdir()) == []
