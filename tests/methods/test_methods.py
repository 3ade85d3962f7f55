"""What every registered method must keep."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest

from headstart import (
    Access,
    Domain,
    HeadstartError,
    TransferProblem,
    Uniform,
    configuration,
    methods,
)
from headstart.errors import AllowanceSpent
from headstart.learners.ppo import PPO
from headstart.problem import with_access
from headstart.run import make_job, prepare, run
from headstart.testing import check_method

SMALL = {"hidden": [16], "environments": 8, "steps": 16, "minibatch": 32, "epochs": 2}
SMALL_SAC = {
    "hidden": [16], "environments": 2, "steps": 8, "batch": 16, "random_steps": 64, "updates": 0.5,
}  # fmt: skip
FIELDS = {
    "scratch": {"learner": SMALL},
    "source-only": {"steps": 256, "learner": SMALL},
    "oracle": {"steps": 256, "learner": SMALL},
    "finetune": {"steps": 256, "learner": SMALL},
    "domain-randomization": {"steps": 256, "learner": SMALL},
    "epopt": {"steps": 512, "trajectories": 8, "minibatch": 32, "learner": SMALL},
    "epopt-posterior": {
        "episodes_per_round": 2, "rounds": 2, "retrain": 256,
        "posterior": {"particles": 16, "transitions": 6},
        "epopt": {"steps": 512, "trajectories": 8, "minibatch": 32, "learner": SMALL},
    },
    "darc": {
        "steps": 256,
        "ratio": {"warmup": 64, "after": 64, "random_steps": 32, "every": 4, "hidden": [8]},
        "learner": SMALL_SAC,
    },
    "random-force": {"steps": 256, "learner": {"algorithm": "sac", **SMALL_SAC}},
    "domain-confusion": {"steps": 256, "observations": 40, "samples": 8, "learner": SMALL},
    "random-convolution": {"steps": 256, "samples": 8, "learner": SMALL},
}  # fmt: skip
PROBLEM = TransferProblem(
    name="track",
    source=Domain("worlds:Track", wind=Uniform(-0.5, 0.5)),
    target=Domain("worlds:Track", wind=0.4),
    access=Access(shots=(0, 3, 10)),
    sweep={"wind": (-0.4, 0.4)},
    episodes=4,
    sweep_episodes=2,
    methods=FIELDS,
)
DOT = TransferProblem(
    name="dot",
    source=Domain("worlds:Dot", tint=Uniform(-0.0, 0.2)),
    target=Domain("worlds:Dot", tint=1.0),
    access=Access(observations=60, shots=(0, 3, 10), behaviour="centre"),
    sweep={"tint": (0.5, 1.0)},
    episodes=4,
    sweep_episodes=2,
    methods=FIELDS,
)
PROBLEMS = {
    "darc": with_access(PROBLEM, steps=500),
    "random-force": TransferProblem(
        name="pushed",
        source=Domain("hopper"),
        target=Domain("hopper", torso_mass=9.0),
        access=Access(shots=(0, 3, 10)),
        sweep={"torso_mass": (3, 9)},
        episodes=4,
        sweep_episodes=2,
        methods=FIELDS,
    ),
    "domain-confusion": DOT,
    "random-convolution": DOT,
}
RUNNABLE = [name for name in methods.METHODS if name != "epopt-posterior"]  # needs start_from


def test_every_method_has_a_test_line_and_a_page():
    assert FIELDS.keys() == methods.METHODS.keys()
    pages = Path(__file__).parents[2] / "docs" / "methods"
    assert {page.stem for page in pages.glob("*.md")} >= methods.METHODS.keys()


@pytest.mark.parametrize("name", RUNNABLE)
def test_it_keeps_the_contract(name):
    method = configuration.updated(methods.find(name)(), FIELDS[name])
    result = check_method(method, PROBLEMS.get(name, PROBLEM))
    assert [shot.episodes for shot in result.shots] == [0, 3, 10]
    assert all(len(shot.returns) == 4 for shot in result.shots)
    assert len(result.sweep) == 2
    if name in ("scratch", "finetune"):
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


@dataclass(frozen=True)
class Greedy:
    """Takes one step of the target more than it may."""

    during: str = "adapt"
    """When."""
    learner: PPO = field(default_factory=PPO)
    """The RL algorithm."""
    unlimited: ClassVar[bool] = False

    @property
    def pretraining(self):
        return self

    def pretrain(self, source, target, key):
        if self.during == "pretrain":
            target.start(1, 0).reset()
        environment = source.environment
        learner = configuration.updated(self.learner, SMALL)
        space = environment.observation_space, environment.action_space
        return learner.knowledge(learner.init(*space, key))

    def adapt(self, knowledge, target, key) -> Iterator:
        from headstart.learners.policy import policy_from
        from headstart.learners.rollout import episodes

        yield policy_from(knowledge)
        episodes(policy_from(knowledge), target.start(11, 0))


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
    job = make_job(PROBLEM, "test_methods:Greedy", 0, tmp_path, {"during": during})
    prepare(job, resume=False)
    with pytest.raises(AllowanceSpent, match=says):
        run(job)
    assert not (job.folder / "result.json").exists()


@dataclass(frozen=True)
class Careless(Greedy):
    """Has a field that says nothing of itself."""

    during: str = "never"
    """When."""
    mystery: int = 3


def test_a_method_that_breaks_the_contract_is_caught():
    with pytest.raises(AssertionError, match="without a docstring: mystery"):
        check_method(Careless(), PROBLEM)
    with pytest.raises(AllowanceSpent):
        check_method(Greedy(), PROBLEM)


def test_methods_that_vary_the_source_need_one_that_varies(tmp_path):
    fixed = TransferProblem("fixed", PROBLEM.target, PROBLEM.target, methods=FIELDS)
    for name in ("domain-randomization", "epopt"):
        job = make_job(fixed, name, 0, tmp_path)
        prepare(job, resume=False)
        with pytest.raises(HeadstartError, match=f"{name} needs a source that varies"):
            run(job)


def test_the_posterior_needs_a_simulator_that_an_observation_starts(tmp_path):
    job = make_job(PROBLEM, "epopt-posterior", 0, tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match="give its engine a start_from method"):
        run(job)


def test_pre_training_that_took_nothing_of_the_target_serves_every_target(tmp_path):
    other = replace(PROBLEM, name="other", target=Domain("worlds:Track", wind=-0.4))
    first = make_job(PROBLEM, "source-only", 0, tmp_path)
    second = make_job(other, "finetune", 0, tmp_path)
    prepare(first, False), prepare(second, False)
    assert run(first).seconds["pretrain"] == run(second).seconds["pretrain"]
    darc = {"darc": FIELDS["darc"]}
    taken = [
        make_job(replace(with_access(p, steps=500), methods=darc), "darc", 0, tmp_path)
        for p in (PROBLEM, other)
    ]
    for job in taken:
        prepare(job, False)
    assert run(taken[0]).seconds["pretrain"] != run(taken[1]).seconds["pretrain"]


def test_methods_that_share_pre_training_pay_for_it_once(tmp_path):
    first = make_job(PROBLEM, "source-only", 0, tmp_path)
    second = make_job(PROBLEM, "finetune", 0, tmp_path)
    other = make_job(PROBLEM, "finetune", 1, tmp_path)
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
    fields = {"steps": 256, "learner": {"algorithm": "sac", **SMALL_SAC}}
    stated = replace(PROBLEM, methods={"source-only": fields, "finetune": fields})
    jobs = [make_job(stated, label, 0, tmp_path) for label in ("source-only", "finetune")]
    assert not any(prepare(job, resume=False) for job in jobs)
    plain, further = map(run, jobs)
    assert further.shots[0] == plain.shots[0]
    assert further.shots[-1].returns != plain.shots[-1].returns


def test_finetuning_without_an_episode_is_refused(tmp_path):
    job = make_job(with_access(PROBLEM, steps=500, shots=(0,)), "darc:finetune=true", 0, tmp_path)
    prepare(job, resume=False)
    with pytest.raises(HeadstartError, match="access.shots allows none"):
        run(job)
    assert not (job.folder / "knowledge").exists()


def test_domains_that_one_policy_does_not_fit_are_refused(tmp_path):
    for one, other, says in [
        ("plane", "archery", r"source's observations are numbers of shape \[\d\] and the target's"),
        ("hopper", "worlds:Track", "observations are"),
        ("grid", "worlds:Track", "actions are one of 4 and the target's numbers of shape"),
    ]:
        stated = TransferProblem(name="odd", source=Domain(one), target=Domain(other))
        with pytest.raises(HeadstartError, match=says):
            make_job(stated, "source-only", 0, tmp_path)


def test_darc_goes_on_learning_on_the_target_if_it_is_told_to(tmp_path):
    stated = replace(with_access(PROBLEM, steps=500, shots=(0, 2, 4)), methods=FIELDS)
    plain = make_job(stated, "darc", 0, tmp_path)
    further = make_job(stated, "darc:finetune=true;episodes_per_update=2", 0, tmp_path)
    prepare(plain, False), prepare(further, False)
    first, second = run(plain), run(further)
    assert first.seconds["pretrain"] == second.seconds["pretrain"]
    assert first.target["episodes"] + 4 == second.target["episodes"]
    assert first.shots[0] == second.shots[0]
    assert len({tuple(shot.returns) for shot in second.shots}) == 3
