"""Maximum-entropy pre-training, and fine-tuning from there (Haarnoja et al., 2017, 1702.08165).

    π = argmax E[Σ r + α H(π(· | s))]

A policy that is paid for its entropy keeps every way open that is about as good as the best, and
one of them may be what the target needs; at α = 0 it settles on one. On the target the
learner has the temperature that the problem gives it.
"""

from dataclasses import dataclass, replace
from typing import cast

from headstart.configuration import require
from headstart.learners.learner import MaxEntLearner
from headstart.methods.method import Method, Requirements
from headstart.methods.recipe import FineTuning
from headstart.methods.source_only import SourceOnly


@dataclass(frozen=True, kw_only=True)
class MaxEnt(FineTuning):
    """Pre-train in the source's mean with the temperature held, then fine-tune."""

    temperature: float = 0.2
    """α in the source, in units of the learner's rewards; 0 is the deterministic counterpart."""

    def __post_init__(self):
        super().__post_init__()
        require(self, 0, float("inf"), "temperature")

    def requires(self) -> Requirements:
        needed = super().requires()
        own = () if self.pretrained else ("temperature",)
        return replace(needed, hooks=needed.hooks | set(own))

    @property
    def training(self) -> Method:
        learner = cast(MaxEntLearner, self.learner).held_at(self.temperature)
        return SourceOnly(steps=self.steps, learner=learner)
