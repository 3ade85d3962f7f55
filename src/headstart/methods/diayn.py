"""DIAYN: diversity is all you need (Eysenbach et al., ICLR 2019, 1802.06070).

    r(s, a) = β (log q(z | s′) − log p(z))

Skills are learned in the source without its reward: each is paid for being told from the others by
where it goes (`transfer/skills.py`). On the target each is tried once, and the best is fine-tuned.

Differs from the paper in: a skill belongs to a copy of the environment for ever, and is not drawn
for each episode; the best skill goes on with its own critic.
"""

from dataclasses import dataclass

from jaxtyping import PRNGKeyArray

from headstart.experience.source import Source
from headstart.knowledge import Knowledge
from headstart.learners.learner import MaxEntLearner
from headstart.methods.method import Method
from headstart.methods.skilled import Skilled


@dataclass(frozen=True, kw_only=True)
class Diayn(Skilled):
    """Learn skills without a reward, try each on the target, and fine-tune the best."""

    @property
    def training(self) -> Method:
        return Diayn(
            steps=self.steps, skills=self.skills, temperature=self.temperature,
            diversity=self.diversity, learner=self.learner,
        )  # fmt: skip

    def _learned(self, learner: MaxEntLearner, source: Source, key: PRNGKeyArray) -> Knowledge:
        return self._skilled(learner, source, self.steps, None, 0, key)
