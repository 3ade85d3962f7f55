"""SMERL: many ways to solve the task (Kumar et al., NeurIPS 2020, 2010.14484).

    r(s, a) + β 1[R(z) ≥ R* − ε |R*|] (log q(z | s′) − log p(z))

Skills learn the task, and one that does it nearly as well as can be is paid for doing it in its own
way. R* is what a policy of the same learner reaches with the first half of the steps; the skills
have the second half. On the target each is tried once, and the best is fine-tuned.

Differs from the paper in: the gate of a skill is decided by its mean return over its last episodes,
which is what the paper's constraint is on, and not by that of the trajectory that a step is of; ε
is relative to the size of R*, so that it means the same where returns are negative; where no return
is known yet, the gate is closed.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.errors import HeadstartError
from headstart.experience.source import Source
from headstart.experience.unroll import returns, seed_from
from headstart.knowledge import Knowledge
from headstart.learners.learner import MaxEntLearner
from headstart.learners.train import train
from headstart.methods.method import Method, Requirements
from headstart.methods.skilled import Skilled

MEASURED = 32
"""Episodes that R* is the mean of, with actions that are drawn, as those of skills in training."""


@dataclass(frozen=True, kw_only=True)
class Smerl(Skilled):
    """Learn many solutions in the source's mean, try each on the target, fine-tune the best."""

    tolerance: float = 0.1
    """ε: how far below R*, relative to its size, a skill may be that is paid for diversity."""
    optimum: float | None = None
    """R*; if it is given, skills have all the steps."""
    from_optimum: bool = False
    """Whether skills start from the policy that R* was measured with, and not from nothing. They
    solve the task sooner, and differ less."""
    curves: ClassVar[tuple[str, ...]] = ("skill_loss", "skill_bonus", "gates_open")

    def __post_init__(self):
        super().__post_init__()
        require(self, 0, float("inf"), "tolerance")
        if self.from_optimum and self.optimum is not None:
            raise HeadstartError(
                "from_optimum needs the policy that optimum was measured with, and a given optimum "
                "has none: leave out one of them"
            )

    def requires(self) -> Requirements:
        needed = super().requires()
        if self.pretrained or self.optimum is not None:
            return needed
        return replace(needed, source_steps=self.steps // 2)

    @property
    def training(self) -> Method:
        return Smerl(
            steps=self.steps, skills=self.skills, temperature=self.temperature,
            diversity=self.diversity, tolerance=self.tolerance, optimum=self.optimum,
            from_optimum=self.from_optimum, learner=self.learner,
        )  # fmt: skip

    def _learned(self, learner: MaxEntLearner, source: Source, key: PRNGKeyArray) -> Knowledge:
        first_key, seed_key, draw_key, then_key = jax.random.split(key, 4)
        steps, best, start_from = self.steps, self.optimum, None
        if best is None:
            steps = self.steps // 2
        saved = source.checkpointer.load()
        if saved is not None and int(saved["loop/stage"]) == 1:
            best = 0.0  # the gate comes with the checkpoint
        if best is None:
            alone: Any = train(learner, source, steps, first_key)
            running = source.start(MEASURED, seed_from(seed_key))
            best = float(returns(learner.policy(alone), running, key=draw_key).mean())
            start_from = learner.knowledge(alone) if self.from_optimum else None
        gate = best - self.tolerance * abs(best)
        return self._skilled(learner, source, steps, gate, 1, then_key, start_from)
