from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from headstart import Choice, Domain, HeadstartError, Normal, Uniform, envs
from headstart.experience.unroll import episodes
from headstart.learners.ppo import PPO
from headstart.runs.metering import CountedSource
from headstart.transfer.posterior import Fit, Posterior


def conjugate(truth, sigma, n, seed):
    """y = θ x + noise, θ ~ N(μ₀, σ₀²): the log-likelihood, and the posterior in closed form."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = truth * x + sigma * rng.normal(size=n)
    loc, scale = 6.0, 1.5
    precision = scale**-2 + (x @ x) / sigma**2
    mean = (loc * scale**-2 + (x @ y) / sigma**2) / precision

    def log_likelihood(values):
        return -0.5 * (((y[None] - values * x[None]) / sigma) ** 2).sum(1)

    return log_likelihood, mean, precision**-0.5


@pytest.mark.parametrize("sigma", [3.0, 0.3, 0.01])
def test_agrees_with_the_closed_form(sigma):
    """From a likelihood as wide as the prior to one a thousand times narrower."""
    log_likelihood, mean, std = conjugate(8.5, sigma, 20, seed=1)
    prior = Domain("hopper", torso_mass=Normal(6.0, 1.5, low=-40.0, high=50.0))
    fit = Posterior(particles=4000).ladder(prior, log_likelihood, np.random.default_rng(0))
    assert abs(fit.mean["torso_mass"] - mean) < 0.1 * std
    assert fit.std["torso_mass"] == pytest.approx(std, rel=0.1)
    assert fit.effective > 0.3 * 4000
    fitted = fit.domain.parameters["torso_mass"]
    assert fitted.loc == pytest.approx(fit.mean["torso_mass"], rel=1e-3)
    floored = max(fit.std["torso_mass"], 1e-4 * 90)  # never a point
    assert fitted.scale == pytest.approx(floored, rel=1e-3)
    assert fit.beta == 1.0


def linear(size, sigma, seed):
    """y = A θ + noise in many parameters, θ ~ N(0, 1.5²): the log-likelihood and the number of its
    residuals, and the posterior's mean and covariance in closed form."""
    rng = np.random.default_rng(seed)
    a, truth = rng.normal(size=(3 * size, size)), rng.normal(size=size)
    y = a @ truth + sigma * rng.normal(size=3 * size)
    covariance = np.linalg.inv(np.eye(size) / 1.5**2 + a.T @ a / sigma**2)

    def log_likelihood(values):
        return -0.5 * (((y - values @ a.T) / sigma) ** 2).sum(1)

    return log_likelihood, 3 * size, covariance @ a.T @ y / sigma**2, covariance


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma", [3.0, 0.1, 0.001])
@pytest.mark.parametrize("size", [3, 8])
def test_agrees_with_the_closed_form_in_many_parameters(size, sigma, seed):
    """As many particles as it comes with, up to a likelihood 10³ times narrower in each of 8."""
    log_likelihood, residuals, mean, covariance = linear(size, sigma, seed)
    prior = Domain.of("hopper", {f"p{i}": Normal(0, 1.5, -12, 12) for i in range(size)})
    fit = Posterior().ladder(prior, log_likelihood, np.random.default_rng(seed))
    std = np.sqrt(np.diag(covariance))
    assert fit.beta == 1.0
    assert (np.abs(np.array(list(fit.mean.values())) - mean) < 0.4 * std).all()
    np.testing.assert_allclose(list(fit.std.values()), std, rtol=0.25)
    np.testing.assert_allclose(fit.correlation, covariance / np.outer(std, std), atol=0.3)
    # Where the data outweigh the prior, residuals − size at the best, and size for the spread.
    assert sigma > 0.1 or fit.chi2 == pytest.approx(residuals, rel=0.8)


def test_every_rung_is_sought_from_the_last(monkeypatch):
    seen, original = [], Posterior._highest

    def watched(self, ratio, likelihood, low):
        seen.append((low, original(self, ratio, likelihood, low)))
        return seen[-1][1]

    monkeypatch.setattr(Posterior, "_highest", watched)
    log_likelihood, _, _, _ = linear(3, 0.01, seed=0)
    prior = Domain.of("hopper", {f"p{i}": Normal(0, 1.5, -12, 12) for i in range(3)})
    Posterior().ladder(prior, log_likelihood, np.random.default_rng(0))
    assert len(seen) > 3
    assert [low for low, _ in seen] == [0.0, *(high for _, high in seen[:-1])]


def test_no_rung_is_below_the_last():
    """Drawn from the posterior at β = 0.5, few particles are effective at 0, and at 1."""
    likelihood = np.linspace(-100.0, 0.0, 64)
    beta = Posterior()._highest(-0.5 * likelihood, likelihood, 0.5)
    assert 0.5 < beta < 0.6
    weights = np.exp((beta - 0.5) * likelihood)
    assert weights.sum() ** 2 / np.square(weights).sum() == pytest.approx(0.3 * 64)


def test_a_ladder_that_ends_early_gives_the_tempered_posterior_that_it_reached():
    log_likelihood, _, mean, covariance = linear(8, 0.001, 0)
    prior = Domain.of("hopper", {f"p{i}": Normal(0, 1.5, -12, 12) for i in range(8)})
    fit = Posterior(rungs=6).ladder(prior, log_likelihood, np.random.default_rng(0))
    assert 0 < fit.beta < 1
    away = np.abs(np.array(list(fit.mean.values())) - mean) / np.array(list(fit.std.values()))
    assert away.max() < 4
    assert (np.array(list(fit.std.values())) > np.sqrt(np.diag(covariance))).all()


def test_without_data_the_posterior_is_the_prior():
    prior = Domain("hopper", torso_mass=Uniform(3.0, 9.0))
    fit = Posterior(particles=4000).ladder(
        prior, lambda values: np.zeros(len(values)), np.random.default_rng(0)
    )
    assert fit.mean["torso_mass"] == pytest.approx(6.0, abs=0.1)
    assert fit.std["torso_mass"] == pytest.approx(6 / 12**0.5, rel=0.05)
    drawn = fit.domain.distribution.sample(np.random.default_rng(1), 10_000)
    assert drawn.std() == pytest.approx(6 / 12**0.5, rel=0.05)


def test_two_parameters_and_a_choice():
    prior = Domain(
        "hopper", torso_mass=Uniform(0, 10), gravity=Uniform(0, 20), disabled_joint=Choice((0, 1)),
        armature=1.0,
    )  # fmt: skip

    def log_likelihood(v):
        return -0.5 * ((v[:, 0] - 7) / 0.05) ** 2 - 0.5 * ((v[:, 1] - 5) / 0.2) ** 2 - 9 * v[:, 2]

    fit = Posterior(particles=2000).ladder(prior, log_likelihood, np.random.default_rng(0))
    assert fit.mean["torso_mass"] == pytest.approx(7, abs=0.02)
    assert fit.mean["gravity"] == pytest.approx(5, abs=0.05)
    assert fit.std["gravity"] == pytest.approx(0.2, rel=0.15)
    # The likelihood leaves e⁻⁹ for the other; a hundredth of the prior is always kept.
    assert fit.domain.parameters["disabled_joint"].probs[1] == pytest.approx(0.005, rel=0.1)
    assert fit.domain.parameters["armature"] == prior.parameters["armature"]


def target_episodes(**parameters):
    domain = Domain("hopper", **parameters)
    policy = PPO(hidden=(8,)).init(envs.spec_of(domain), jax.random.key(0))
    return episodes(policy.policy, envs.start(domain, 3, seed=5), key=jax.random.key(1))


def test_finds_the_mass_of_a_hopper_far_from_the_prior():
    prior = Domain("hopper", torso_mass=Normal(6.0, 1.5, low=3.0, high=9.0))
    source = CountedSource(prior)
    fit = Posterior().update(source, target_episodes(torso_mass=8.8), seed=0)
    assert fit.mean["torso_mass"] == pytest.approx(8.8, abs=0.05)
    assert fit.std["torso_mass"] < 0.1
    assert source.meter.steps > 0
    assert source.meter.steps % 64 == 0  # every particle steps


@dataclass(frozen=True)
class Likelihood(Posterior):
    """Keeps the log-likelihood of 5 and of 8.8 kg, where the ladder would begin."""

    found: list[np.ndarray] = field(default_factory=list)

    def ladder(self, prior, log_likelihood, rng):
        self.found.append(log_likelihood(np.array([[5.0], [8.8]])))
        return Fit(prior, {}, {}, [], 1.0, 1.0, 0.0)


def test_the_likelihood_is_that_of_normal_errors_of_one_step():
    tried = target_episodes(torso_mass=8.8)
    source = CountedSource(Domain("hopper", torso_mass=Uniform(3.0, 9.0)))
    posterior = Likelihood(particles=2, noise=0.1, transitions=10**6)
    posterior.update(source, tried, seed=0)
    obs, led = tried.steps.obs["state"], tried.steps.next_obs["state"]
    sigma = 0.1 * (led - obs).std(0)
    hopper = envs.start(Domain("hopper", torso_mass=5.0), len(obs), seed=0)
    told = hopper.start_from({"state": obs})
    errors = (hopper.step(tried.steps.action).next_obs["state"] - led)[told] / sigma
    np.testing.assert_allclose(
        posterior.found[0], [-0.5 * (errors**2).sum(), 0.0], rtol=1e-6, atol=1e-6
    )


def test_observations_that_do_not_tell_the_state_are_left_out():
    tried = target_episodes(torso_mass=8.8)
    tried.steps.obs["state"][::2, -1] = 10.0  # clipped: the speed may have been any above
    source = CountedSource(Domain("hopper", torso_mass=Normal(6.0, 1.5, low=3.0, high=9.0)))
    fit = Posterior().update(source, tried, seed=0)
    assert fit.mean["torso_mass"] == pytest.approx(8.8, abs=0.1)


@pytest.mark.parametrize("refused", [{"transitions": 0}, {"rungs": 0}, {"particles": 1}])
def test_settings_that_infer_nothing_are_refused(refused):
    with pytest.raises(HeadstartError, match=next(iter(refused))):
        Posterior(**refused)
    Posterior(transitions=1, rungs=1, particles=2)


def test_finds_two_parameters_at_once():
    prior = Domain("hopper", torso_mass=Uniform(3.0, 9.0), joint_damping=Uniform(0.5, 2.0))
    tried = target_episodes(torso_mass=4.0, joint_damping=1.6)
    fit = Posterior(particles=128).update(CountedSource(prior), tried, seed=0)
    assert fit.mean["torso_mass"] == pytest.approx(4.0, abs=0.15)
    assert fit.mean["joint_damping"] == pytest.approx(1.6, abs=0.1)


def test_what_cannot_be_inferred_is_refused():
    tried = target_episodes(torso_mass=6.0)
    with pytest.raises(HeadstartError, match="nothing to infer"):
        Posterior().update(CountedSource(Domain("hopper", torso_mass=6.0)), tried, seed=0)
    noisy = Domain("hopper", torso_mass=Uniform(3, 9), observation_noise=0.1)
    with pytest.raises(HeadstartError, match="none of .* tells the simulator's state"):
        Posterior().update(CountedSource(noisy), tried, seed=0)


def test_chi2_tells_whether_any_body_of_the_source_explains_the_target():
    source = CountedSource(Domain("hopper", torso_mass=Uniform(3.0, 9.0)))
    explained = Posterior().update(source, target_episodes(torso_mass=5.0), seed=0)
    weak = target_episodes(torso_mass=5.0, actuator_strength=0.6)
    unexplained = Posterior().update(source, weak, seed=0)
    assert explained.chi2 < 0.1
    assert unexplained.chi2 > 3
    assert unexplained.beta == 1.0  # it is as sure of itself as the other
