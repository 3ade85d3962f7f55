from dataclasses import replace

import jax
import numpy as np
import pytest

import small
from headstart import Access, Domain, HeadstartError, TransferProblem, envs
from headstart.knowledge import Knowledge
from headstart.learners.sac import SAC
from headstart.methods.maxent import MaxEnt
from headstart.methods.source_only import SourceOnly
from headstart.policies.policy import policy_from
from headstart.problem.named import find
from headstart.runs.job import make_job, prepare
from headstart.runs.logger import rows
from headstart.runs.run import run
from small import TRACK

SOFT = replace(
    TRACK, learner=small.SAC, methods={"maxent": {"steps": 256}, "maxent:temperature=0": {}}
)


def test_the_temperature_is_held_in_the_source_alone():
    method = MaxEnt(steps=5, temperature=0.7, learner=SAC(temperature=0.05))
    assert method.pretraining == SourceOnly(steps=5, learner=SAC(temperature=0.7, entropy=None))
    assert MaxEnt(temperature=0, learner=SAC()).pretraining.learner.temperature == 1e-6
    assert method.learner == SAC(temperature=0.05)


def test_what_is_adapted_has_the_learners_own_temperature(tmp_path):
    job = make_job(SOFT, "maxent", 0, tmp_path)
    prepare(job, resume=False)
    run(job)
    assert "temperature" not in Knowledge.load(job.folder / "knowledge").parts
    with pytest.raises(HeadstartError, match=r"temperature must be at least 0, got -1"):
        make_job(SOFT, "maxent:temperature=-1", 0, tmp_path)


def test_a_problem_may_set_a_variant_of_a_method(tmp_path):
    cold = make_job(SOFT, "maxent:temperature=0", 0, tmp_path).method
    assert (cold.steps, cold.temperature) == (256, 0)
    longer = replace(SOFT, methods={**SOFT.methods, "maxent:temperature=0": {"steps": 512}})
    assert make_job(longer, "maxent:temperature=0", 0, tmp_path).method.steps == 512
    assert make_job(longer, "maxent", 0, tmp_path).method.steps == 256
    with pytest.raises(HeadstartError, match="maxnet"):
        make_job(replace(SOFT, methods={"maxnet:steps=1": {}}), "maxent", 0, tmp_path)


def test_a_learner_without_a_temperature_is_refused(tmp_path):
    with pytest.raises(HeadstartError, match="maxent cannot use PPO, which knows no 'temp"):
        make_job(replace(TRACK, methods={}), "maxent", 0, tmp_path)


def test_a_soft_q_function_is_pretrained_and_tuned(tmp_path):
    problem = TransferProblem(
        name="rooms", source=Domain("grid"), target=Domain("grid", wall=1), episodes=2,
        access=Access(shots=(0, 2)), learner=small.DQN,
        methods={"maxent": {"steps": 256, "temperature": 0.5}},
    )  # fmt: skip
    job = make_job(problem, "maxent", 0, tmp_path)
    prepare(job, resume=False)
    result = run(job)
    carried = policy_from(Knowledge.load(job.folder / "knowledge"))
    assert float(carried.actor.temperature) == 0.5
    assert float(policy_from(Knowledge.load(job.folder / "adapted")).actor.temperature) == 0
    assert result.shots[0].entropy == [0, 0, 0]  # the learner's own, which the problem left at 0
    (carried,) = (row["entropy"] for row in rows(job.folder) if row["phase"] == "carried")
    assert min(carried) > 0.5


def test_the_report_draws_the_ways_of_the_carried_policy():
    hallway = find("hallway")
    learner = SAC(hidden=(8,))
    state = learner.init(envs.spec_of(hallway.source), jax.random.key(0))
    moves = MaxEnt(learner=learner).moves(
        learner.knowledge(state), learner.policy(state), hallway.source
    )
    assert moves.obs.shape == moves.next_obs.shape == (32 * 50, 4)
    assert moves.value.shape == (32 * 50,)
    assert moves.limits[1] == pytest.approx(2 * np.log(2))
    assert moves.value.mean() == pytest.approx(1.35, abs=0.05)  # it knows nothing yet
    assert "1.39 nats are those of actions uniformly at random" in moves.meaning
