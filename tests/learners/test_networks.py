import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from headstart.learners.actors import CategoricalActor, GaussianActor
from headstart.learners.encoders import Statistics


def test_gaussian_density_integrates_to_one_and_has_its_entropy():
    actor = GaussianActor(2, 1, (4,), jax.random.key(0))
    obs = jnp.array([[0.3, -0.2]])

    def density(a):
        return float(jnp.exp(actor.log_prob_and_entropy(obs, jnp.array([[a]]))[0][0]))

    assert integrate.quad(density, -8, 8)[0] == pytest.approx(1, abs=1e-5)
    minus = integrate.quad(lambda a: density(a) * np.log(density(a)), -6, 6)[0]
    entropy = actor.log_prob_and_entropy(obs, jnp.zeros((1, 1)))[1]
    assert float(entropy) == pytest.approx(-minus, abs=1e-4)


def test_log_ratio_of_two_gaussians_by_hand():
    actor = GaussianActor(1, 2, (), jax.random.key(0))
    obs, action = jnp.zeros((1, 1)), jnp.array([[0.5, -1.0]])
    mean, std = np.asarray(actor.mean(obs))[0], np.exp(-0.5)
    expected = stats.norm(mean, std).logpdf(np.asarray(action)[0]).sum()
    assert float(actor.log_prob_and_entropy(obs, action)[0][0]) == pytest.approx(expected, rel=1e-5)


def test_samples_have_the_stated_moments():
    actor = GaussianActor(1, 1, (4,), jax.random.key(0))
    obs = jnp.full((20_000, 1), 0.7)
    drawn = np.asarray(actor.sample(obs, jax.random.key(1)))
    assert drawn.mean() == pytest.approx(float(actor.mode(obs)[0, 0]), abs=0.02)
    assert drawn.std() == pytest.approx(np.exp(-0.5), rel=0.02)


def test_categorical_probabilities_by_hand():
    actor = CategoricalActor(1, 3, (), jax.random.key(3))
    obs = jnp.array([[2.0]])
    logits = np.asarray(actor.logits(obs))[0]
    probs = np.exp(logits) / np.exp(logits).sum()
    log_probs = [actor.log_prob_and_entropy(obs, jnp.array([a]))[0][0] for a in range(3)]
    np.testing.assert_allclose(np.exp(log_probs), probs, rtol=1e-5)
    entropy = actor.log_prob_and_entropy(obs, jnp.array([0]))[1]
    assert float(entropy) == pytest.approx(stats.entropy(probs), rel=1e-5)
    assert int(actor.mode(obs)[0]) == probs.argmax()


def test_statistics_merge_to_those_of_all_samples():
    rng = np.random.default_rng(0)
    data = rng.normal([1, -5], [2, 0.1], (300, 2)).astype(np.float32)
    merged = Statistics(2)
    for part in np.split(data, [10, 200]):
        merged = merged.merge(jnp.array(part), jnp.ones(len(part)))
    np.testing.assert_allclose(merged.mean, data.mean(0), rtol=1e-4)
    np.testing.assert_allclose(merged.var, data.var(0), rtol=1e-2)
    weighted = Statistics(2).merge(jnp.array(data), (jnp.arange(300) < 50).astype(jnp.float32))
    np.testing.assert_allclose(weighted.mean, data[:50].mean(0), rtol=1e-4)
