"""What every registered method must keep."""

from dataclasses import replace
from pathlib import Path

import pytest

import small
from headstart import Domain, HeadstartError, TransferProblem
from headstart.errors import AllowanceSpent
from headstart.methods import METHODS
from headstart.problem import with_access
from headstart.runs.job import configured, make_job, prepare
from headstart.runs.run import run
from headstart.testing import check_method
from small import DOT, FIELDS, FLIPS, PUSHED, TRACK

PROBLEMS = {
    "darc": with_access(TRACK, steps=500),
    "random-force": PUSHED,
    "domain-confusion": DOT,
    "random-convolution": DOT,
    "her": FLIPS,
}
LEARN = {
    "scratch", "finetune", "residual", "progressive", "jump-start", "maxent", "diayn", "smerl",
    "her", "multi-task",
}  # fmt: skip
"""Methods that learn on the target."""
RUNNABLE = [name for name in METHODS if name not in ("epopt-posterior", "pretrained")]
"""Those that need neither `start_from` nor a folder."""


def test_every_method_has_a_test_line_and_a_page():
    assert FIELDS.keys() == METHODS.keys()
    pages = Path(__file__).parents[2] / "docs" / "methods"
    assert {page.stem for page in pages.glob("*.md")} >= METHODS.keys()


@pytest.mark.parametrize("name", RUNNABLE)
def test_it_keeps_the_contract(name):
    problem = PROBLEMS.get(name, TRACK)
    result = check_method(configured(problem, name, {}), problem)
    assert [shot.episodes for shot in result.shots] == [0, 3, 10]
    assert all(len(shot.returns) == 4 for shot in result.shots)
    assert len(result.sweep) == 2
    if name == "her":
        assert result.target["episodes"] == 10
        assert all(len(shot.success) == 4 for shot in result.shots)
    elif name in LEARN:
        assert result.target == {"observations": 0, "steps": 100, "episodes": 10}
    elif name == "darc":
        assert result.target["steps"] == 32 + (256 - 64) // 4
    elif name == "domain-confusion":
        assert result.target == {"observations": 40, "steps": 0, "episodes": 0}
    elif name == "oracle":
        assert result.target["steps"] >= 256
    else:
        assert result.target == {"observations": 0, "steps": 0, "episodes": 0}
    if name in ("scratch", "oracle"):
        assert result.source == {"steps": 0, "episodes": 0}


@pytest.mark.parametrize(
    ("during", "says"),
    [
        ("pretrain", "asked for 1 target episodes, 0 of 0 are left: raise access.steps"),
        (
            "adapt",
            "asked for 11 target episodes, 10 of 10 are left: raise the last of",
        ),
    ],
)
def test_a_method_that_takes_more_than_it_may_is_stopped(during, says, tmp_path):
    job = make_job(TRACK, "own:Greedy", 0, tmp_path, {"during": during})
    prepare(job, resume=False)
    with pytest.raises(AllowanceSpent, match=says):
        run(job)
    assert not (job.folder / "result.json").exists()


def test_who_learns_on_the_target_says_so():
    says = {name for name in METHODS if METHODS.find(name)().requires().learns_on_target}
    assert says == LEARN


def refused(problem, label, says, out):
    """Before anything runs or is written."""
    with pytest.raises(HeadstartError, match=says) as caught:
        make_job(problem, label, 0, out)
    assert list(out.iterdir()) == []
    return caught.value


def test_methods_that_vary_the_source_need_one_that_varies(tmp_path):
    fixed = replace(TRACK, name="fixed", source=TRACK.target)
    for name in ("domain-randomization", "epopt"):
        refused(fixed, name, f"{name} needs a source that varies", tmp_path)


def test_the_posterior_needs_a_simulator_that_an_observation_starts(tmp_path):
    refused(TRACK, "epopt-posterior", "give its engine start_from, or in JAX state_from", tmp_path)


def test_random_forces_need_a_body_to_push(tmp_path):
    stated = replace(TRACK, methods={"random-force": {"steps": 256}})
    says = "random-force needs an environment with a parameter random_force, and probes:Track has"
    refused(stated, "random-force", says, tmp_path)


@pytest.mark.parametrize(
    ("label", "access", "says"),
    [
        ("darc", {"steps": 79}, "darc takes 80 target steps, and access allows 79: raise acc"),
        ("darc", {}, "darc takes 80 target steps, and access allows 0: raise access.steps"),
        (
            "domain-confusion", {"observations": 39},
            "domain-confusion takes 40 target observations, and access allows 39: raise access.obs",
        ),
        (
            "darc:finetune=true", {"steps": 500, "shots": (0,)},
            "darc takes 1 target episodes, and access allows 0: add a number of episodes to access",
        ),
    ],
)  # fmt: skip
def test_a_method_that_needs_more_than_access_allows_is_refused(label, access, says, tmp_path):
    problem = DOT if label == "domain-confusion" else TRACK
    error = refused(with_access(problem, **access), label, says, tmp_path)
    assert isinstance(error, AllowanceSpent)


def test_what_access_just_allows_is_enough(tmp_path):
    make_job(with_access(TRACK, steps=80), "darc", 0, tmp_path)
    make_job(with_access(DOT, observations=40), "domain-confusion", 0, tmp_path)


def test_an_expert_that_does_not_exist_is_refused(tmp_path):
    known = r"unknown expert of probes:Dot 'centr': did you mean 'centre'"
    for label in ("source-only", "domain-confusion"):
        named = replace(DOT, learner={"algorithm": "imitation", "expert": "centr"}, methods={})
        refused(named, label, known, tmp_path)
    refused(with_access(DOT, behaviour="centr"), "domain-confusion", known, tmp_path)


def test_pre_training_that_took_nothing_of_the_target_serves_every_target(tmp_path):
    other = replace(TRACK, name="other", target=Domain("probes:Track", wind=-0.4))
    first = make_job(TRACK, "source-only", 0, tmp_path)
    second = make_job(other, "finetune", 0, tmp_path)
    prepare(first, False), prepare(second, False)
    assert run(first).seconds["pretrain"] == run(second).seconds["pretrain"]
    darc = {"darc": FIELDS["darc"]}
    taken = [
        make_job(replace(with_access(p, steps=500), methods=darc), "darc", 0, tmp_path)
        for p in (TRACK, other)
    ]
    for job in taken:
        prepare(job, False)
    assert run(taken[0]).seconds["pretrain"] != run(taken[1]).seconds["pretrain"]


def test_methods_that_share_pre_training_pay_for_it_once(tmp_path):
    first = make_job(TRACK, "source-only", 0, tmp_path)
    second = make_job(TRACK, "finetune", 0, tmp_path)
    other = make_job(TRACK, "finetune", 1, tmp_path)
    assert first.pretraining_key == second.pretraining_key != other.pretraining_key
    prepare(first, False), prepare(second, False)
    a = run(first)
    b = run(second)
    assert a.source == b.source
    assert a.seconds["pretrain"] == b.seconds["pretrain"]
    assert a.shots[0] == b.shots[0]
    assert (first.folder / "knowledge/weights.safetensors").read_bytes() == (
        second.folder / "knowledge/weights.safetensors"
    ).read_bytes()


def test_finetuning_starts_from_all_that_was_learned_whoever_learned_it(tmp_path):
    fields = {"steps": 256}
    stated = replace(TRACK, learner=small.SAC, methods={"source-only": fields, "finetune": fields})
    jobs = [make_job(stated, label, 0, tmp_path) for label in ("source-only", "finetune")]
    assert not any(prepare(job, resume=False) for job in jobs)
    plain, further = map(run, jobs)
    assert further.shots[0] == plain.shots[0]
    assert further.shots[-1].returns != plain.shots[-1].returns


def test_domains_that_one_policy_does_not_fit_are_refused(tmp_path):
    for one, other, says in [
        (
            "plane",
            "archery",
            r"source's observations \(state\) are numbers of shape \[\d\] and the target's",
        ),
        ("hopper", "probes:Track", r"observations \(state\) are"),
        ("grid", "probes:Track", "actions are one of 4 and the target's numbers of shape"),
    ]:
        stated = TransferProblem(name="odd", source=Domain(one), target=Domain(other))
        with pytest.raises(HeadstartError, match=says):
            make_job(stated, "source-only", 0, tmp_path)


def test_darc_goes_on_learning_on_the_target_if_it_is_told_to(tmp_path):
    stated = replace(with_access(TRACK, steps=500, shots=(0, 2, 4)), methods=FIELDS)
    plain = make_job(stated, "darc", 0, tmp_path)
    further = make_job(stated, "darc:finetune=true;episodes_per_update=2", 0, tmp_path)
    prepare(plain, False), prepare(further, False)
    first, second = run(plain), run(further)
    assert first.seconds["pretrain"] == second.seconds["pretrain"]
    assert first.target["episodes"] + 4 == second.target["episodes"]
    assert first.shots[0] == second.shots[0]
    assert len({tuple(shot.returns) for shot in second.shots}) == 3
