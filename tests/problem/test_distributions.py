import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from headstart.errors import HeadstartError
from headstart.problem.distributions import (
    Choice,
    Fixed,
    LogUniform,
    Normal,
    Product,
    Uniform,
    as_table,
    parse,
)

CONTINUOUS = [
    Uniform(-1.0, 3.0),
    LogUniform(0.1, 10.0),
    Normal(6.0, 1.5, 3.0, 9.0),
    Normal(0.0, 1.0, 5.0, 8.0),  # far in the right tail
    Normal(0.0, 1.0, -9.0, -6.0),  # far in the left tail
]


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=str)
def test_density_integrates_to_one_and_to_the_mean(distribution):
    low, high = distribution.support

    def density(x):
        return float(np.exp(distribution.log_prob(np.array(x))))

    assert integrate.quad(density, low, high)[0] == pytest.approx(1, abs=1e-8)
    mean = integrate.quad(lambda x: x * density(x), low, high)[0]
    assert distribution.mean == pytest.approx(mean, rel=1e-8)


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=str)
def test_samples_follow_the_density(distribution):
    samples = distribution.sample(np.random.default_rng(0), 4000)
    low, high = distribution.support
    assert (samples >= low).all()
    assert (samples <= high).all()

    def cumulative(x):
        def density(y):
            return float(np.exp(distribution.log_prob(np.array(y))))

        return np.array([integrate.quad(density, low, value)[0] for value in np.atleast_1d(x)])

    assert stats.kstest(samples[:400], cumulative).pvalue > 0.01


def test_truncated_normal_against_scipy():
    ours, theirs = Normal(6.0, 1.5, 3.0, 9.0), stats.truncnorm(-2, 2, loc=6, scale=1.5)
    x = np.linspace(3, 9, 7)
    np.testing.assert_allclose(ours.log_prob(x), theirs.logpdf(x), rtol=1e-12)
    assert ours.log_prob(np.array([2.9, 9.1])).tolist() == [-np.inf, -np.inf]


def test_choice_and_fixed():
    choice = Choice((1.0, 2.0, 4.0), (0.2, 0.3, 0.5))
    np.testing.assert_allclose(
        choice.log_prob(np.array([1.0, 4.0, 3.0])), [np.log(0.2), np.log(0.5), -np.inf]
    )
    drawn = choice.sample(np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(
        [(drawn == v).mean() for v in choice.values], choice.probs, atol=0.02
    )
    assert Fixed(3.0).log_prob(np.array([3.0, 3.1])).tolist() == [0.0, -np.inf]


def test_product_adds_log_densities():
    product = Product({"a": Uniform(0, 2), "b": Normal(0, 1, -1, 1), "c": Fixed(5)})
    values = product.sample(np.random.default_rng(0), 10)
    by_hand = -np.log(2) + Normal(0, 1, -1, 1).log_prob(values[:, 1])
    np.testing.assert_allclose(product.log_prob(values), by_hand)
    with pytest.raises(HeadstartError, match=r"shape \[n, 3\], got \[10, 2\]"):
        product.log_prob(values[:, :2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Uniform(3, 3), "no mass"),
        (lambda: LogUniform(0, 1), "low > 0"),
        (lambda: Normal(0, 0, -1, 1), "scale > 0"),
        (lambda: Normal(0, 1, 50, 60), "no mass"),
        (lambda: Choice(()), "at least one"),
        (lambda: Choice((1, 2), (0.5, 0.6)), "sum of 1.1"),
        (lambda: Choice((1, 1)), "twice"),
        (lambda: Fixed(float("nan")), "finite"),
        (lambda: parse({"unifrom": [1, 2]}), "did you mean 'uniform'"),
        (lambda: parse({"uniform": [1, 2, 3]}), "takes 2 numbers"),
        (lambda: parse({"normal": {"loc": 1, "scael": 2}}), "did you mean 'scale'"),
        (lambda: parse({"uniform": ["a", 2]}), "must be a number"),
        (lambda: parse("heavy"), "not 'heavy'"),
        (lambda: parse(True), "not True"),
    ],
)
def test_mistakes_are_named(make, says):
    with pytest.raises(HeadstartError, match=says):
        make()


numbers = st.floats(-1e6, 1e6)


@given(low=numbers, width=st.floats(1e-3, 1e6))
def test_tables_round_trip(low, width):
    assert parse(as_table(Uniform(low, low + width))) == Uniform(low, low + width)
    normal = Normal(low, width, low - width, low + width)
    assert parse(as_table(normal)) == normal
    assert parse(as_table(Choice((low, low + width)))) == Choice((low, low + width))
    assert parse(as_table(Fixed(low))) == Fixed(low)
