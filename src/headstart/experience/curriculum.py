"""Curricula: which tasks an episode is drawn from next, by how the last ones went.

    P(task) ∝ p(task) · w(task)

p is the domain's own distribution, and w is one of

    frontier:  4 s (1 − s)    success near one half (after Florensa et al., ICML 2018, 1705.06366)
    failures:  1 − s          success that is rare
    progress:  |Δs| / σ       learning under way (after Lopes and Oudeyer, 2012)

where s is how well tasks near to it went: a mean over the last episodes, weighted by how near their
parameters were. Δs is how much better the later half of them went than the earlier, and σ how much
they differ there. With no episode near it, a task counts as one that succeeds half the time.

By the rule `even` tasks have as many steps as p says, and not as many episodes: what lacks steps is
drawn. A task whose episodes are a hundred times as long as another's would have nearly all else.
"""

from typing import Literal

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import envs
from headstart.envs.context import shown, told
from headstart.envs.spec import DRAWN, EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.source import Source
from headstart.experience.unroll import seed_from
from headstart.problem.domain import Domain

Rule = Literal["none", "frontier", "failures", "progress", "even"]

REMEMBERED = 256
"""Episodes that are judged by."""
CANDIDATES = 256
"""Tasks at a time, from which the next are drawn."""
NEAR = 0.5
"""How far an episode counts, in standard deviations of what is drawn."""
LEAST = 0.01
"""Of the variance of all episodes, what those near a task are taken to have at least."""
ANYWAY = 0.2
"""Share of the tasks that are drawn as the domain says."""


class Curriculum:
    """Draws the tasks of a source; implements `Draws`.

    Args:
        domain: whose parameters are drawn.
        rule: which tasks are drawn more than others.
        seed: of the tasks to choose from.

    Raises:
        HeadstartError: steps are to be even, and tasks cannot be listed.
    """

    def __init__(self, domain: Domain, rule: Rule, seed: int):
        for name in domain.varied if rule == "even" else ():
            if domain.parameters[name].values_taken is None:
                raise HeadstartError(
                    f"curriculum = 'even' counts the steps of every task, and {name} is drawn from "
                    "a range: use a choice, or progress"
                )
        self._distribution, self._rule, self._seed = domain.distribution, rule, seed
        self._environment = envs.of(domain)
        self._columns = [list(self._environment.parameters).index(n) for n in domain.parameters]
        self._told = told(self._environment.parameters, domain.varied, self._environment.name)
        self._near = np.empty((0, sum(len(one.names) for one in self._told)))
        self._went = np.empty(0)
        self._steps = np.zeros((0, self._near.shape[1] + 1))
        self._round = 0
        self._choose()

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`[n, parameters]`, those that the domain names, in its order."""
        return self.candidates[rng.choice(CANDIDATES, n, p=self.probabilities)]

    def learn(self, tasks: np.ndarray, over: np.ndarray, went: np.ndarray) -> None:
        """Take note of how episodes went.

        Args:
            tasks: `[time, env, numbers]`, of every step, as the group `drawn` tells them.
            over: `[time, env]`, whether an episode ended with it.
            went: of each episode that ended, whether it succeeded, or its return.
        """
        if self._rule == "even":
            self._count(tasks.reshape(-1, tasks.shape[-1]))
        elif len(went):
            self._near = np.concatenate([self._near, tasks[over]])[-REMEMBERED:]
            self._went = np.concatenate([self._went, went])[-REMEMBERED:]
        else:
            return
        self._round += 1
        self._choose()

    def state(self) -> dict[str, np.ndarray]:
        """What it goes on from."""
        own = {"near": self._near, "went": self._went, "steps": self._steps}
        return own | {"round": np.array(self._round)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from `state`."""
        self._near, self._went, self._steps = state["near"], state["went"], state["steps"]
        self._round = int(state["round"])
        self._choose()

    def _choose(self) -> None:
        """New candidates, and how likely each is."""
        rng = np.random.default_rng((self._seed, self._round))
        self.candidates = self._distribution.sample(rng, CANDIDATES)
        places = self._places(self.candidates)
        if self._rule == "even":
            self.probabilities = self._lacking(places)
            return
        unit = places.std(0)
        scale = np.where(unit > 1e-6, unit, 1.0)  # rounding does not tell tasks apart
        weight = self._weights(places / scale, self._near / scale)
        total = weight.sum()
        share = weight / total if total > 0 else np.full(CANDIDATES, 1 / CANDIDATES)
        self.probabilities = ANYWAY / CANDIDATES + (1 - ANYWAY) * share

    def _weights(self, places: np.ndarray, near: np.ndarray) -> np.ndarray:
        """w of each place; `near` is where the episodes were, oldest first."""
        went = self._went
        if self._rule != "progress":
            success = _means(places, near, went, 0.5)
            return 4 * success * (1 - success) if self._rule == "frontier" else 1 - success
        if len(went) < 2:
            return np.ones(len(places))
        half, middle = len(went) // 2, float(went.mean())
        before = _means(places, near[:half], went[:half], middle)
        now = _means(places, near[half:], went[half:], middle)
        mean, square = (_means(places, near, x, float(x.mean())) for x in (went, went**2))
        spread = np.sqrt(np.maximum(square - mean**2, LEAST * went.var()))
        return np.abs(now - before) / np.maximum(spread, 1e-8)

    def _count(self, tasks: np.ndarray) -> None:
        """Add steps to those of their tasks: rows of what tells the task, and how many."""
        steps = np.concatenate([tasks.round(4), np.ones((len(tasks), 1))], axis=1)
        every = np.concatenate([self._steps, steps])
        known, which = np.unique(every[:, :-1], axis=0, return_inverse=True)
        counts = np.bincount(which.ravel(), every[:, -1])
        self._steps = np.concatenate([known, counts[:, None]], axis=1)

    def _lacking(self, places: np.ndarray) -> np.ndarray:
        """How likely each place is, by the steps that its task lacks."""
        known, which, alike = np.unique(
            places.round(4), axis=0, return_inverse=True, return_counts=True
        )
        same = (np.abs(known[:, None] - self._steps[None, :, :-1]) < 1e-3).all(-1)
        taken = same @ self._steps[:, -1]
        share = alike / alike.sum()
        lacks = np.maximum(share * taken.sum() - taken, 0.0)
        chosen = lacks / lacks.sum() if lacks.sum() > 0 else share
        return (chosen / alike)[which.ravel()]

    def _places(self, drawn: np.ndarray) -> np.ndarray:
        """Tasks as the group `drawn` tells them."""
        declared = self._environment.parameters.values()
        values = np.tile([float(p.nominal) for p in declared], (len(drawn), 1))
        values[:, self._columns] = drawn
        return shown(self._environment.parameters, {DRAWN: self._told}, values)[DRAWN]


def _means(places: np.ndarray, near: np.ndarray, went: np.ndarray, prior: float) -> np.ndarray:
    """How well episodes near to each place went, with one more that went as `prior`."""
    squares = ((places[:, None] - near[None]) ** 2).sum(-1)
    counts = np.exp(-0.5 * squares / NEAR**2)
    return (counts @ went + prior) / (counts.sum(1) + 1)


def curriculum(rule: Rule, source: Source, key: PRNGKeyArray) -> Curriculum | None:
    """One of a source; nothing where tasks are drawn as its domain says."""
    if rule == "none":
        return None
    return Curriculum(source.domain, rule, seed_from(jax.random.fold_in(key, 5)))


def check_curriculum(rule: Rule, spec: EnvSpec) -> None:
    """Raises:
    HeadstartError: nothing says which episodes succeed.
    """
    if rule in ("frontier", "failures") and spec.goals is None:
        raise HeadstartError(
            f"curriculum = {rule!r} goes by success, and {spec.name} has no goals that say what "
            "that is: use progress, which goes by returns"
        )
