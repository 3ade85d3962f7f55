from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, HeadstartError, envs
from headstart.learners.dqn import DQN
from headstart.learners.policy import greedy, policy_from
from headstart.learners.replay import Sample
from headstart.learners.train import train
from headstart.target import Source

SMALL = DQN(
    hidden=(16,), environments=8, steps=4, batch=32, capacity=512, random_steps=64, updates=0.5,
    learning_rate=3e-3, discount=0.9, slow_rate=0.05,
)  # fmt: skip
LINE, TWO = spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2)


def linear(policy, slope, offset):
    """Q(s, ·) = slope · s + offset."""
    return eqx.tree_at(
        lambda p: (p.actor.values.weights[0], p.actor.values.biases[0]),
        policy,
        (jnp.array([slope]), jnp.array(offset)),
    )


def test_the_target_is_the_slow_value_of_the_action_that_looks_best():
    dqn = replace(SMALL, hidden=(), learning_rate=0.01, slow_rate=0.25, reward_scale=2.0)
    state = dqn.init(LINE, TWO, jax.random.key(0))
    policy = linear(state.policy, [1.0, -1.0], [0.0, 1.0])
    slow = linear(state.policy, [0.0, 0.0], [5.0, 7.0])
    state = eqx.tree_at(lambda s: (s.policy, s.slow_policy), state, (policy, slow))
    sample = Sample(
        obs=jnp.array([[3.0], [3.0], [0.0]]),
        action=jnp.array([0, 1, 1]),
        reward=jnp.array([0.25, 1.0, 0.25]),
        next_obs=jnp.array([[2.0], [-1.0], [2.0]]),  # where Q is (2, −1), (−1, 2) and (2, −1)
        discount=jnp.array([0.5, 0.25, 0.0]),
        weight=jnp.array([1.0, 2.0, 1.0]),
    )
    # Q(s, a) = 3, −2, 1; y = 2 r + γ Q̄ = 0.5 + 0.5 · 5, 2 + 0.25 · 7, 0.5.
    errors = np.array([0.0, -5.75, 0.5])
    huber = np.array([0.0, 5.25, 0.125])
    after, log = jax.jit(dqn.learn)(state, sample, jax.random.key(0))
    assert float(log["value"]) == pytest.approx(np.mean([3, -2, 1]))
    assert float(log["value_loss"]) == pytest.approx((huber * [1, 2, 1]).mean())
    # Adam's first step is the sign of the gradient: Q(3, 1) is too low, Q(0, 1) too high.
    gradient = np.clip(errors, -1, 1) * [1, 2, 1]
    assert gradient[1:].sum() < 0
    moved = after.policy.actor.values.biases[0]
    np.testing.assert_allclose(moved, [0.0, 1.01], atol=1e-5)
    slow = after.slow_policy.actor.values.biases[0]
    np.testing.assert_allclose(slow, [5 - 0.25 * 5, 7 - 0.25 * (7 - 1.01)], rtol=1e-5)


@pytest.mark.parametrize(
    ("progress", "epsilon"), [(0.0, 1.0), (0.15, 0.525), (0.3, 0.05), (1.0, 0.05)]
)
def test_the_share_of_random_actions_falls_linearly(progress, epsilon):
    state = SMALL.init(LINE, TWO, jax.random.key(0))
    state = eqx.tree_at(lambda s: s.policy.actor.values.biases[-1], state, jnp.array([0.0, 100.0]))
    explorer = SMALL.explorer(state, progress)
    assert float(explorer.actor.epsilon) == pytest.approx(epsilon)
    actions = explorer.sample(jnp.zeros((4000, 1)), jax.random.key(0))
    assert float((actions == 0).mean()) == pytest.approx(epsilon / 2, abs=0.03)
    assert (greedy(explorer, np.zeros((8, 1), np.float32)) == 1).all()


def test_without_exploration_it_is_low_from_the_start():
    state = SMALL.init(LINE, TWO, jax.random.key(0))
    explorer = replace(SMALL, exploration=0.0).explorer(state, 0.0)
    assert float(explorer.actor.epsilon) == pytest.approx(0.05)


@pytest.mark.parametrize("probe", ["asked", "delayed"])
def test_probe(probe):
    state = train(SMALL, Source(Domain(f"worlds:{probe}")), 2500, jax.random.key(0))
    obs = jnp.array([[-1.0], [0.0], [1.0]])
    low, middle, high = np.asarray(state.policy.actor.values(state.policy.encoder(obs)))
    if probe == "asked":
        np.testing.assert_allclose([low, high], [[1, 0], [0, 1]], atol=0.2)
    else:
        np.testing.assert_allclose([middle, high], [[0.9, 0.9], [1, 1]], atol=0.1)


def test_what_it_knows_is_put_back_whole():
    old, new = (SMALL.init(LINE, TWO, jax.random.key(seed)) for seed in (0, 1))
    knowledge = SMALL.knowledge(old)
    assert knowledge.parts.keys() == {"policy"}
    carried = SMALL.graft(knowledge, new)
    assert eqx.tree_equal(carried.policy, old.policy)
    assert eqx.tree_equal(carried.slow_policy, old.policy)
    assert eqx.tree_equal(policy_from(knowledge), old.policy)


def test_images_are_seen_through_convolutions_that_learn():
    dot = envs.find("worlds:Dot")
    state = SMALL.init(dot.observation_space, dot.action_space, jax.random.key(0))
    frames = jax.random.bits(jax.random.key(1), (8, 24, 24, 3), jnp.uint8)
    assert jax.eval_shape(state.policy.sample, frames, jax.random.key(0)).shape == (8,)
    assert SMALL.knowledge(state).parts.keys() == {"policy", "encoder"}
    ones = jnp.ones(8)
    sample = Sample(frames, jnp.arange(8) % 3, ones, frames, 0.9 * ones, ones)
    after, _ = jax.jit(SMALL.learn)(state, sample, jax.random.key(0))
    for part in (lambda s: s.encoder.convolutions[0].weight, lambda s: s.actor.values.weights[0]):
        assert not np.allclose(part(after.policy), part(state.policy), atol=1e-5)


def test_continuous_actions_are_refused():
    with pytest.raises(HeadstartError, match="DQN takes discrete actions, got Box"):
        SMALL.init(LINE, spaces.Box(-1, 1, (1,)), jax.random.key(0))
