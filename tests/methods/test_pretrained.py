"""Starting from what was learned elsewhere, and from one of several skills."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import small
from headstart import Access, Domain, HeadstartError, TransferProblem, envs
from headstart.knowledge import Knowledge
from headstart.learners.sac import SAC
from headstart.policies.policy import check_reads, policy_from
from headstart.runs.evaluation import evaluate
from headstart.runs.job import make_job, prepare
from headstart.runs.logger import rows
from headstart.runs.run import run
from headstart.transfer.skills import skill_of
from small import TRACK

HERE = replace(TRACK, learner=small.SAC)
THERE = replace(HERE, name="elsewhere", target=Domain("probes:Track", wind=-0.3))


def done(problem, name, out, **fields):
    job = make_job(problem, name, 0, out, fields)
    prepare(job, resume=False)
    return job, run(job)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder of two skills, and one of a plain policy."""
    out = tmp_path_factory.mktemp("runs")
    skills, _ = done(HERE, "diayn", out)
    plain, _ = done(HERE, "source-only", out)
    return str(skills.folder / "knowledge"), str(plain.folder / "knowledge")


def worth(knowledge):
    return evaluate(THERE.target, policy_from(knowledge), THERE.episodes, 0).tolist()


def test_it_acts_as_what_was_learned_and_takes_no_step_of_the_source(learned, tmp_path):
    skills, plain = (Knowledge.load(Path(folder)) for folder in learned)
    _, result = done(THERE, "pretrained", tmp_path, folder=learned[1])
    assert result.shots[0].returns == worth(plain)
    assert result.source["steps"] == 0
    for number in (0, 1):
        _, result = done(
            THERE, "pretrained", tmp_path / str(number), folder=learned[0], skill=number
        )
        assert result.shots[0].returns == worth(skill_of(skills, number))


@pytest.mark.parametrize("name", ["finetune", "residual", "jump-start", "maxent"])
def test_one_skill_is_fine_tuned_on_another_problem(name, learned, tmp_path):
    job, result = done(THERE, name, tmp_path, pretrained=learned[0], skill=1)
    skill = skill_of(Knowledge.load(Path(learned[0])), 1)
    assert result.shots[0].returns == pytest.approx(worth(skill), rel=1e-4)
    assert result.source["steps"] == 0
    assert result.target["episodes"] == 10
    assert f"from {learned[0]}, skill 1" in job.method.recipe


def test_who_trains_no_skills_need_not_be_able_to(learned):
    """Three copies do not share two skills evenly, where skills are trained."""
    odd = {"pretrained": learned[0], "skills": 2, "learner.num_envs": 3}
    make_job(THERE, "diayn", 0, Path("unused"), odd)
    with pytest.raises(HeadstartError, match="do not share 2 skills evenly"):
        make_job(THERE, "diayn", 0, Path("unused"), odd | {"pretrained": ""})


@pytest.mark.parametrize("name", ["diayn", "smerl"])
def test_all_skills_are_tried_again_on_another_problem(name, learned, tmp_path):
    job, result = done(THERE, name, tmp_path, pretrained=learned[0])
    assert result.source["steps"] == 0
    assert result.target["episodes"] == 10
    (tried,) = [row for row in rows(job.folder) if "skill_returns" in row]
    skills = Knowledge.load(Path(learned[0]))
    first = str(np.argmax(skills.parts["skills"]["returns"]))
    assert result.shots[0].returns == worth(skill_of(skills, int(first)))
    assert next(iter(tried["skill_returns"])) == first
    assert tried["skill"] == int(max(tried["skill_returns"], key=tried["skill_returns"].get))


def test_what_cannot_be_started_from_is_refused_before_anything_is_spent(learned, tmp_path):
    skills, plain = learned
    for name, fields, says in (
        ("pretrained", {"folder": ""}, "no knowledge is named: set the folder"),
        ("pretrained", {"folder": "nowhere"}, "nowhere is not a knowledge folder"),
        (
            "pretrained",
            {"folder": skills, "skill": 2},
            "there is no skill 2: they are numbered 0 to 1",
        ),
        ("pretrained", {"folder": plain, "skill": 0}, "holds no skills"),
        ("finetune", {"pretrained": skills, "skill": 2}, "there is no skill 2"),
        ("finetune", {"skill": 1}, "set pretrained too"),
        ("diayn", {"pretrained": skills, "skill": 1}, "all skills are tried on the target"),
        ("diayn", {"pretrained": plain}, "holds no skills"),
        ("diayn", {"pretrained": skills, "skills": 1}, "skills must be at least 2"),
        (
            "smerl",
            {"pretrained": skills, "skills": 8, "learner.num_envs": 8},
            "holds 2 skills: set",
        ),
    ):
        with pytest.raises(HeadstartError, match=says):
            make_job(THERE, name, 0, tmp_path, fields)
    bare = tmp_path / "bare"
    Knowledge.load(Path(plain)).without("critic").save(bare)
    with pytest.raises(HeadstartError, match="holds no critic .* name it in fresh"):
        make_job(THERE, "finetune", 0, tmp_path, {"pretrained": str(bare)})
    make_job(THERE, "finetune", 0, tmp_path, {"pretrained": str(bare), "fresh": "critic"})
    ppo = replace(THERE, learner=small.PPO, methods={})
    other = replace(THERE, source=Domain("runner"), target=Domain("runner"), sweep={}, methods={})
    for problem, name, fields, says in (
        (THERE, "pretrained", {"folder": skills}, "holds 2 skills: set skill to the number"),
        (THERE, "finetune", {"pretrained": skills}, "holds 2 skills: set skill to the number"),
        (other, "pretrained", {"folder": plain}, "was learned with other state than runner has"),
        (ppo, "finetune", {"pretrained": plain}, "holds no policy as PPO makes it here"),
        (THERE, "finetune", {"pretrained": plain, "learner.hidden": 8}, "holds no policy as SAC"),
    ):
        with pytest.raises(HeadstartError, match=says):
            make_job(problem, name, 0, tmp_path, fields)


def test_who_pretrains_nothing_needs_no_temperature(tmp_path):
    """PPO, which has none, can take over what was pre-trained."""
    ppo = replace(TRACK, methods={})
    job, _ = done(replace(ppo, methods={"source-only": {"steps": 256}}), "source-only", tmp_path)
    make_job(ppo, "maxent", 0, tmp_path, {"pretrained": str(job.folder / "knowledge")})
    with pytest.raises(HeadstartError, match="maxent cannot use PPO, which knows no 'temperature'"):
        make_job(ppo, "maxent", 0, tmp_path)


def test_robots_of_the_same_size_are_told_apart_by_the_names_of_their_joints(tmp_path):
    """Half-cheetah and walker show 17 numbers and take 6."""
    learner = SAC(hidden=(8,))
    state = learner.init(envs.spec_of(Domain("half-cheetah")), jax.random.key(0))
    learner.knowledge(state).save(tmp_path / "cheetah")
    walker = Domain("walker")
    problem = TransferProblem(
        name="walk", source=walker, target=walker, access=Access(shots=(0, 5)),
        learner={"algorithm": "sac", "hidden": [8]},
    )  # fmt: skip
    fields = {"pretrained": str(tmp_path / "cheetah")}
    with pytest.raises(
        HeadstartError, match=r"cheetah's observations \(state\) are .* and walker's"
    ):
        make_job(problem, "finetune", 0, tmp_path, fields)
    with pytest.raises(
        HeadstartError, match=r"the policy's observations \(state\) are .* walker's"
    ):
        check_reads(learner.policy(state), envs.spec_of(walker))


def test_a_folder_with_other_content_is_another_start(learned, tmp_path):
    kept = tmp_path / "kept"
    Knowledge.load(Path(learned[1])).save(kept)
    before, result = done(THERE, "pretrained", tmp_path, folder=str(kept))
    skill_of(Knowledge.load(Path(learned[0])), 1).save(kept)
    again = make_job(THERE, "pretrained", 0, tmp_path, {"folder": str(kept)})
    assert again.untouched_key != before.untouched_key
    with pytest.raises(HeadstartError, match="holds a run with another method"):
        prepare(again, resume=True)
    _, tuned = done(THERE, "finetune", tmp_path, pretrained=str(kept))
    assert tuned.shots[0].returns != result.shots[0].returns
