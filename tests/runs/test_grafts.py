"""Runs whose target has other spaces than their source."""

import json
from dataclasses import replace

import numpy as np
import pytest

import small
from headstart import Access, Domain, HeadstartError, TransferProblem, Uniform
from headstart.knowledge import Knowledge
from headstart.policies.policy import policy_from
from headstart.problem import from_table
from headstart.report import write
from headstart.report.compared import read
from headstart.runs.evaluation import evaluate
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run

WALKS = TransferProblem(
    name="walks", source=Domain("walker"), target=Domain("hopper"), access=Access(shots=(0, 2)),
    episodes=2, learner=small.PPO, methods=small.FIELDS,
)  # fmt: skip
TRACKS = TransferProblem(
    name="tracks", source=Domain("probes:Track", wind=0.1), target=Domain("probes:Wider", wind=0.4),
    access=Access(shots=(0, 2)), episodes=2, learner=small.PPO, methods=small.FIELDS,
    graft={"state": {"1": 0, "2": 1}},
)  # fmt: skip


def finished(problem, name, out, **fields):
    job = make_job(problem, name, 0, out, fields)
    prepare(job, resume=False)
    return job, run(job)


@pytest.mark.parametrize(("problem", "tensors"), [(WALKS, {"copied", "resized"}), (TRACKS, set())])
def test_a_policy_goes_on_in_other_spaces(problem, tensors, tmp_path):
    job, result = finished(problem, "finetune", tmp_path)
    assert result.target["episodes"] == 2
    assert all(len(shot.source) == problem.episodes for shot in result.shots)  # grafted back
    if problem is TRACKS:  # which lacks nothing of the source's
        before = policy_from(Knowledge.load(job.folder / "knowledge"))
        expected = evaluate(problem.source, before, problem.episodes, job.seed)
        np.testing.assert_allclose(result.shots[0].source, expected, rtol=1e-4)
    rows = json.loads((job.folder / "graft.json").read_bytes())
    assert {row["fate"] for row in rows} >= tensors | {"fresh"}
    made = {row["tensor"].partition("/")[0] for row in rows if row["fate"] == "fresh"}
    assert made == {"optimiser"}
    plain, other = finished(problem, "source-only", tmp_path)
    assert other.shots[0].returns == pytest.approx(result.shots[0].returns, abs=1e-3)
    assert '"left behind"' in (plain.folder / "graft.json").read_text()  # who needs no moments
    page = write(read(tmp_path / problem.name)).read_text()
    assert "<h2>Grafted</h2>" in page
    assert "<td>policy/actor/mean/weights/0</td><td>resized</td>" in page


def test_what_stands_on_another_is_not_grafted_back(tmp_path):
    _, result = finished(TRACKS, "residual", tmp_path)
    assert not any(shot.source for shot in result.shots)


def test_who_reads_what_the_source_does_not_show_is_not_tried_there(tmp_path):
    target = Domain("probes:Wider", wind=Uniform(0.3, 0.4), shows=("wind",))
    shown = replace(TRACKS, target=target)
    _, result = finished(shown, "oracle", tmp_path)
    assert not any(shot.source for shot in result.shots)


def test_what_knows_the_target_already_is_left_as_it_is(tmp_path):
    for name in ("scratch", "oracle"):
        job, _ = finished(TRACKS, name, tmp_path)
        assert not (job.folder / "graft.json").exists()


def test_a_table_is_part_of_the_problem(tmp_path):
    assert from_table(TRACKS.as_table()) == TRACKS
    assert "graft" not in replace(TRACKS, graft={}).as_table()
    says = "state. are numbers of shape .2. and the target.*no names say which is which"
    with pytest.raises(HeadstartError, match=says):
        make_job(replace(TRACKS, graft={}), "finetune", 0, tmp_path)
    with pytest.raises(HeadstartError, match="graft.state must be a table"):
        replace(TRACKS, graft={"state": 3})


@pytest.mark.parametrize(
    ("name", "fields"),
    [("finetune", {"anchor.kind": "clone"}), ("diayn", {"skills": 2}), ("darc", {})],
)
def test_what_needs_both_at_once_is_refused(name, fields, tmp_path):
    problem = replace(TRACKS, access=Access(shots=(0, 5), steps=500), learner=small.SAC)
    with pytest.raises(HeadstartError, match=f"{name} needs spaces that are the same in both"):
        make_job(problem, name, 0, tmp_path, fields)


def test_the_grafted_policy_acts_as_it_did(tmp_path):
    """The wider track shows a number more, which nothing looks at yet."""
    job, _ = finished(TRACKS, "source-only", tmp_path)
    before, after = (Knowledge.load(job.folder / f).parts for f in ("knowledge", "zero_shot"))
    name = "actor/mean/weights/0"
    np.testing.assert_array_equal(after["policy"][name][1:], before["policy"][name])
    assert not after["policy"][name][0].any()
