from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from headstart import Domain, HeadstartError, journal
from headstart.envs.archery import DISTANCE, WIDEST
from headstart.learners import off_policy
from headstart.learners.actors import SquashedGaussianActor
from headstart.learners.policy import anything, greedy, policy_from
from headstart.learners.replay import Replay, Sample
from headstart.learners.rollout import episodes
from headstart.learners.sac import SAC
from headstart.learners.train import improve, train
from headstart.target import Meter, Source, Target

SMALL = SAC(
    hidden=(16,), environments=4, steps=10, batch=32, capacity=256, random_steps=120, updates=0.5,
    learning_rate=3e-3, temperature=0.3, reward_scale=0.5,
)  # fmt: skip
SPACES = spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-1, 1, (1,))
learn = jax.jit(SMALL.learn)


def actor_with(mean, std, obs=2):
    """The same Gaussian for every observation of zeros."""
    actor = SquashedGaussianActor(obs, 1, (), jax.random.key(0))
    bias = jnp.array([mean, np.log(std)], jnp.float32)
    return eqx.tree_at(lambda a: a.mean_and_log_std.biases[0], actor, bias)


def log_density(u, mean, std):
    """log π(tanh u), with tanh′ u = 4 / (eᵘ + e⁻ᵘ)²."""
    u = np.asarray(u, np.float64)
    return stats.norm(mean, std).logpdf(u) - (np.log(4) - 2 * np.logaddexp(u, -u))


@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.5), (1.0, 2.0)])
def test_the_density_integrates_to_one(mean, std):
    action, log_prob = actor_with(mean, std).sample_and_log_prob(
        jnp.zeros((40_000, 2)), jax.random.key(1)
    )
    order = np.argsort(np.asarray(action)[:, 0])
    drawn, density = np.asarray(action)[order, 0], np.exp(np.asarray(log_prob)[order])
    inside = np.abs(drawn) < 0.99
    mass = np.trapezoid(density[inside], drawn[inside])
    assert mass == pytest.approx(inside.mean(), abs=0.01)
    np.testing.assert_allclose(
        np.log(density[inside]), log_density(np.arctanh(drawn[inside]), mean, std), atol=1e-3
    )


@pytest.mark.parametrize("mean", [-60.0, -12.0, 0.0, 12.0, 60.0])
def test_the_density_holds_at_the_edges(mean):
    action, log_prob = actor_with(mean, 1.0).sample_and_log_prob(
        jnp.zeros((16, 2)), jax.random.key(1)
    )
    u = mean + np.asarray(jax.random.normal(jax.random.key(1), (16, 1)))[:, 0]
    assert (np.abs(action) <= 1).all()
    np.testing.assert_allclose(log_prob, log_density(u, mean, 1.0), rtol=1e-5, atol=1e-4)


def sample_of(size=32):
    """A half of it ends, and weights differ."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    action, factor = jnp.tanh(draw(size, 1)), 0.9 * (jnp.arange(size) % 2)
    weight = jnp.asarray(rng.uniform(0, 2, size), jnp.float32)
    return Sample(draw(size, 2), action, draw(size), draw(size, 2), factor, weight)


def values(critics, obs, action):
    """Of each critic."""
    return [np.asarray(critic(jnp.concatenate([obs, action], -1)))[:, 0] for critic in critics]


def test_the_critics_target_by_hand():
    state, other = (SMALL.init(*SPACES, jax.random.key(seed)) for seed in (0, 1))
    state = eqx.tree_at(lambda s: s.slow_critics, state, other.critics)
    sample, key = sample_of(), jax.random.key(2)
    after, log = learn(state, sample, key)

    out = np.asarray(state.policy.actor.mean_and_log_std(sample.next_obs), np.float64)
    mean, std = out[:, :1], np.exp(out[:, 1:])
    u = mean + std * np.asarray(jax.random.normal(jax.random.split(key)[0], mean.shape))
    log_prob = log_density(u, mean, std)[:, 0]
    led_to = np.minimum(*values(other.critics, sample.next_obs, jnp.tanh(np.float32(u))))
    backup = 0.5 * sample.reward + np.asarray(sample.discount) * (led_to - 0.3 * log_prob)
    taken = values(state.critics, sample.obs, sample.action)
    expected = sum((sample.weight * (value - backup) ** 2).mean() for value in taken)
    assert float(log["critic_loss"]) == pytest.approx(float(expected), rel=1e-4)

    for slow, new, moved in zip(
        *map(jax.tree.leaves, (other.critics, after.critics, after.slow_critics)), strict=True
    ):
        np.testing.assert_allclose(moved, slow + 0.005 * (new - slow), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("std", "rises"), [(0.02, True), (1.0, False)])
def test_the_temperature_rises_where_the_entropy_is_too_low(std, rises):
    """The entropy is to be −1: that of σ = 0.02 is about −2.5, that of σ = 1 about 0.6."""
    state = SMALL.init(*SPACES, jax.random.key(0))
    last = state.policy.actor.mean_and_log_std
    still = jnp.zeros_like(last.weights[-1]), jnp.array([0.0, np.log(std)], jnp.float32)
    state = eqx.tree_at(
        lambda s: (
            s.policy.actor.mean_and_log_std.weights[-1], s.policy.actor.mean_and_log_std.biases[-1],
        ),
        state, still,
    )  # fmt: skip
    after, log = learn(state, sample_of(), jax.random.key(0))
    assert (float(log["entropy"]) < -1) == rises
    assert (after.log_temperature > state.log_temperature) == rises


def test_it_does_what_it_is_asked():
    source = Source(Domain("worlds:asked_continuous"))
    state = train(SMALL, source, 1200, jax.random.key(0))
    actions = np.asarray(greedy(state.policy, np.array([[1.0], [-1.0]], np.float32))).ravel()
    assert (actions > 0.05).tolist() == [True, False]
    assert (actions < -0.05).tolist() == [False, True]


def test_it_finds_the_angle_that_the_wind_asks_for():
    state = train(SMALL, Source(Domain("archery", wind=1.0)), 4000, jax.random.key(0))
    angle = WIDEST * float(greedy(state.policy, np.zeros((1, 2), np.float32))[0, 0])
    assert angle == pytest.approx(-np.degrees(np.arcsin(1 / DISTANCE)), abs=0.25)


def test_what_it_knows_is_put_back_whole():
    old, new = (SMALL.init(*SPACES, jax.random.key(seed)) for seed in (0, 1))
    old, _ = learn(old, sample_of(), jax.random.key(2))
    knowledge = SMALL.knowledge(old)
    assert knowledge.parts.keys() == {"policy", "critic"}
    everything = SMALL.graft(knowledge, new)
    assert eqx.tree_equal(everything.policy, old.policy)
    assert eqx.tree_equal(everything.critics, old.critics)
    assert eqx.tree_equal(everything.slow_critics, old.critics)
    assert int(everything.opt_state[0].count) == 0
    assert eqx.tree_equal(policy_from(knowledge), old.policy)
    carried = SMALL.graft(knowledge.only(["critic"]), new)
    assert eqx.tree_equal(carried.policy, new.policy)
    assert eqx.tree_equal(carried.critics, old.critics)


def test_updates_in_one_call_are_those_of_separate_calls():
    stream = off_policy.Stream(SMALL, Source(Domain("archery")).start(4, seed=0), 256)
    stream.collect(anything(SPACES[1]), 10, jax.random.key(0))
    replay, key = stream.replay, jax.random.key(3)
    one, fresh = (SMALL.init(*SPACES, jax.random.key(0)) for _ in range(2))
    drawn = jax.jit(Replay.sample, static_argnums=(1, 4))
    for each in jax.random.split(key, 20):
        sample_key, learn_key, *_ = jax.random.split(each, 4)
        sample = drawn(replay, SMALL.batch, sample_key, SMALL.discount, 1)
        one, _ = learn(one, sample, learn_key)
    (many, _), _ = off_policy._updates(
        SMALL, None, 20, (fresh, None), (replay,), (0, 0.0), None, key
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_gradient_steps_are_as_many_as_stated(monkeypatch):
    """2.5 for each of the 8 chunks after the random ones."""
    counts = []

    def counted(learner, correction, count, carry, *_):
        counts.append(count)
        return carry, {}

    monkeypatch.setattr(off_policy, "_updates", counted)
    few = replace(SMALL, steps=2, random_steps=16, updates=0.3125)
    train(few, Source(Domain("archery")), 80, jax.random.key(0))
    assert counts == [2, 3] * 4


class Stopped(Exception):
    pass


def test_a_resumed_training_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    domain = Domain("archery", wind={"uniform": [-1.0, 1.0]})

    def trained(folder, stop_at):
        def progress(_, done, total):
            if done == stop_at:
                raise Stopped

        meter = Meter()
        own = journal.Journal(folder, progress, meters={"source": meter})
        return train(SMALL, Source(domain, own, meter), 320, jax.random.key(0)), meter.counts()

    whole = trained(None, None)
    with pytest.raises(Stopped):
        trained(tmp_path, 240)
    state, counts = trained(tmp_path, None)
    assert counts == whole[1]
    assert eqx.tree_equal(state, whole[0])


def test_it_learns_on_a_target_by_episodes_and_every_policy_stays():
    target = Target(Domain("worlds:Track"), Meter(episode_limit=2))
    fresh = SMALL.init(*SPACES, jax.random.key(0))
    policies = list(improve(SMALL, target, fresh, 1, jax.random.key(1)))
    assert target.meter.counts() == {"observations": 0, "steps": 20, "episodes": 2}
    first = SMALL.init(*SPACES, jax.random.key(0)).policy
    assert eqx.tree_equal(policies[0], first)
    assert not eqx.tree_equal(policies[1], first)
    assert not eqx.tree_equal(policies[2], policies[1])


def test_on_a_target_it_learns_from_experience_alone():
    """Episodes of one step fill the first chunk of ten in the tenth round."""
    target = Target(Domain("archery"), Meter(episode_limit=10))
    fresh = SMALL.init(*SPACES, jax.random.key(0))
    policies = list(improve(SMALL, target, fresh, 1, jax.random.key(1)))
    changed = [not eqx.tree_equal(policy, policies[0]) for policy in policies]
    assert changed == [False] * 10 + [True]


def test_chunks_of_a_ring_are_cut_from_episodes_in_order():
    policy = SMALL.init(*SPACES, jax.random.key(0)).policy
    batch = Source(Domain("worlds:Track")).start(1, seed=0)
    replay, pending = Replay.empty(*SPACES, 64, 1, 4), []
    played = [episodes(policy, batch, key=jax.random.key(i)) for i in range(3)]
    for tried in played:
        replay, pending = off_policy._remembered(replay, tried, pending, 4)
    assert int(replay.filled) == 28
    assert len(pending[2]) == 2
    rewards = np.concatenate([tried.reward for tried in played])
    np.testing.assert_allclose(replay.seen.reward[:28, 0], rewards[:28], rtol=1e-6)
    np.testing.assert_array_equal(pending[2], rewards[28:])


@pytest.mark.parametrize(
    "space",
    [
        (SPACES[0], spaces.Discrete(2)),
        (spaces.Box(0, 255, (24, 24, 3), np.uint8), SPACES[1]),
    ],
)
def test_what_it_cannot_act_in_is_refused(space):
    with pytest.raises(HeadstartError, match="SAC takes vectors and continuous actions"):
        SMALL.init(*space, jax.random.key(0))
