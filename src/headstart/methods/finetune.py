"""Fine-tuning: start on the target from what was learned in the source, by a recipe
(`methods/recipe.py`)."""

from dataclasses import dataclass

from headstart.methods.method import Method
from headstart.methods.recipe import FineTuning
from headstart.methods.source_only import SourceOnly


@dataclass(frozen=True, kw_only=True)
class Finetune(FineTuning):
    """Carry parts of what was learned in the source's mean, and go on learning on the target."""

    @property
    def training(self) -> Method:
        return SourceOnly(steps=self.steps, learner=self.learner)
