from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, HeadstartError
from headstart.learners import rollout
from headstart.learners.policy import greedy
from headstart.learners.ppo import PPO, Transitions, _rescaled, advantages
from headstart.learners.train import train
from headstart.target import Source

SMALL = PPO(hidden=(16,), environments=8, steps=16, minibatch=32, epochs=4, learning_rate=3e-3)


def gae(reward, value, next_value, terminated, truncated, discount=0.5, trace=0.5):
    def column(x, kind=jnp.float32):
        return jnp.array(x, kind)[:, None]

    flags = column(terminated, bool), column(truncated, bool)
    found = advantages(column(reward), column(value), column(next_value), *flags, discount, trace)
    return np.asarray(found)[:, 0].tolist()


def test_advantages_by_hand():
    # δ = r + γ V′ − V: 1 + 0.5·2 − 1 = 1, 2 + 0.5·4 − 2 = 2; A₁ = 2, A₀ = 1 + 0.25·2.
    assert gae([1, 2], [1, 2], [2, 4], [0, 0], [0, 0]) == [1.5, 2.0]


def test_a_termination_has_no_value_after_it():
    # δ₀ = 1 + 0 − 1 = 0; the second step belongs to another episode.
    assert gae([1, 2], [1, 2], [8, 4], [1, 0], [0, 0]) == [0.0, 2.0]


def test_a_truncation_has_the_value_of_its_final_observation():
    # δ₀ = 1 + 0.5·8 − 1 = 4; nothing flows back from the next episode.
    assert gae([1, 2], [1, 2], [8, 4], [0, 0], [1, 0]) == [4.0, 2.0]


def test_rescaling_keeps_what_the_critic_says():
    state = SMALL.init(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 3))
    before = state.critic(x)[:, 0] * 2.0 + 7.0
    after = _rescaled(state.critic, jnp.array(2.0 / 3.0), jnp.array((7.0 - 1.0) / 3.0))(x)[:, 0]
    np.testing.assert_allclose(after * 3.0 + 1.0, before, rtol=1e-5)


def transitions(size, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=(size, 1, *shape)).astype(np.float32)

    ones, never = np.ones((size, 1), np.float32), np.zeros((size, 1), bool)
    ends = never.copy()
    ends[-1] = True
    return Transitions(draw(3), draw(2), draw(), draw(3), never, ends, ones, ones)


def test_padding_changes_nothing():
    ppo = replace(SMALL, minibatch=32, epochs=1)
    state = ppo.init(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), jax.random.key(0))
    data = transitions(32)

    def padded(x):
        return np.concatenate([x, np.full((96, *x.shape[1:]), 5, x.dtype)])

    bigger = Transitions(*(padded(x) for x in data))
    bigger = bigger._replace(valid=np.concatenate([data.valid, np.zeros((96, 1), np.float32)]))
    a, _ = ppo.update(state, data, 1.0, jax.random.key(1))
    b, _ = ppo.update(state, bigger, 1.0, jax.random.key(1))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)


def test_experience_that_no_minibatches_fill_is_refused():
    state = SMALL.init(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), jax.random.key(0))
    with pytest.raises(HeadstartError, match="1 environments × 40 steps is not a multiple"):
        SMALL.update(state, transitions(40), 1.0, jax.random.key(1))


def test_a_weight_of_zero_moves_the_critic_and_not_the_policy():
    state = SMALL.init(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), jax.random.key(0))
    data = transitions(32)
    half = (np.arange(32) < 16).astype(np.float32)[:, None]
    strange = data.action + 1e3 * (1 - half)[:, :, None]  # ratios of these would overflow
    weighted = data._replace(weight=half, action=strange.astype(np.float32))
    a, log = SMALL.update(state, weighted, 1.0, jax.random.key(1))
    b, _ = SMALL.update(state, data._replace(weight=half), 1.0, jax.random.key(1))
    assert all(np.isfinite(value) for value in log.values())
    for x, y in zip(*(jax.tree.leaves(s.policy.actor) for s in (a, b)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert not np.allclose(a.critic.weights[0], state.critic.weights[0])


def test_the_policy_stops_where_max_kl_says():
    free = replace(SMALL, max_kl=1e9, learning_rate=3e-2)
    held = replace(free, max_kl=1e-3)
    state = free.init(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), jax.random.key(0))
    data = transitions(128)
    far, _ = free.update(state, data, 1.0, jax.random.key(1))
    near, _ = held.update(state, data, 1.0, jax.random.key(1))

    def distance(after):
        changes = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), after, state.policy.actor)
        return float(sum(jax.tree.leaves(changes)))

    assert 0 < distance(near.policy.actor) < 0.1 * distance(far.policy.actor)


def test_grafting_carries_only_what_is_held():
    spaces_ = spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,))
    old = SMALL.init(*spaces_, jax.random.key(0))
    old = eqx.tree_at(lambda s: s.policy.encoder.mean, old, jnp.array([1.0, 2.0, 3.0]))
    new = SMALL.init(*spaces_, jax.random.key(1))
    knowledge = SMALL.knowledge(old)
    assert knowledge.parts.keys() == {"policy", "critic", "statistics"}
    carried = SMALL.graft(knowledge.only(["policy"]), new)
    assert eqx.tree_equal(carried.policy.actor, old.policy.actor)
    assert eqx.tree_equal(carried.critic, new.critic)
    assert eqx.tree_equal(carried.policy.encoder, new.policy.encoder)
    everything = SMALL.graft(knowledge, new)
    assert eqx.tree_equal(everything.policy, old.policy)


PROBES = {"constant": 1.0, "observed": 0.0, "delayed": 1.0, "asked": 1.0, "asked_continuous": 1.0}


@pytest.mark.parametrize("probe", PROBES)
def test_probe(probe):
    """Each fails for one reason alone: value, state, bootstrapping, policy."""
    ppo = replace(SMALL, discount=0.9)
    source = Source(Domain(f"worlds:{probe}"))
    state = train(ppo, source, 5000, jax.random.key(0))

    def value(x):
        obs = state.policy.encoder(jnp.array([[x]]))
        scale = jnp.sqrt(state.returns.var[0])
        return float(state.critic(obs)[0, 0] * scale + state.returns.mean[0])

    if probe == "constant":
        assert value(0.0) == pytest.approx(1.0, abs=0.1)
    elif probe == "observed":
        assert value(1.0) == pytest.approx(1.0, abs=0.15)
        assert value(-1.0) == pytest.approx(-1.0, abs=0.15)
    elif probe == "delayed":
        assert value(1.0) == pytest.approx(1.0, abs=0.15)
        assert value(0.0) == pytest.approx(0.9, abs=0.15)
    else:
        actions = np.asarray(greedy(state.policy, np.array([[1.0], [-1.0]], np.float32))).ravel()
        assert (actions > 0).tolist() == [True, False]


def test_a_policy_learns_a_task_that_needs_the_state():
    source = Source(Domain("worlds:Track"))
    state = train(SMALL, source, 12_000, jax.random.key(0))
    scores = rollout.returns(state.policy, source.start(16, seed=9))
    fresh = SMALL.init(spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), jax.random.key(0))
    untrained = rollout.returns(fresh.policy, source.start(16, seed=9))
    assert scores.mean() > 0.5 * untrained.mean()  # returns are negative distances
