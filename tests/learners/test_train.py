from dataclasses import replace
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.looks import Disguised, as_shown
from headstart.experience.unroll import begin, episodes, unroll
from headstart.learners import improve as improving
from headstart.learners import train as training
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.learners.improve import improve
from headstart.learners.learner import Hooks, Progress, check_accepts
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.learners.train import Collector, train
from headstart.methods.random_convolution import FeatureMatching
from headstart.policies.policy import UniformPolicy
from headstart.runs import checkpointer
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.logger import Logger
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.density_ratio import DensityRatio

SMALL = SAC(
    hidden=(16,), num_envs=4, rollout_length=10, batch_size=32, buffer_size=256,
    learning_starts=120, updates_per_step=0.5, learning_rate=3e-3, temperature=0.3,
    reward_scale=0.5,
)  # fmt: skip
CLIMBING = PPO(
    hidden=(8,), num_envs=4, rollout_length=8, minibatch_size=16, epochs=2, learning_rate=3e-3
)
SPEC = EnvSpec("here", {"state": Group((2,))}, Actions((1,)), 10)


class Stopped(Exception):
    pass


class Brighter(eqx.Module):
    """Adds to the observations of each copy a number of its own."""

    by: jax.Array

    def __call__(self, obs):
        return {"state": obs["state"] + self.by[:, None]}


def brighter(num, key):
    return Brighter(jax.random.normal(key, (num,)))


@pytest.mark.parametrize(
    ("learner", "domain", "steps", "looks"),
    [
        (SMALL, Domain("archery", wind={"uniform": [-1.0, 1.0]}), 320, None),
        (CLIMBING, Domain("probes:Climb", top={"uniform": [2.0, 20.0]}), 128, None),
        (replace(CLIMBING, memory="gru", memory_size=3), Domain("probes:Track"), 128, None),
        (CLIMBING, Domain("probes:Track"), 128, brighter),
    ],
    ids=["sac", "ppo", "ppo-gru", "looks"],
)
def test_a_resumed_training_ends_with_the_same_bits(
    tmp_path, monkeypatch, learner, domain, steps, looks
):
    monkeypatch.setattr(checkpointer, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SHARE", float("inf"))
    stop_at = steps * 3 // 4

    def trained(folder, stops):
        def progress(_, done, total):
            if stops and done == stop_at:
                raise Stopped

        meter = Meter()
        source = CountedSource(
            domain, meter, checkpointer=Checkpointer(folder, {"source": meter}), progress=progress
        )
        return train(learner, source, steps, jax.random.key(0), looks=looks), meter.counts()

    whole = trained(None, False)
    with pytest.raises(Stopped):
        trained(tmp_path, True)
    state, counts = trained(tmp_path, False)
    assert counts == whole[1]
    assert counts["steps"] == steps
    assert eqx.tree_equal(state, whole[0])


def target(domain, limit):
    return MeteredTarget(Domain(domain), Allowance(Meter(episode_limit=limit)))


def test_it_learns_on_a_target_by_episodes_and_every_policy_stays():
    single = replace(SMALL, num_envs=1)
    track, fresh = target("probes:Track", 2), single.init(SPEC, jax.random.key(0))
    policies = list(improve(single, track, fresh, 1, jax.random.key(1)))
    assert (track.steps, track.episodes, track.episodes_left) == (20, 2, 0)
    first = single.init(SPEC, jax.random.key(0)).policy
    assert eqx.tree_equal(policies[0], first)
    assert not eqx.tree_equal(policies[1], first)
    assert not eqx.tree_equal(policies[2], policies[1])


def test_on_a_target_it_learns_from_experience_alone():
    """Episodes of one step fill the first rollout of ten in the tenth round."""
    single = replace(SMALL, num_envs=1)
    fresh = single.init(SPEC, jax.random.key(0))
    policies = list(improve(single, target("archery", 10), fresh, 1, jax.random.key(1)))
    changed = [not eqx.tree_equal(policy, policies[0]) for policy in policies]
    assert changed == [False] * 10 + [True]


def test_on_a_target_parts_of_a_gradient_step_add_up(counts):
    """Rollouts of one step, a quarter of a gradient step each."""
    single = replace(SMALL, num_envs=1, rollout_length=1, updates_per_step=0.25)
    fresh = single.init(SPEC, jax.random.key(0))
    list(improve(single, target("archery", 12), fresh, 2, jax.random.key(1)))
    assert len(counts) == 12
    assert sum(counts) == 3


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_who_learns_on_policy_learns_from_every_round_of_episodes(memory):
    learner = replace(CLIMBING, memory=memory, memory_size=3)
    track = target("probes:Track", 5)
    fresh = learner.init(track.spec, jax.random.key(0))
    policies = list(improve(learner, track, fresh, 2, jax.random.key(1)))
    assert len(policies) == 1 + 3  # two, two, and the one that is left
    assert (track.steps, track.episodes_left) == (50, 0)
    for before, after in pairwise(policies):
        assert not eqx.tree_equal(before.actor, after.actor)


class Watched(PPO):
    shares = []

    def update(self, state, rollout, progress, hooks, key):
        self.shares.append(progress.share)
        return super().update(state, rollout, progress, hooks, key)


def test_on_a_target_learning_rates_stand_where_they_start():
    learner = Watched(**vars(CLIMBING))
    track = target("probes:Track", 4)
    list(improve(learner, track, learner.init(track.spec, jax.random.key(0)), 2, jax.random.key(1)))
    assert learner.shares == [0.0, 0.0]


class Seen(DQN):
    shares = []

    def behaviour(self, state, progress):
        policy = super().behaviour(state, progress)
        self.shares.append(round(float(policy.actor.epsilon), 3))
        return policy


@pytest.mark.parametrize(
    ("explores", "shares"), [(True, [1, 0.525, 0.05, 0.05]), (False, [0.05] * 4)]
)
def test_who_knows_nothing_explores_on_a_target(explores, shares):
    """At random first, less and less over the first half of the episodes."""
    learner = Seen(num_envs=1, rollout_length=10, hidden=(4,), exploration=0.5, epsilon=0.05)
    learner.shares.clear()
    grid = target("grid", 8)
    fresh = learner.init(grid.spec, jax.random.key(0))
    list(improve(learner, grid, fresh, 2, jax.random.key(1), explores))
    assert learner.shares == shares


def test_improving_without_an_end_is_refused():
    endless = MeteredTarget(Domain("probes:Track"), Allowance(Meter()))
    rounds = improve(SMALL, endless, SMALL.init(SPEC, jax.random.key(0)), 1, jax.random.key(1))
    next(rounds)
    with pytest.raises(ValueError, match="a limited number of episodes"):
        next(rounds)


def test_rollouts_are_cut_from_episodes_in_order_and_the_rest_is_kept():
    """Three episodes of ten steps in rollouts of four: two are left over, and begin the next."""
    single = replace(SMALL, num_envs=1, rollout_length=4)
    policy = single.init(SPEC, jax.random.key(0)).policy
    running = envs.start(Domain("probes:Track"), 1, 0)
    played = [episodes(policy, running, key=jax.random.key(i)).steps for i in range(3)]
    rollouts, pending = [], None
    for steps in played:
        more, pending = improving._cut(single, steps, pending)
        rollouts += more
    rewards = np.concatenate([steps.reward for steps in played])
    found = np.concatenate([rollout.steps.reward[:, 0] for rollout in rollouts])
    np.testing.assert_allclose(found, rewards[:28], rtol=1e-6)
    np.testing.assert_array_equal(pending.reward, rewards[28:])
    # Each cut is a truncation, as is each episode's end.
    truncated = np.concatenate([rollout.steps.truncated[:, 0] for rollout in rollouts])
    assert np.flatnonzero(truncated).tolist() == [3, 7, 9, 11, 15, 19, 23, 27]
    assert all(rollout.begins.tolist() == [True] for rollout in rollouts)


def test_episodes_are_weighted_one_by_one():
    """With a weight of 1 for the best episode alone, the others do not move the policy: the
    gradient is that of an update on it."""
    told = []

    def best(returns):
        told.append(returns)
        return (returns == returns.max()).astype(float)

    source = CountedSource(Domain("probes:Track"))
    state = train(CLIMBING, source, 40, jax.random.key(0), weights=best)
    assert [returns.shape for returns in told] == [(4,)]
    assert source.steps == 40
    start_key, seed_key, run_key, *_ = jax.random.split(jax.random.key(0), 5)
    act_key, update_key = jax.random.split(jax.random.fold_in(run_key, 0), 2)
    fresh = CLIMBING.init(source.spec, start_key)
    again = CountedSource(source.domain).start(4, training.seed_from(seed_key))
    tried = episodes(fresh.policy, again, key=act_key)
    np.testing.assert_array_equal(tried.returns, told[0])
    rollout = CLIMBING.arranged(tried, best(tried.returns))
    assert (rollout.weight.sum(), rollout.valid.sum()) == (10, 40)
    expected, _ = CLIMBING.update(fresh, rollout, Progress(0, 40), Hooks(), update_key)
    assert eqx.tree_equal(state, expected)


@pytest.mark.parametrize("learner", [CLIMBING, replace(CLIMBING, memory="gru", memory_size=3)])
def test_what_a_policy_is_shown_is_what_it_acts_on_and_learns_from(learner):
    """Two rollouts, each with a look of its own, by hand."""
    source = CountedSource(Domain("probes:Track"))
    trained = train(learner, source, 64, jax.random.key(0), looks=brighter)
    start_key, seed_key, run_key, *_ = jax.random.split(jax.random.key(0), 5)
    state = learner.init(source.spec, start_key)
    running = CountedSource(source.domain).start(4, training.seed_from(seed_key))
    carry, looks = begin(learner.behaviour(state, Progress(0, 64)), running), []
    for index in range(2):
        act_key, update_key = jax.random.split(jax.random.fold_in(run_key, index), 2)
        look_key, act_key = jax.random.split(act_key)
        look, progress = brighter(4, look_key), Progress(32 * index, 64)
        looks.append(look.by)
        acting = Disguised(learner.behaviour(state, progress), look)
        rollout, carry = unroll(acting, running, carry, 8, act_key)
        seen = as_shown(rollout, look)
        by = look.by[None, :, None]
        for name in ("obs", "next_obs"):
            clean, changed = (getattr(r.steps, name)["state"] for r in (rollout, seen))
            np.testing.assert_allclose(changed, clean + by, rtol=1e-5)
        state, _ = learner.update(state, seen, progress, Hooks(), update_key)
    assert eqx.tree_equal(trained, state)
    assert not np.array_equal(*looks)


def test_a_policy_acts_on_what_it_is_shown():
    running = envs.start(Domain("probes:Track"), 4, 0)
    policy = CLIMBING.policy(CLIMBING.init(running.spec, jax.random.key(0)))
    look = brighter(4, jax.random.key(1))
    rollout, _ = unroll(Disguised(policy, look), running, begin(policy, running), 8, None)
    for shown, same in ((as_shown(rollout, look), True), (rollout, False)):
        seen = jax.tree.map(jnp.asarray, shown.steps.obs)
        chosen = policy.actor.mode(policy.encoders(seen))
        assert np.allclose(chosen, rollout.steps.action, atol=1e-5) == same


def test_hooks_that_a_learner_does_not_know_are_refused():
    matching = FeatureMatching(weight=0.1, samples=16)
    archery, climb = (CountedSource(Domain(name)) for name in ("archery", "probes:Climb"))
    key = jax.random.key(0)
    with pytest.raises(HeadstartError, match="this training cannot use SAC, .* no 'auxiliary'"):
        train(SMALL, archery, 320, key, auxiliary=matching)
    with pytest.raises(HeadstartError, match="this training cannot use SAC, .* no 'weights'"):
        train(SMALL, archery, 320, key, weights=lambda returns: returns)
    with pytest.raises(HeadstartError, match="this training cannot use PPO, .* no 'transform'"):
        train(CLIMBING, climb, 320, key, transform=DensityRatio())
    with pytest.raises(ValueError, match="come together"):
        train(SMALL, climb, 320, key, transform=DensityRatio())
    for more in ({"weights": lambda returns: returns}, {"transform": DensityRatio()}):
        target = MeteredTarget(climb.domain, Allowance(Meter())) if "transform" in more else None
        learner = SMALL if "transform" in more else CLIMBING
        with pytest.raises(ValueError, match="looks are of the source's rollouts"):
            train(learner, climb, 320, key, looks=brighter, target=target, **more)
    assert archery.steps == climb.steps == 0
    with pytest.raises(HeadstartError, match="epopt cannot use Imitation, .* no 'weights'"):
        check_accepts(Imitation(), {"weights"}, "epopt")
    check_accepts(CLIMBING, {"auxiliary", "weights"}, "epopt")


def test_the_mean_return_is_of_episodes_that_ended_since_it_was_last_asked_for():
    """Endless pays 1 a step for ten steps: seven steps end nothing, and fourteen end one each."""
    collector = Collector(envs.start(Domain("probes:Endless"), 2, 0))
    policy = UniformPolicy(collector.envs.spec.actions)
    collector.collect(policy, 7, jax.random.key(0))
    assert collector.mean_return() is None
    collector.collect(policy, 7, jax.random.key(1))
    assert collector.mean_return() == 10.0
    np.testing.assert_array_equal(collector.running, [4.0, 4.0])
    assert collector.mean_return() is None


def test_how_far_a_longer_training_has_come():
    assert Progress(25, 100).share == 0.25
    assert Progress(25, 100, (0.5, 0.9)).share == pytest.approx(0.6)


class Rows(Logger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log(self, row):
        self.rows.append(row)


def test_the_log_is_written_every_thousand_steps_and_at_the_end():
    logger = Rows()
    source = CountedSource(Domain("probes:Track"), logger=logger)
    train(replace(CLIMBING, rollout_length=64), source, 2400, jax.random.key(0))
    assert [row["steps"] for row in logger.rows] == [1024, 2048, 2560]
    assert logger.rows[-1].keys() >= {
        "episodes", "train_return", "policy_loss", "value_loss", "entropy", "kl", "clipped",
    }  # fmt: skip
    # Of 64 steps of four copies in each rollout, episodes of ten end six or seven times.
    assert logger.rows[0]["episodes"] == 4 + 4 * (1024 // 4 // 10)
