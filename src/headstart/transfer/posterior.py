"""Bayes' rule for a simulator's parameters, from transitions of the target (EPOpt, section 3.2).

    P(p | τ) ∝ P(p) ∏_t N(s_{t+1}; f_p(s_t, a_t), Σ)

f_p is one step of the source's own simulator with parameters p, started in s_t. The posterior is
approximated by importance-weighted particles. Its likelihood is far narrower than the prior, so
the particles are led there by a ladder of tempered posteriors P(p) L(p)^β, up to β = 1: at each
rung β is the largest that keeps a share of the particles effective, and the next rung draws from
what the weighted particles tell, whose density the weights divide by (adaptive importance
sampling; Cappé et al., Statistics and Computing 2008, 0710.4242).

Particles live where the prior is a standard normal: u_i = Φ⁻¹(F_i(p_i)), with F_i the prior's
distribution function. There no parameter has bounds or units, and a rung draws from a multivariate
t distribution with the mean and covariance of the last one's particles.

The result is a domain again, so that training goes on under it: a truncated normal for each
parameter, with the particles' mean and deviation. Differs from the paper in: the tempering; the
domain keeps no correlation between parameters, which the particles do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source
from headstart.experience.transition import Episodes
from headstart.problem.distributions import Choice, Distribution, Fixed, truncated
from headstart.problem.domain import Domain

FREEDOM = 20.0
"""Degrees of freedom of the t distribution that particles are drawn from."""


class Fit(NamedTuple):
    """A posterior as a domain, and what its particles say of it."""

    domain: Domain
    mean: dict[str, float]
    std: dict[str, float]
    correlation: list[list[float]]
    """Of the particles, between all parameters in their order; 0 with one that does not vary."""
    effective: float
    """Effective number of particles on the last rung."""
    beta: float
    """The power of the likelihood that was reached: 1 is the posterior, less is wider than it."""
    chi2: float
    """Squared error of the simulator's step over the assumed variance, averaged over particles and
    residuals: at most about 1 where some parameters explain the target."""


@dataclass(frozen=True)
class Posterior:
    """How target transitions become a distribution over parameters."""

    particles: int = 64
    """Parameter values tried on each rung, for each parameter that varies."""
    transitions: int = 100
    """Target transitions used, drawn evenly from those at hand."""
    noise: float = 0.05
    """Standard deviation of the model's one-step error, as a share of that of a step's change."""
    rungs: int = 50
    """Rungs of the ladder, at most; the last one's tempered posterior is then the result."""
    effective: float = 0.3
    """Share of the particles that must stay effective on each rung."""

    def __post_init__(self):
        require(self, 2, math.inf, "particles")
        require(self, 1, math.inf, "transitions", "rungs")
        require(self, 0, 1, "effective")
        require(self, 0, math.inf, "noise")

    def update(self, source: Source, tried: Episodes, seed: int) -> Fit:
        """The posterior after `tried`, which must come from the target; its prior is the source's
        distribution, and the steps of the simulator are counted there.

        Raises:
            HeadstartError: the prior is a point, or no observation tells its state.
        """
        rng = np.random.default_rng(seed)
        particles = self.particles * max(len(source.domain.varied), 1)
        simulator = source.simulator(particles, seed)
        seen, everyone = tried.steps, np.arange(particles)
        rows = np.arange(len(seen.reward))
        if len(rows) > self.transitions:
            rows = np.sort(rng.choice(rows, self.transitions, replace=False))
        group = "state"
        change = seen.next_obs[group] - seen.obs[group]
        sigma = np.maximum(self.noise * change.std(0), 1e-6)
        before, after = seen.obs[group][rows], seen.next_obs[group][rows]
        action, told = seen.action[rows], 0

        def log_likelihood(values: np.ndarray) -> np.ndarray:
            nonlocal told
            simulator.pin(values)
            total, told = np.zeros(particles), 0
            for obs, act, led in zip(before, action, after, strict=True):
                if not simulator.start_from({group: np.tile(obs, (particles, 1))}).all():
                    continue
                told += 1
                source.charge(particles)
                step = simulator.step(np.repeat(act[None], particles, axis=0), everyone)
                total -= 0.5 * (((step.next_obs[group] - led) / sigma) ** 2).sum(1)
            if not told:
                raise HeadstartError(
                    f"none of {len(rows)} target observations tells the simulator's state: "
                    "use more transitions, or a domain without noise and delay"
                )
            return total

        fit = self.ladder(source.domain, log_likelihood, rng)
        return fit._replace(chi2=fit.chi2 / (told * len(sigma)))

    def ladder(
        self,
        prior: Domain,
        log_likelihood: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> Fit:
        """The posterior under `log_likelihood` of `[particles, parameters]`, in `[particles]`.

        Its `chi2` is −2 log L, for one residual.

        Raises:
            HeadstartError: the prior is a point.
        """
        if not prior.varied:
            raise HeadstartError(f"there is nothing to infer: {prior} has no distribution")
        n = self.particles * len(prior.varied)
        proposal, beta, rung = Proposal.of(prior), 0.0, 0
        while True:
            drawn = proposal.draw(rng, n)
            likelihood = log_likelihood(drawn.values)
            last, beta = beta, self._highest(drawn.log_ratio, likelihood, beta)
            weights = _normalised(drawn.log_ratio + beta * likelihood)
            rung += 1
            # At a second β of 1 they were drawn from the posterior itself, nearly.
            if last == beta == 1.0 or rung == self.rungs:
                return _fit(prior, drawn.values, weights, beta, likelihood)
            proposal = proposal.refitted(drawn, weights)

    def _highest(self, ratio: np.ndarray, likelihood: np.ndarray, low: float) -> float:
        """The largest β in [low, 1] that leaves enough particles effective, or `low`."""

        def enough(beta: float) -> bool:
            return _effective(_normalised(ratio + beta * likelihood)) >= self.effective * len(ratio)

        if enough(1.0):
            return 1.0
        high = 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if enough(middle) else (low, middle)
        return low


class Drawn(NamedTuple):
    """Particles, and the prior's density over that which they were drawn from."""

    normal: np.ndarray
    """Parameters with a density, where the prior is a standard normal, `[particles, smooth]`."""
    values: np.ndarray
    """All parameters, `[particles, parameters]`."""
    log_ratio: np.ndarray


@dataclass(frozen=True)
class Proposal:
    """Where particles are drawn: a multivariate t, and a table for each choice."""

    prior: Domain
    mean: np.ndarray
    factor: np.ndarray
    """Of the covariance: the lower Cholesky factor."""
    freedom: float
    choices: dict[str, np.ndarray]
    """Probabilities of the values of each parameter that is a choice."""

    @staticmethod
    def of(prior: Domain) -> "Proposal":
        """The prior itself."""
        marginals = prior.parameters.items()
        smooth = sum(d.values_taken is None for _, d in marginals)
        choices = {name: np.array(d.probs) for name, d in marginals if isinstance(d, Choice)}
        return Proposal(prior, np.zeros(smooth), np.eye(smooth), math.inf, choices)

    def draw(self, rng: np.random.Generator, n: int) -> Drawn:
        """`n` particles."""
        from scipy.special import ndtr

        standard = rng.standard_normal((n, len(self.mean)))
        if self.freedom < math.inf:
            standard /= np.sqrt(rng.chisquare(self.freedom, (n, 1)) / self.freedom)
        normal = self.mean + standard @ self.factor.T
        log_ratio = -0.5 * np.square(normal).sum(1) - self._log_density(standard)
        columns, smooth = [], iter(normal.T)
        for name, marginal in self.prior.parameters.items():
            if isinstance(marginal, Choice):
                probs = self.choices[name]
                index = rng.choice(len(probs), n, p=probs)
                log_ratio += np.log(np.array(marginal.probs)[index] / probs[index])
                columns.append(np.array(marginal.values)[index])
            elif isinstance(marginal, Fixed):
                columns.append(np.full(n, marginal.value))
            else:
                columns.append(marginal.quantile(ndtr(next(smooth))))
        return Drawn(normal, np.stack(columns, axis=1), log_ratio)

    def _log_density(self, standard: np.ndarray) -> np.ndarray:
        """But for a constant."""
        square = np.square(standard).sum(1)
        if self.freedom == math.inf:
            return -0.5 * square
        return -0.5 * (self.freedom + len(self.mean)) * np.log1p(square / self.freedom)

    def refitted(self, drawn: Drawn, weights: np.ndarray) -> "Proposal":
        """With the mean and covariance of weighted particles, and heavier tails than theirs."""
        mean = weights @ drawn.normal
        away = drawn.normal - mean
        covariance = (weights[:, None] * away).T @ away + 1e-12 * np.eye(len(mean))
        choices = {}
        for i, (name, marginal) in enumerate(self.prior.parameters.items()):
            if isinstance(marginal, Choice):
                choices[name] = _shares(marginal, drawn.values[:, i], weights)
        return Proposal(self.prior, mean, np.linalg.cholesky(covariance), FREEDOM, choices)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def _effective(weights: np.ndarray) -> float:
    return float(1 / np.square(weights).sum())


def _shares(marginal: Choice, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probabilities of a choice's values; nothing that the prior allows is ever ruled out."""
    share = np.array([weights[values == value].sum() for value in marginal.values])
    share = 0.99 * share + 0.01 * np.array(marginal.probs)
    return share / share.sum()


def _fit(
    prior: Domain, values: np.ndarray, weights: np.ndarray, beta: float, likelihood: np.ndarray
) -> Fit:
    mean = weights @ values
    away = values - mean
    covariance = (weights[:, None] * away).T @ away
    std = np.sqrt(np.diag(covariance))
    scale = np.where(std > 0, std, 1.0)
    fitted: dict[str, Distribution] = {}
    for i, (name, marginal) in enumerate(prior.parameters.items()):
        if isinstance(marginal, Fixed):
            fitted[name] = marginal
        elif isinstance(marginal, Choice):
            shares = _shares(marginal, values[:, i], weights)
            fitted[name] = Choice(marginal.values, tuple(shares))
        else:
            low, high = marginal.support
            fitted[name] = truncated(mean[i], max(std[i], 1e-4 * (high - low)), low, high)
    names = list(prior.parameters)
    return Fit(
        prior.with_only(fitted),
        dict(zip(names, mean.tolist(), strict=True)),
        dict(zip(names, std.tolist(), strict=True)),
        (covariance / scale / scale[:, None]).tolist(),
        _effective(weights),
        beta,
        float(-2 * weights @ likelihood),
    )
