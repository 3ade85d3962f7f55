"""The source's policy acts first, and a new one from ever earlier."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import HeadstartError
from headstart.envs.spec import Actions
from headstart.knowledge import Knowledge
from headstart.methods.jump_start import ALL
from headstart.policies.actors import ACTORS, GuidedActor
from headstart.policies.policy import policy_from
from headstart.runs.evaluation import evaluate, explore
from headstart.runs.job import make_job, prepare
from headstart.runs.logger import rows
from headstart.runs.run import run
from methods.test_standing import PROBLEMS

ALWAYS, NEVER = {"tolerance": 1e9}, {"tolerance": 0.0}
"""Rounds hold whatever they return; they hold if they are the best."""


def finished(learner, out, **fields):
    shots = replace(PROBLEMS[learner].access, shots=(0, 5, 25))
    problem = replace(PROBLEMS[learner], access=shots)
    job = make_job(problem, "jump-start", 0, out, {"steps": 256, "log_std": "none", **fields})
    prepare(job, resume=False)
    return job, run(job)


def loaded(job, folder):
    return policy_from(Knowledge.load(job.folder / folder))


@pytest.mark.parametrize("kind", ACTORS)
def test_the_guide_acts_and_draws_until_its_time_is_over(kind):
    discrete = kind in ("categorical", "greedy")
    actions = Actions((), (3,)) if discrete else Actions((2,))
    guide, own = (ACTORS.find(kind)(3, actions, (4,), jax.random.key(i)) for i in (0, 1))
    if kind == "gaussian":
        guide = guide.narrowed(-5.0)
    both = GuidedActor(guide, own, jnp.float32(5))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    timed = jnp.concatenate([x, jnp.array([[0.0], [4.0], [5.0], [900.0]])], axis=1)
    key = jax.random.key(7)
    for asked in (
        lambda actor, x: actor.mode(x), lambda actor, x: actor.sample(x, key),
        lambda actor, x: actor.entropy(x, key), lambda actor, x: actor.outputs(x),
    ):  # fmt: skip
        np.testing.assert_allclose(asked(both, timed)[:2], asked(guide, x)[:2], rtol=1e-6)
        np.testing.assert_allclose(asked(both, timed)[2:], asked(own, x)[2:], rtol=1e-6)
    assert both.network is own.network


@pytest.mark.parametrize("learner", PROBLEMS)
def test_it_begins_as_the_source_and_ends_alone(learner, tmp_path):
    job, result = finished(learner, tmp_path, stages=4, **ALWAYS)
    problem, source = job.problem, loaded(job, "knowledge")
    assert result.shots[0].returns == evaluate(problem.target, source, problem.episodes, 0).tolist()
    adapted, first = loaded(job, "adapted"), loaded(job, "zero_shot")
    assert first.actor.steps == ALL
    assert adapted.actor.steps == 0
    for policy in (first, adapted):  # the guide is the source's, and so is what it sees through
        assert eqx.tree_equal(policy.actor.guide, source.actor)
        assert eqx.tree_equal(policy.encoders, source.encoders)
    alone = replace_actor(source, adapted.actor.own)
    found = evaluate(problem.target, alone, problem.episodes, 0).tolist()
    assert result.shots[-1].returns == found
    steps = [row["source_steps"] for row in rows(job.folder) if row["phase"] == "jump-start"]
    longest = steps[0] * 4 // 3
    assert steps == [-(-longest * left // 4) for left in (3, 2, 1, 0)]
    assert learner == "dqn" or longest == 10
    assert "afresh: policy, optimiser" in job.method.recipe
    assert job.method.notes(rows(job.folder)) == [
        "the new policy acts alone since 20 target episodes."
    ]


def replace_actor(policy, actor):
    return eqx.tree_at(lambda p: p.actor, policy, actor)


def test_the_policy_that_is_kept_is_the_one_that_acted(tmp_path):
    """After the first round, which is the source's, nothing else has acted, or learned of PPO."""
    few = replace(PROBLEMS["ppo"], access=replace(PROBLEMS["ppo"].access, shots=(0, 5)))
    job = make_job(few, "jump-start", 0, tmp_path, {"steps": 256, "stages": 1, **ALWAYS})
    prepare(job, resume=False)
    first, last = run(job).shots
    assert loaded(job, "adapted").actor.steps == ALL
    assert first.returns == last.returns
    source = loaded(job, "knowledge")
    sampled, _ = explore(few.target, source, few.episodes, 0)
    assert first.sampled == sampled.tolist()  # with the source's own deviation


def test_the_source_keeps_its_part_where_rounds_fall_below_the_best(tmp_path):
    job, _ = finished("ppo", tmp_path, stages=4, **NEVER)
    gained = [row["source_steps"] for row in rows(job.folder) if row["phase"] == "jump-start"]
    mean = [row["train_return"] for row in rows(job.folder) if row["phase"] == "adapt"]
    held = np.array(mean) >= np.maximum.accumulate(mean)
    assert len(mean) == 5
    assert not held.all()
    assert gained == [8, 5, 3, 0][: held[:-1].sum()]  # the last one would be of a next round
    assert "still acted in the first" in job.method.notes(rows(job.folder))[0]


def test_ppo_learns_from_what_the_new_policy_did_alone(tmp_path):
    """While the source acts to the end, nothing is learned."""
    job, _ = finished("ppo", tmp_path, stages=1, tolerance=0.0)
    first, *later = [row for row in rows(job.folder) if row["phase"] == "adapt"]
    assert "value_loss" not in first
    assert all("value_loss" in row for row in later)
    kept, _ = finished("sac", tmp_path / "sac", stages=1, **ALWAYS)
    replayed = [row for row in rows(kept.folder) if row["phase"] == "adapt"]
    assert all("critic_loss" in row for row in replayed)


def test_what_it_cannot_stand_on_is_refused(tmp_path):
    for fields, says in (
        ({"stages": 0}, "stages must be"),
        ({"tolerance": -1}, "tolerance must be"),
        ({"learner.memory": "gru"}, "jump-start takes policies without a memory"),
        ({"warmup": 2}, "leave out warmup"),
        ({"fresh": "statistics"}, "leave out fresh policy, statistics and encoder"),
    ):
        with pytest.raises(HeadstartError, match=says):
            make_job(PROBLEMS["ppo"], "jump-start", 0, tmp_path, fields)
