"""EPOpt with its adaptation step (arXiv 1610.01283, section 3.2): a few target episodes, Bayes'
rule for the simulator's parameters (`transfer/posterior.py`), and training again under the
posterior.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.experience.source import Source, Target
from headstart.experience.transition import Episodes
from headstart.experience.unroll import episodes, seed_from
from headstart.knowledge import Knowledge
from headstart.methods.epopt import EPOpt
from headstart.methods.method import Method, Requirements
from headstart.policies.policy import ActorPolicy
from headstart.transfer.posterior import Posterior

UNEXPLAINED = 2.0
"""χ² above which the target is not one of the source's bodies."""
START = 0.5
"""Where the schedules of PPO stand when training goes on under a posterior: at its first step size
the policy forgets what it can."""


@dataclass(frozen=True, kw_only=True)
class EPOptPosterior(Method):
    """EPOpt, whose distribution over sources follows what is seen on the target."""

    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    epsilon: float = 0.1
    """Share of the trajectories, the worst, that the policy learns from."""
    ensemble: float = 0.5
    """Share of the steps spent on all trajectories first (ε = 1)."""
    trajectories: int = 64
    """Trajectories from which the worst are picked, at each update."""
    minibatch_size: int = 2048
    """Transitions in a gradient step on those; about `epsilon` of them move the policy."""
    episodes_per_round: int = 5
    """Target episodes between two updates of the posterior."""
    rounds: int = 2
    """Updates of the posterior, each followed by training."""
    retrain: int = 200_000
    """Steps of training under each posterior."""
    infer: bool = True
    """Whether training goes on under the posterior; if not, under the prior: a control, which has
    as many steps and episodes."""
    posterior: Posterior = field(default_factory=Posterior)
    """How target transitions become a distribution."""

    def __post_init__(self):
        require(self, 1, math.inf, "episodes_per_round", "rounds", "retrain")
        self.requires()  # makes an EPOpt, which holds the other fields to their ranges

    @property
    def pretraining(self) -> EPOpt:
        return EPOpt(
            steps=self.steps, epsilon=self.epsilon, ensemble=self.ensemble, learner=self.learner,
            trajectories=self.trajectories, minibatch_size=self.minibatch_size,
        )  # fmt: skip

    def requires(self) -> Requirements:
        return Requirements(
            varied=True,
            starts_from_observations=True,
            alike=True,
            hooks=self.pretraining.requires().hooks,
        )

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.pretraining.pretrain(source, target, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        fresh = self.learner.init(target.spec, jax.random.fold_in(key, self.rounds))
        state = self.learner.graft(knowledge.without("optimiser"), fresh)
        yield self.learner.policy(state)
        seen: list[Episodes] = []
        for index in range(self.rounds):
            left = target.episodes_left
            if left is not None and left < self.episodes_per_round:
                return
            start_key, act_key, fit_key, train_key = jax.random.split(
                jax.random.fold_in(key, index), 4
            )
            envs = target.start(self.episodes_per_round, seed_from(start_key))
            seen.append(episodes(self.learner.policy(state), envs, key=act_key))
            under = source
            if self.infer:
                fit = self.posterior.update(source, Episodes.joined(seen), seed_from(fit_key))
                target.log(
                    phase="posterior", episodes=target.episodes, mean=fit.mean, std=fit.std,
                    correlation=fit.correlation, effective=fit.effective, beta=fit.beta,
                    chi2=fit.chi2,
                )  # fmt: skip
                under = source.at(fit.domain)
            state = self.pretraining.optimise(under, self.retrain, train_key, state, START)
            yield self.learner.policy(state)

    def notes(self, log: Sequence[Mapping[str, Any]]) -> list[str]:
        """What was inferred at last, and whether it explains the target."""
        rows = [row for row in log if row["phase"] == "posterior"]
        if not rows:
            return []
        last = rows[-1]
        inferred = ", ".join(
            f"{name} {mean:.3g} ± {last['std'][name]:.1g}"
            for name, mean in last["mean"].items()
            if last["std"][name] > 0
        )
        said = f"after {last['episodes']} target episodes it inferred {inferred}"
        if last["beta"] < 1:
            said += f"; the ladder of posteriors ended at β = {last['beta']:.2g}: take more rungs"
        if last["chi2"] > UNEXPLAINED:
            said += (
                f". Beware: χ² is {last['chi2']:.2g} where at most about 1 is expected: no "
                "parameters of the source explain the target, so these are no better than others"
            )
        return [f"{said}."]
