"""Hindsight where there are goals, and plain learning where there are none."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from headstart import Access, Domain, HeadstartError, TransferProblem, envs
from headstart.knowledge import Knowledge
from headstart.methods.her import Her
from headstart.policies.policy import policy_from
from headstart.report import write
from headstart.report.compared import read
from headstart.report.maps import path
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run

SAC = {
    "algorithm": "sac", "hidden": [8], "num_envs": 4, "rollout_length": 10, "learning_starts": 80,
    "batch_size": 16,
}  # fmt: skip
STATED = TransferProblem(
    name="no-goal",
    source=Domain("point-maze", wall=0),
    target=Domain("green-red"),
    access=Access(shots=(0, 2)),
    episodes=4,
    learner=SAC,
    methods={"her": {"steps": 160, "episodes_per_update": 2}},
)


def test_on_a_target_that_is_no_goal_it_learns_from_what_that_pays(tmp_path):
    job = make_job(STATED, "her", 0, tmp_path)
    prepare(job, resume=False)
    result = run(job)
    assert result.target == {"observations": 0, "steps": 200, "episodes": 2}
    assert not any(shot.success for shot in result.shots)
    before, after = (np.array(shot.returns) for shot in result.shots)
    assert (before != after).any()
    places = path(policy_from(Knowledge.load(job.folder / "adapted")), STATED.target, seed=0)
    assert places.shape == (101, 2)
    np.testing.assert_allclose(places[0], [0.6, 0.6], atol=0.1)
    assert 'id="paths-' in write(read(tmp_path / "no-goal")).read_text()
    assert Her().hindsight(envs.spec_of(STATED.target)) is None
    assert Her().hindsight(envs.spec_of(STATED.source)) is not None


CODED = {**SAC, "encoders": ["observation=codes", "desired_goal=codes"]}
PICTURES = TransferProblem(
    name="pictures", source=Domain("puck"), target=Domain("puck"), access=Access(shots=(0, 2)),
    episodes=4, learner=CODED, methods={"her": {"steps": 160, "episodes_per_update": 2}},
)  # fmt: skip


def learned(job):
    """All numbers of the adapted policy."""
    prepare(job, resume=False)
    run(job)
    found = jax.tree.leaves(policy_from(Knowledge.load(job.folder / "adapted")).actor)
    return np.concatenate([x.ravel() for x in found])


def test_goals_that_are_pictures_are_judged_by_codes_or_by_the_environment(tmp_path):
    labels = ("her", "her:latent=true")
    plain, latent = (learned(make_job(PICTURES, label, 0, tmp_path)) for label in labels)
    assert plain.shape == latent.shape
    assert (plain != latent).any()


def test_codes_that_the_gradient_changes_do_not_judge(tmp_path):
    dqn = {**SAC, "algorithm": "dqn", "n_step": 1}
    seen = TransferProblem(
        name="seen", source=Domain("probes:SeenReach"), target=Domain("probes:SeenReach"),
        episodes=4, learner=dqn, methods={"her": {"steps": 160, "latent": True}},
    )  # fmt: skip
    with pytest.raises(HeadstartError, match="desired_goal is read through, and DQN trains that"):
        make_job(seen, "her", 0, tmp_path)
    blank = replace(seen, learner=dqn | {"encoders": ["desired_goal=blank"]})
    with pytest.raises(HeadstartError, match="desired_goal is read through, and DQN reads nothing"):
        make_job(blank, "her", 0, tmp_path)
    coded = dqn | {"encoders": ["observation=codes", "desired_goal=codes"]}
    job = make_job(replace(seen, learner=coded), "her", 0, tmp_path)
    prepare(job, resume=False)
    run(job)
    policy = policy_from(Knowledge.load(job.folder / "adapted"))
    assert policy.encoders.by_group["observation"].count > 0


def test_a_source_that_is_no_goal_is_refused(tmp_path):
    turned = TransferProblem(name="turned", source=STATED.target, target=STATED.source, learner=SAC)
    with pytest.raises(HeadstartError, match="hindsight tells other goals, and green-red has none"):
        make_job(turned, "her", 0, tmp_path)
