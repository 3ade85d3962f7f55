"""How learning on the target begins, with something carried and with nothing."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from headstart import Domain, HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.learner import NO_HOOKS
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.methods import recipe, scratch
from headstart.methods.finetune import Finetune
from headstart.methods.scratch import Scratch
from headstart.runs.job import make_job, prepare
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.runs.run import run
from headstart.transfer.anchor import Anchoring
from small import TRACK as PROBLEM

LEARNER = PPO(hidden=(4,))
TRACK = Domain("probes:Track")


def begun(method, log_std=-2.0):
    """The first policy of a method that carries a narrow one."""
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    state = LEARNER.init(target.spec, jax.random.key(0))
    actor = state.policy.actor.narrowed(log_std)
    knowledge = LEARNER.knowledge(state).with_part(
        "policy", {"actor": actor, "memory": state.policy.memory}
    )
    return next(iter(method.adapt(knowledge, CountedSource(TRACK), target, jax.random.key(1))))


@pytest.mark.parametrize(
    ("method", "log_std"),
    [
        (Finetune(learner=LEARNER), -0.7),
        (Finetune(learner=LEARNER, log_std=-1.0), -1.0),
        (Finetune(learner=LEARNER, log_std=None), -2.0),
    ],
)
def test_the_deviation_that_ended_small_is_raised(method, log_std):
    np.testing.assert_allclose(begun(method).actor.log_std, jnp.full(1, log_std), rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "method", "explores"),
    [
        (scratch, Scratch(learner=LEARNER), True),
        (recipe, Finetune(learner=LEARNER), False),
        (recipe, Finetune(learner=LEARNER, fresh=("policy",)), True),
    ],
)
def test_who_carries_no_policy_explores(monkeypatch, module, method, explores):
    told = []

    def improve(learner, target, state, episodes_per_update, key, explores=False, plan=None):
        told.append(explores)
        yield learner.policy(state)

    monkeypatch.setattr(module, "improve", improve)
    begun(method)
    assert told == [explores]


def adapted(tmp_path, **fields):
    """The knowledge, what the last policy knows, and the result of a run."""
    fields = {"steps": 256, "log_std": "none", **fields}
    job = make_job(PROBLEM, "finetune", 0, tmp_path, fields)
    prepare(job, resume=False)
    result = run(job)
    return Knowledge.load(job.folder / "knowledge"), Knowledge.load(job.folder / "adapted"), result


def same(one, other, part):
    return all(np.array_equal(x, other.parts[part][name]) for name, x in one.parts[part].items())


def test_a_frozen_part_is_on_the_target_what_it_was_in_the_source(tmp_path):
    before, after, _ = adapted(tmp_path, rates="policy=0")
    assert same(before, after, "policy")
    assert not same(before, after, "statistics")
    before, after, _ = adapted(tmp_path / "other", rates="statistics=0,critic=0.5")
    assert same(before, after, "statistics")
    assert not same(before, after, "policy")


def test_while_the_critic_warms_up_the_policy_stands_still(tmp_path):
    """Ten episodes, three at a time: three rounds are enough for nine."""
    before, after, result = adapted(tmp_path, warmup=9, episodes_per_update=9)
    assert len({tuple(shot.returns) for shot in result.shots[:2]}) == 1
    assert not same(before, after, "statistics")  # from the last episode on
    before, after, _ = adapted(tmp_path / "half", warmup=5)
    assert not same(before, after, "policy")


def test_parts_start_afresh_if_they_are_told_to(monkeypatch):
    """By default the moments of the optimiser. The scale of returns goes with the critic, and may
    count little."""
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    old, told = LEARNER.init(target.spec, jax.random.key(0)), []

    def improve(learner, target, state, *rest):
        told.append(state)
        return iter(())

    monkeypatch.setattr(recipe, "improve", improve)
    old = eqx.tree_at(
        lambda s: (s.returns, s.opt_state), old,
        jax.tree.map(lambda x: x + 3, (old.returns, old.opt_state)),
    )  # fmt: skip
    knowledge = LEARNER.knowledge(old)

    def state(**fields):
        method = Finetune(learner=LEARNER, log_std=None, **fields)
        method.adapt(knowledge, CountedSource(TRACK), target, jax.random.key(1))
        return told.pop()

    usual, whole, none = state(), state(fresh=()), state(fresh=("policy", "critic", "statistics"))
    light = state(fresh=("returns",))
    assert [float(s.returns.count[0]) for s in (usual, whole, none, light)] == [3, 3, 0, 1]
    assert [float(s.returns.mean[0]) for s in (usual, whole, none, light)] == [3, 3, 0, 3]
    counts = [int(jax.tree.leaves(s.opt_state)[0]) for s in (usual, whole)]
    assert counts == [0, 3]
    weights = [s.critic.value.weights[0] for s in (usual, whole, none)]
    np.testing.assert_array_equal(weights[0], old.critic.value.weights[0])
    np.testing.assert_array_equal(weights[1], old.critic.value.weights[0])
    assert np.abs(np.asarray(weights[2] - weights[0])).max() > 0


def test_what_is_switched_off_adds_nothing():
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    knowledge = LEARNER.knowledge(LEARNER.init(target.spec, jax.random.key(0)))
    source = CountedSource(TRACK)
    plan = Finetune(learner=LEARNER)._plan(knowledge, source, target, jax.random.key(0))
    assert plan.hooks(0.5) == NO_HOOKS
    assert plan.before("state", 1, jax.random.key(0)) == "state"
    assert source.steps == 0


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"anchor": Anchoring(kind="kickstart")}, 0),
        ({"anchor": Anchoring(kind="l2")}, 0),
        ({"anchor": Anchoring(kind="clone")}, 128),
        ({"anchor": Anchoring(kind="ewc", batch_size=16)}, 128),
        ({"replay": 0.5}, 128),
    ],
)
def test_steps_of_the_source_are_taken_and_counted_where_they_are_needed(fields, steps):
    learner = SAC(hidden=(4,), num_envs=4)
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    knowledge = learner.knowledge(learner.init(target.spec, jax.random.key(0), total=20_000))
    source = CountedSource(TRACK)
    method = Finetune(learner=learner, kept=126, **fields)
    plan = method._plan(knowledge, source, target, jax.random.key(0))
    assert source.steps == steps
    hooks = plan.hooks(0.5)
    assert (hooks.anchor is None) == ("anchor" not in fields)
    if hooks.anchor is not None:
        assert float(hooks.anchor.weight) == 0.5
    if "replay" in fields:
        assert int(hooks.kept.filled) * hooks.kept.num_envs == 128
        assert hooks.kept_share == 0.5


@pytest.mark.parametrize(
    "fields",
    [
        {"anchor.kind": "kickstart", "warmup": 2},
        {"anchor.kind": "ewc", "kept": 64, "anchor.batch_size": 16},
        {"anchor.kind": "clone", "kept": 64},
    ],
)
@pytest.mark.parametrize("learner", [small.PPO, small.SAC])
def test_every_part_runs_with_every_learner(tmp_path, fields, learner):
    runs_to_other_returns(tmp_path, fields, learner)


def test_resets_run_with_what_replays(tmp_path):
    runs_to_other_returns(tmp_path, {"reset_every": 4, "fresh": ""}, small.SAC)


def runs_to_other_returns(tmp_path, fields, learner):
    problem = replace(PROBLEM, learner=learner, methods={})
    job = make_job(problem, "finetune", 0, tmp_path, {"steps": 256, **fields})
    prepare(job, resume=False)
    assert len({tuple(shot.returns) for shot in run(job).shots}) > 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rates": "critc=0"}, "unknown part that PPO learns 'critc'.*did you mean 'critic'"),
        ({"rates": "temperature=0"}, "part that PPO learns 'temperature'"),
        ({"rates": "critic"}, "rates are given as part=factor, as in encoder=0, got 'critic'"),
        ({"rates": "critic=-1"}, "a factor of the learning rate is at least 0, got 'critic=-1'"),
        ({"rates": "optimiser=1"}, "part that PPO learns 'optimiser'"),
        ({"rates": "statistics=0.5"}, "statistics count or do not: their rate is 0 or 1"),
        ({"reset_every": 5}, "PPO forgets what it learned from"),
        ({"warmup": 10}, "finetune takes 11 target episodes, and access allows 10"),
        (
            {"warmup": 7, "episodes_per_update": 5},
            "finetune takes 11 target episodes, and access allows 10",
        ),
        ({"log_std": 0.5}, "log_std must be at most 0"),
        ({"fresh": "polcy"}, "part that is learned in .* 'polcy'"),
        ({"fresh": "encoder"}, "part that is learned in .* 'encoder'"),
        ({"rates": "encoder=0"}, "part that is learned in .* 'encoder'"),
        (
            {"learner": small.SAC, "reset_every": 10},
            "finetune takes 11 target episodes, and access allows 10",
        ),
        ({"learner": small.SAC, "steps": 64}, "the first 64 of 64 steps are random"),
        ({"anchor.kind": "clone", "kept": 0}, "anchor.kind clone needs steps of the source: set k"),
        ({"replay": 0.5}, "replay mixes batches with steps of the source, and PPO does not replay"),
        ({"replay": 0.95}, "replay must be between 0 and 0.9"),
        (
            {"anchor.kind": "ewc", "learner.memory": "gru"},
            "anchor.kind ewc takes states one by one, and the learner has a memory: use kickstart",
        ),
        ({"anchor.kind": "kick"}, "anchor.kind"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_spent(tmp_path, fields, says):
    with pytest.raises(HeadstartError, match=says):
        make_job(PROBLEM, "finetune", 0, tmp_path, fields)
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_is_told():
    assert Finetune().recipe == "afresh: optimiser; log σ raised to -0.7, if Gaussian"
    told = Finetune(
        fresh=(), log_std=None, rates=("encoder=0", "critic=2"), warmup=10, replay=0.25,
        anchor=Anchoring(kind="ewc", weight=100.0), reset_every=50,
    ).recipe  # fmt: skip
    assert told == (
        "afresh: nothing; encoder frozen; critic at 2 times the rate; the critic alone for 10 "
        "episodes; held by ewc (100); 25 % of a batch from the source; the last 1 layers reset "
        "every 50 episodes"
    )


def test_layers_are_reset_before_the_updates_of_a_round_and_never_after_the_last(
    tmp_path, monkeypatch
):
    """Rounds of 4, 4 and 2 episodes; what is yielded has always been trained since."""
    resets = []

    def with_fresh_layers(learner, state, spec, layers, key):
        resets.append(layers)
        return state

    monkeypatch.setattr(recipe, "with_fresh_layers", with_fresh_layers)
    problem = replace(PROBLEM, learner=small.SAC, methods={})
    fields = {"steps": 256, "reset_every": 2, "reset_layers": 2, "episodes_per_update": 4}
    job = make_job(problem, "finetune", 0, tmp_path, fields)
    prepare(job, resume=False)
    run(job)
    assert resets == [2, 2]


def test_what_is_raised_is_what_the_anchor_is_at():
    """The source's policy ended narrow; the anchor does not draw the raised one back."""
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    state = LEARNER.init(target.spec, jax.random.key(0))
    narrow = eqx.tree_at(lambda s: s.policy.actor, state, state.policy.actor.narrowed(-2.0))
    method = Finetune(learner=LEARNER, anchor=Anchoring(kind="kickstart"))
    knowledge = LEARNER.knowledge(narrow)
    plan = method._plan(knowledge, CountedSource(TRACK), target, jax.random.key(0))
    np.testing.assert_allclose(plan.anchor.source.actor.log_std, [-0.7], rtol=1e-5)
