import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from headstart.envs.spec import Actions
from headstart.errors import HeadstartError
from headstart.policies.actors import (
    CategoricalActor,
    GaussianActor,
    GreedyActor,
    SquashedGaussianActor,
)

KEY = jax.random.key(0)


def test_gaussian_density_integrates_to_one_and_has_its_entropy():
    actor = GaussianActor(2, Actions((1,)), (4,), KEY)
    obs = jnp.array([[0.3, -0.2]])

    log_prob = jax.jit(lambda a: actor.log_prob_and_entropy(obs, a)[0][0])

    def density(a):
        return float(np.exp(log_prob(jnp.array([[a]]))))

    assert integrate.quad(density, -8, 8)[0] == pytest.approx(1, abs=1e-5)
    minus = integrate.quad(lambda a: density(a) * np.log(density(a)), -6, 6)[0]
    entropy = actor.log_prob_and_entropy(obs, jnp.zeros((1, 1)))[1]
    assert float(entropy) == pytest.approx(-minus, abs=1e-4)


def test_log_probability_of_a_gaussian_by_hand():
    actor = GaussianActor(1, Actions((2,)), (), KEY)
    obs, action = jnp.zeros((1, 1)), jnp.array([[0.5, -1.0]])
    mean, std = np.asarray(actor.mean(obs))[0], np.exp(-0.5)
    expected = stats.norm(mean, std).logpdf(np.asarray(action)[0]).sum()
    assert float(actor.log_prob_and_entropy(obs, action)[0][0]) == pytest.approx(expected, rel=1e-5)


def test_the_entropy_grows_as_log_std_does():
    """H = Σ log σ + const, so dH / d log σ = 1; the parameter is log σ / 0.2."""
    actor = GaussianActor(1, Actions((3,)), (4,), KEY)
    obs, action = jnp.ones((5, 1)), jnp.zeros((5, 3))
    slope = jax.grad(lambda a: a.log_prob_and_entropy(obs, action)[1])(actor)
    np.testing.assert_allclose(slope.slow_log_std, [0.2] * 3, rtol=1e-6)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(slope.mean))
    wider = eqx.tree_at(lambda a: a.slow_log_std, actor, actor.slow_log_std + 0.5)
    np.testing.assert_allclose(wider.log_std - actor.log_std, [0.1] * 3, rtol=1e-5)
    gained = wider.log_prob_and_entropy(obs, action)[1] - actor.log_prob_and_entropy(obs, action)[1]
    assert float(gained) == pytest.approx(0.3, rel=1e-4)


def test_samples_have_the_stated_moments():
    actor = GaussianActor(1, Actions((1,)), (4,), KEY)
    obs = jnp.full((20_000, 1), 0.7)
    drawn = np.asarray(actor.sample(obs, jax.random.key(1)))
    assert drawn.mean() == pytest.approx(float(actor.mode(obs)[0, 0]), abs=0.02)
    assert drawn.std() == pytest.approx(np.exp(-0.5), rel=0.02)


def test_categorical_probabilities_by_hand():
    actor = CategoricalActor(1, Actions((), (3,)), (), jax.random.key(3))
    obs = jnp.array([[2.0]])
    logits = np.asarray(actor.logits(obs))[0]
    probs = np.exp(logits) / np.exp(logits).sum()
    log_probs = [actor.log_prob_and_entropy(obs, jnp.array([a]))[0][0] for a in range(3)]
    np.testing.assert_allclose(np.exp(log_probs), probs, rtol=1e-5)
    entropy = actor.log_prob_and_entropy(obs, jnp.array([0]))[1]
    assert float(entropy) == pytest.approx(stats.entropy(probs), rel=1e-5)
    assert int(actor.mode(obs)[0]) == probs.argmax()


def test_independent_choices_by_hand():
    """Of 2 and of 3: log-probabilities and entropies add up."""
    actor = CategoricalActor(1, Actions((2,), (2, 3)), (), KEY)
    logits = np.array([0.0, 1.0, 2.0, -1.0, 0.5])
    actor = eqx.tree_at(lambda a: a.logits.biases[0], actor, jnp.asarray(logits, jnp.float32))
    probs = [np.exp(part) / np.exp(part).sum() for part in np.split(logits, [2])]
    obs, action = jnp.zeros((2, 1)), jnp.array([[1, 2], [0, 0]])
    log_prob, entropy = actor.log_prob_and_entropy(obs, action)
    expected = [np.log(probs[0][a] * probs[1][b]) for a, b in np.asarray(action)]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    assert float(entropy) == pytest.approx(sum(map(stats.entropy, probs)), rel=1e-5)
    assert actor.mode(obs).tolist() == [[1, 0], [1, 0]]
    drawn = np.asarray(actor.sample(jnp.zeros((20_000, 1)), jax.random.key(1)))
    shares = [[(drawn[:, i] == a).mean() for a in range(n)] for i, n in enumerate((2, 3))]
    np.testing.assert_allclose(np.concatenate(shares), np.concatenate(probs), atol=0.02)
    joint = (drawn == [1, 0]).all(1).mean()
    assert joint == pytest.approx(probs[0][1] * probs[1][0], abs=0.02)


def squashed(mean, std, obs=2):
    """The same Gaussian for every observation of zeros."""
    actor = SquashedGaussianActor(obs, Actions((1,)), (), KEY)
    bias = jnp.array([mean, np.log(std)], jnp.float32)
    return eqx.tree_at(lambda a: a.mean_and_log_std.biases[0], actor, bias)


def log_density(u, mean, std):
    """log π(tanh u), with tanh′ u = 4 / (eᵘ + e⁻ᵘ)²."""
    u = np.asarray(u, np.float64)
    return stats.norm(mean, std).logpdf(u) - (np.log(4) - 2 * np.logaddexp(u, -u))


@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.5), (1.0, 2.0)])
def test_the_squashed_density_integrates_to_one(mean, std):
    action, log_prob = squashed(mean, std).sample_and_log_prob(
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
def test_the_squashed_density_holds_at_the_edges(mean):
    action, log_prob = squashed(mean, 1.0).sample_and_log_prob(
        jnp.zeros((16, 2)), jax.random.key(1)
    )
    u = mean + np.asarray(jax.random.normal(jax.random.key(1), (16, 1)))[:, 0]
    assert (np.abs(action) <= 1).all()
    np.testing.assert_allclose(log_prob, log_density(u, mean, 1.0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.4), (0.8, 0.7)])
def test_the_entropy_of_samples_is_that_of_the_integral(mean, std):
    """−∫ π log π da by quadrature in a, where π(a) = N(artanh a) / (1 − a²)."""

    def density(a):
        return stats.norm(mean, std).pdf(np.arctanh(a)) / (1 - a**2)

    edge = 1 - 1e-9
    assert integrate.quad(density, -edge, edge)[0] == pytest.approx(1, abs=1e-4)
    expected = -integrate.quad(lambda a: density(a) * np.log(density(a) + 1e-300), -edge, edge)[0]
    _, log_prob = squashed(mean, std).sample_and_log_prob(jnp.zeros((40_000, 2)), KEY)
    assert float(-log_prob.mean()) == pytest.approx(expected, abs=0.02)


def test_several_squashed_actions_have_the_sum_of_their_log_densities():
    actor = SquashedGaussianActor(1, Actions((2,)), (), KEY)
    bias = jnp.log(jnp.array([np.exp(0.3), np.exp(-0.6), 0.5, 0.2], jnp.float32))
    actor = eqx.tree_at(lambda a: a.mean_and_log_std.biases[0], actor, bias)
    action, log_prob = actor.sample_and_log_prob(jnp.zeros((9, 1)), KEY)
    u = np.array([0.3, -0.6]) + np.array([0.5, 0.2]) * np.asarray(jax.random.normal(KEY, (9, 2)))
    np.testing.assert_allclose(action, np.tanh(u), rtol=1e-4, atol=1e-6)
    expected = log_density(u[:, 0], 0.3, 0.5) + log_density(u[:, 1], -0.6, 0.2)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(actor.mode(jnp.zeros((1, 1))), [np.tanh([0.3, -0.6])], rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_a_greedy_actor_takes_any_action_with_probability_epsilon(epsilon):
    actor = GreedyActor(1, Actions((), (4,)), (), KEY)
    values = jnp.array([0.0, 5.0, 1.0, 2.0])
    actor = eqx.tree_at(
        lambda a: (a.values.biases[0], a.epsilon), actor, (values, jnp.float32(epsilon))
    )
    drawn = np.asarray(actor.sample(jnp.zeros((20_000, 1)), jax.random.key(1)))
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    expected = epsilon / 4 + (1 - epsilon) * np.array([0, 1, 0, 0])
    np.testing.assert_allclose(shares, expected, atol=0.015)
    assert (np.asarray(actor.mode(jnp.zeros((8, 1)))) == 1).all()


@pytest.mark.parametrize(("epsilon", "temperature"), [(0.0, 0.5), (0.2, 0.5), (0.0, 20.0)])
def test_with_a_temperature_what_is_nearly_as_good_is_nearly_as_likely(epsilon, temperature):
    actor = GreedyActor(1, Actions((), (4,)), (), KEY)
    values = np.array([0.0, 1.0, 0.9, -3.0], np.float32)
    actor = eqx.tree_at(
        lambda a: (a.values.biases[0], a.epsilon, a.temperature),
        actor, (jnp.asarray(values), jnp.float32(epsilon), jnp.float32(temperature)),
    )  # fmt: skip
    drawn = np.asarray(actor.sample(jnp.zeros((20_000, 1)), jax.random.key(1)))
    soft = np.exp(values / temperature) / np.exp(values / temperature).sum()
    expected = epsilon / 4 + (1 - epsilon) * soft
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), expected, atol=0.015)
    entropy = actor.entropy(jnp.zeros((3, 1)), KEY)
    np.testing.assert_allclose(entropy, -(expected * np.log(expected)).sum(), rtol=1e-5)


def test_the_entropy_of_each_state():
    """By hand: of a categorical, of a Gaussian, of a greedy choice; and by samples of a squash."""
    x = jnp.array([[0.0], [1.0]])
    categorical = eqx.tree_at(
        lambda a: a.logits.weights[0],
        CategoricalActor(1, Actions((), (2,)), (), KEY), jnp.array([[0.0, np.log(3)]]),
    )  # fmt: skip
    expected = [np.log(2), -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))]
    np.testing.assert_allclose(categorical.entropy(x, KEY), expected, rtol=1e-5)
    several = CategoricalActor(1, Actions((2,), (2, 3)), (), KEY)
    np.testing.assert_allclose(several.entropy(x, KEY), np.log(6), rtol=1e-3)
    gaussian = GaussianActor(1, Actions((2,)), (), KEY)
    expected = 2 * stats.norm(0, np.exp(-0.5)).entropy()
    np.testing.assert_allclose(gaussian.entropy(x, KEY), expected, rtol=1e-5)
    assert not np.asarray(GreedyActor(1, Actions((), (3,)), (), KEY).entropy(x, KEY)).any()
    many = squashed(0.3, 0.5).entropy(jnp.zeros((500, 2)), KEY)
    _, log_prob = squashed(0.3, 0.5).sample_and_log_prob(jnp.zeros((16_000, 2)), KEY)
    assert many.shape == (500,)
    assert float(many.mean()) == pytest.approx(float(-log_prob.mean()), abs=0.02)


@pytest.mark.parametrize(
    ("kind", "actions"),
    [
        (GaussianActor, Actions((), (2,))),
        (CategoricalActor, Actions((2,))),
        (SquashedGaussianActor, Actions((1,), (3,))),
        (GreedyActor, Actions((2,), (2, 2))),
    ],
)
def test_an_actor_refuses_actions_of_another_kind(kind, actions):
    with pytest.raises(HeadstartError, match="does not choose .*: use another learner"):
        kind(1, actions, (4,), KEY)


@pytest.mark.parametrize("kind", [GreedyActor, CategoricalActor])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_an_action_that_is_not_there_is_never_drawn(kind, temperature):
    """The features begin with the mask; the others are drawn as often as without the absent one."""
    actor = kind(5, Actions((), (3,), masked=True), (), KEY)
    x = jnp.array([1.0, 0.0, 1.0, 0.3, -0.7])
    if kind is GreedyActor:
        actor = eqx.tree_at(
            lambda a: (a.epsilon, a.temperature),
            actor,
            (jnp.float32(0.5), jnp.float32(temperature)),
        )
    drawn = np.asarray(actor.sample(jnp.tile(x, (20_000, 1)), jax.random.key(1)))
    assert set(drawn) == {0, 2}
    outputs = actor.outputs(x[None])[0]
    assert actor.mode(x[None])[0] == (0 if outputs[0] > outputs[2] else 2)
    assert outputs[1] < -1e8
    if kind is GreedyActor and not temperature:
        best = int(actor.mode(x[None])[0])
        assert (drawn == best).mean() == pytest.approx(0.75, abs=0.02)
    entropy = actor.entropy(x[None], KEY)[0]
    assert 0 < entropy <= np.log(2) + 1e-6
    if kind is CategoricalActor:  # which PPO learns from
        slope = jax.grad(lambda x: actor.entropy(x[None], KEY)[0])(x)
        assert np.isfinite(slope).all()
