"""EPOpt with its adaptation step (arXiv 1610.01283, section 3.2): a few target episodes, Bayes'
rule for the simulator's parameters (`posterior.py`), and training again under the posterior.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy
from headstart.learners.rollout import Episodes, episodes, seed_from
from headstart.methods.epopt import EPOpt
from headstart.methods.posterior import Posterior
from headstart.target import Source, Target


@dataclass(frozen=True)
class EPOptPosterior:
    """EPOpt, whose distribution over sources follows what is seen on the target."""

    episodes_per_round: int = 5
    """Target episodes between two updates of the posterior."""
    rounds: int = 2
    """Updates of the posterior, each followed by training."""
    retrain: int = 200_000
    """Steps of training under each posterior."""
    posterior: Posterior = field(default_factory=Posterior)
    """How target transitions become a distribution."""
    epopt: EPOpt = field(default_factory=EPOpt)
    """How the policy is trained."""
    unlimited: ClassVar[bool] = False

    def __post_init__(self):
        require(self, 1, math.inf, "episodes_per_round", "rounds", "retrain")

    @property
    def pretraining(self) -> EPOpt:
        return self.epopt

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.epopt.pretrain(source, target, key)

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        source, learner = knowledge.simulator, self.epopt.learner
        if source is None:
            raise HeadstartError("epopt-posterior needs the source's simulator while it adapts")
        environment = target.environment
        init_key = jax.random.fold_in(key, self.rounds)
        fresh = learner.init(environment.observation_space, environment.action_space, init_key)
        state = learner.graft(knowledge, fresh)
        yield state.policy
        seen: list[Episodes] = []
        for index in range(self.rounds):
            left = target.episodes_left
            if left is not None and left < self.episodes_per_round:
                return
            start_key, act_key, fit_key, train_key = jax.random.split(
                jax.random.fold_in(key, index), 4
            )
            batch = target.start(self.episodes_per_round, seed_from(start_key))
            seen.append(episodes(state.policy, batch, key=act_key))
            tried = Episodes.joined(seen)
            fit = self.posterior.update(source.domain, tried, source.meter, seed_from(fit_key))
            target.journal.log(
                phase="posterior", episodes=target.meter.episodes, mean=fit.mean, std=fit.std,
                effective=fit.effective,
            )  # fmt: skip
            state = self.epopt.optimise(source.at(fit.domain), self.retrain, train_key, state)
            yield state.policy
