"""PPO with heads: values and advantages by task."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Group
from headstart.experience.unroll import begin, episodes, returns, unroll
from headstart.learners.learner import NO_HOOKS, Progress
from headstart.learners.ppo import PPO, _prepared, standardised
from headstart.learners.train import train
from headstart.policies.encoders import Statistics
from headstart.policies.policy import policy_from
from headstart.problem import mixture
from headstart.problem.named.tasks import PAID as SCALES
from headstart.runs.metering import CountedSource

SMALL = PPO(
    hidden=(16,), num_envs=8, rollout_length=16, minibatch_size=32, epochs=2, heads=True
)  # fmt: skip
PAID = mixture([Domain("runner", pay=pay) for pay in (0.01, 100)], shows=["task"])
SPEC = envs.spec_of(PAID)
START = Progress(0, 1)
prepared = jax.jit(_prepared, static_argnums=0)


def rollout_of(state, domain=PAID, ppo=SMALL, seed=0):
    running = envs.start(domain, 8, seed)
    policy = ppo.behaviour(state, START)
    return unroll(policy, running, begin(policy, running), 16, jax.random.key(seed))[0]


def tasks_of(rollout):
    told = rollout.steps.obs["context"]
    np.testing.assert_array_equal(told, rollout.steps.next_obs["context"])
    return np.asarray(told).argmax(-1)


def units(state, mean, var):
    """The state with these statistics of returns."""
    found = jnp.array(mean, jnp.float32), jnp.array(var, jnp.float32), jnp.full(2, 100.0)
    return eqx.tree_at(lambda s: (s.returns.mean, s.returns.var, s.returns.count), state, found)


def test_heads_begin_alike_and_only_that_of_the_task_learns():
    fresh = SMALL.init(SPEC, jax.random.key(0))
    plain = replace(SMALL, heads=False).init(SPEC, jax.random.key(0))
    actor, value = fresh.policy.actor.mean, fresh.critic.value
    for network, one in ((actor, plain.policy.actor.mean), (value, plain.critic.value)):
        assert network.sizes == one.sizes
        for w in np.split(np.asarray(network.weights[-1]), 2, axis=1):
            np.testing.assert_array_equal(w, one.weights[-1])
    only = PAID.with_parameters(task=1)
    ppo = replace(SMALL, max_kl=1e9)
    after, _ = ppo.update(fresh, rollout_of(fresh, only), START, NO_HOOKS, jax.random.key(0))
    for old, new in ((actor, after.policy.actor.mean), (value, after.critic.value)):
        before, now = (np.split(np.asarray(n.weights[-1]), 2, axis=1) for n in (old, new))
        np.testing.assert_array_equal(now[0], before[0])
        assert (now[1] != before[1]).any()
    np.testing.assert_array_equal(after.returns.count, [0, 128])
    np.testing.assert_array_equal([after.returns.mean[0], after.returns.var[0]], [0, 1])


def test_whole_episodes_of_a_task_are_learned_from_though_padding_tells_none():
    only = envs.start(PAID.with_parameters(task=1), 3, 0)
    fresh = SMALL.init(SPEC, jax.random.key(0))
    tried = episodes(SMALL.behaviour(fresh, START), only, key=jax.random.key(1))
    rollout = SMALL.arranged(tried)
    assert (rollout.valid == 0).any()
    samples, *_ = prepared(SMALL, fresh, rollout)
    counted = np.asarray(samples.valid) > 0
    np.testing.assert_allclose(samples.advantage[counted].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(samples.advantage[counted].std(), 1, rtol=1e-4)
    after, log = replace(SMALL, max_kl=1e9).update(
        fresh, rollout, START, NO_HOOKS, jax.random.key(0)
    )
    assert np.isfinite(list(log.values())).all()
    before, now = (
        np.split(np.asarray(s.policy.actor.mean.weights[-1]), 2, axis=1) for s in (fresh, after)
    )
    np.testing.assert_array_equal(now[0], before[0])
    assert (now[1] != before[1]).any()


def test_values_are_in_the_units_of_their_task():
    """With λ = 0 a return is r + γ V′, V = output · σ + μ of the task, and what the critic says in
    the rewards' units stays as it is when the units change."""
    ppo = replace(SMALL, gae_lambda=0.0)
    mean, var = np.array([0.5, -300.0]), np.array([0.04, 1e6])
    state = units(ppo.init(SPEC, jax.random.key(0)), mean, var)
    rollout = rollout_of(state)
    task = tasks_of(rollout)
    assert set(task.flat) == {0, 1}
    x, led_to = (
        state.policy.encoders(jax.tree.map(jnp.asarray, obs))
        for obs in (rollout.steps.obs, rollout.steps.next_obs)
    )

    def said(critic, x, mean, var):
        return np.asarray(critic.value(x))[..., 0] * np.sqrt(var)[task] + mean[task]

    value, next_value = (said(state.critic, seen, mean, var) for seen in (x, led_to))
    goes_on = 1 - np.asarray(rollout.steps.terminated)
    expected = np.asarray(rollout.steps.reward) + ppo.discount * goes_on * next_value
    samples, scales, critic = prepared(ppo, state, rollout)
    new_mean, new_var = np.asarray(scales.mean), np.asarray(scales.var)
    target = np.asarray(samples.value).reshape(16, 8) * np.sqrt(new_var)[task] + new_mean[task]
    for k in range(2):
        own = task == k
        tolerance = {"rtol": 1e-3, "atol": 1e-3 * np.sqrt(var[k])}
        np.testing.assert_allclose(target[own], expected[own], **tolerance)
        kept = said(critic, x, new_mean, new_var)
        np.testing.assert_allclose(kept[own], value[own], **tolerance)
        total = 100 + own.sum()
        merged = (100 * mean[k] + expected[own].sum()) / total
        assert new_mean[k] == pytest.approx(merged, rel=1e-3)
        advantage = np.asarray(samples.advantage).reshape(16, 8)[own]
        apart = (expected - value)[own]
        by_hand = (apart - apart.mean()) / apart.std()
        np.testing.assert_allclose(advantage, by_hand, rtol=1e-2, atol=1e-2)


def test_standardising_by_hand():
    x, weight = jnp.array([[1.0, 3.0, 7.0]]), jnp.array([[1.0, 1.0, 0.0]])
    np.testing.assert_allclose(standardised(x, weight), [[-1, 1, 5]], rtol=1e-5)


def test_entries_are_counted_by_weights_of_their_own():
    fresh = Statistics(Group((3,)))
    weight = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    found = fresh.merge(jnp.array([[1.0], [3.0], [9.0]]), weight)
    np.testing.assert_allclose(found.mean, [2, 6, 0])
    np.testing.assert_allclose(found.var, [1, 9, 1])  # of the last, as it was
    np.testing.assert_allclose(found.count, [2, 2, 0])


GAMES = mixture([Domain("minatar-breakout"), Domain("minatar-freeway")], shows=["task"])
GRIDS = mixture([Domain("grid"), Domain("grid", wall=1)], shows=["task"])


@pytest.mark.parametrize(
    ("changes", "domain"),
    [({}, PAID), ({"memory": "gru", "memory_size": 4}, PAID), ({}, GRIDS), ({}, GAMES)],
    ids=["vectors", "memory", "choices", "images"],
)
def test_it_learns_and_what_it_learned_is_read_and_gone_on_with(changes, domain):
    ppo = replace(SMALL, **changes)
    source = CountedSource(domain)
    state = train(ppo, source, 256, jax.random.key(0))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
    knowledge = ppo.knowledge(state)
    assert eqx.tree_equal(policy_from(knowledge), state.policy)
    again = ppo.graft(knowledge, ppo.init(source.spec, jax.random.key(1)))
    for part in ("policy", "critic", "returns", "opt_state"):
        assert eqx.tree_equal(getattr(again, part), getattr(state, part))
    # Every head is told apart where it is looked for.
    rollout = rollout_of(state, domain, ppo)
    features = state.policy.encoders(jax.tree.map(jnp.asarray, rollout.steps.obs))
    first, tasks = state.critic.value.heads
    found = np.asarray(features[..., first : first + tasks])
    np.testing.assert_array_equal(found, rollout.steps.obs["context"])
    if domain is PAID:
        assert state.returns.var[1] > 1e4 * state.returns.var[0]


def test_heads_need_tasks_that_are_told_as_they_are():
    with pytest.raises(HeadstartError, match=r"shows none as one-hot.*shows = \[\"task\"\]"):
        SMALL.init(envs.spec_of(Domain("grid")), jax.random.key(0))
    for encoder in ("blank", "statistics"):
        ppo = replace(SMALL, encoders=(f"context={encoder}",))
        with pytest.raises(HeadstartError, match=f"through {encoder}: leave it out"):
            ppo.init(SPEC, jax.random.key(0))


def test_the_task_that_is_paid_least_is_learned_with_heads_alone():
    """Each runs 50 steps in a direction of its own: about 47 by its pay, once learned."""
    worst = {}
    for heads in (False, True):
        ppo = PPO(
            hidden=(64, 64), num_envs=12, rollout_length=20, minibatch_size=60, epochs=4,
            learning_rate=1e-3, discount=0.9, heads=heads,
        )  # fmt: skip
        state = train(ppo, CountedSource(SCALES), 12_000, jax.random.key(0))
        running = envs.start(SCALES.with_parameters(task=0), 16, seed=9)
        worst[heads] = returns(state.policy, running).mean() / 0.01
    assert worst[False] < 10
    assert worst[True] > 40
