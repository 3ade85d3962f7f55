"""Bayes' rule for a simulator's parameters, from transitions of the target (EPOpt, section 3.2).

    P(p | τ) ∝ P(p) ∏_t N(s_{t+1}; f_p(s_t, a_t), Σ)

f_p is one step of the source's own simulator with parameters p, started in s_t. The posterior is
approximated by importance-weighted particles. Its likelihood is far narrower than the prior, so
the particles are led there by a ladder of tempered posteriors P(p) L(p)^β, up to β = 1: at each
rung β is the largest that keeps a share of the particles effective, the weighted particles are
refitted, and the next rung draws from the fit, whose density the weights divide by.

The result is a domain again, so that training goes on under it: one truncated normal for each
parameter. Differs from the paper in: the tempering; no correlation between parameters is kept.
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
from headstart.problem.distributions import Choice, Distribution, Fixed, Normal, Product
from headstart.problem.domain import Domain


class Fit(NamedTuple):
    """A posterior as a domain, and what its particles say of it."""

    domain: Domain
    mean: dict[str, float]
    std: dict[str, float]
    effective: float
    """Effective number of particles on the last rung."""


@dataclass(frozen=True)
class Posterior:
    """How target transitions become a distribution over parameters."""

    particles: int = 64
    """Parameter values tried on each rung."""
    transitions: int = 100
    """Target transitions used, drawn evenly from those at hand."""
    noise: float = 0.05
    """Standard deviation of the model's one-step error, as a share of that of a step's change."""
    rungs: int = 12
    """Rungs of the ladder, at most."""
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
            HeadstartError: the prior is a point, no observation tells its state, or the ladder
                ends before β = 1.
        """
        rng = np.random.default_rng(seed)
        simulator = source.simulator(self.particles, seed)
        seen, everyone = tried.steps, np.arange(self.particles)
        rows = np.arange(len(seen.reward))
        if len(rows) > self.transitions:
            rows = np.sort(rng.choice(rows, self.transitions, replace=False))
        group = "state"
        change = seen.next_obs[group] - seen.obs[group]
        sigma = np.maximum(self.noise * change.std(0), 1e-6)
        before, after = seen.obs[group][rows], seen.next_obs[group][rows]
        action = seen.action[rows]

        def log_likelihood(values: np.ndarray) -> np.ndarray:
            simulator.pin(values)
            total, told = np.zeros(self.particles), 0
            for obs, act, led in zip(before, action, after, strict=True):
                if not simulator.start_from({group: np.tile(obs, (self.particles, 1))}).all():
                    continue
                told += 1
                source.charge(self.particles)
                step = simulator.step(np.repeat(act[None], self.particles, axis=0), everyone)
                total -= 0.5 * (((step.next_obs[group] - led) / sigma) ** 2).sum(1)
            if not told:
                raise HeadstartError(
                    f"none of {len(rows)} target observations tells the simulator's state: "
                    "use more transitions, or a domain without noise and delay"
                )
            return total

        return self.ladder(source.domain, log_likelihood, rng)

    def ladder(
        self,
        prior: Domain,
        log_likelihood: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> Fit:
        """The posterior under `log_likelihood` of `[particles, parameters]`, in `[particles]`.

        Raises:
            HeadstartError: the prior is a point, or the ladder ends before β = 1.
        """
        if not prior.varied:
            raise HeadstartError(f"there is nothing to infer: {prior} has no distribution")
        proposal, beta = prior.distribution, 0.0
        for _ in range(self.rungs):
            values = proposal.sample(rng, self.particles)
            likelihood = log_likelihood(values)
            ratio = prior.distribution.log_prob(values) - proposal.log_prob(values)
            beta = self._highest(ratio, likelihood)
            weights = _normalised(ratio + beta * likelihood)
            fit = _refit(prior, values, weights)
            if beta == 1.0:
                return fit
            proposal = _widened(fit.domain, prior, 1.3)
        raise HeadstartError(
            f"the posterior was not reached in {self.rungs} rungs (β = {beta:.2g} of 1): raise "
            "rungs, particles or noise"
        )

    def _highest(self, ratio: np.ndarray, likelihood: np.ndarray) -> float:
        """The largest β ≤ 1 that leaves enough particles effective."""

        def enough(beta: float) -> bool:
            return _effective(_normalised(ratio + beta * likelihood)) >= self.effective * len(ratio)

        if enough(1.0):
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if enough(middle) else (low, middle)
        return low


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def _effective(weights: np.ndarray) -> float:
    return float(1 / np.square(weights).sum())


def _refit(prior: Domain, values: np.ndarray, weights: np.ndarray) -> Fit:
    mean = weights @ values
    std = np.sqrt(weights @ (values - mean) ** 2)
    fitted: dict[str, Distribution] = {}
    for i, (name, marginal) in enumerate(prior.parameters.items()):
        if isinstance(marginal, Fixed):
            fitted[name] = marginal
        elif isinstance(marginal, Choice):
            share = np.array([weights[values[:, i] == value].sum() for value in marginal.values])
            share = 0.99 * share + 0.01 * np.array(marginal.probs)  # nothing is ever ruled out
            fitted[name] = Choice(marginal.values, tuple(share / share.sum()))
        else:
            low, high = marginal.support
            scale = max(std[i], 1e-4 * (high - low))
            fitted[name] = Normal(float(np.clip(mean[i], low, high)), float(scale), low, high)
    names = list(prior.parameters)
    return Fit(
        Domain.of(prior.environment, fitted),
        dict(zip(names, mean.tolist(), strict=True)),
        dict(zip(names, std.tolist(), strict=True)),
        _effective(weights),
    )


def _widened(domain: Domain, prior: Domain, factor: float) -> Product:
    wide = {
        name: Normal(d.loc, d.scale * factor, d.low, d.high) if isinstance(d, Normal) else d
        for name, d in domain.parameters.items()
    }
    return Domain.of(prior.environment, wide).distribution
