"""What methods share that learn many policies in the source: on the target each is tried once, and
the best is fine-tuned."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.looks import Disguised
from headstart.experience.source import Source, Target
from headstart.experience.unroll import episodes, returns, seed_from
from headstart.knowledge import Knowledge
from headstart.learners.improve import log_round
from headstart.learners.learner import Hooks, Learner, MaxEntLearner, State
from headstart.learners.train import train
from headstart.methods.method import Requirements, remembers, trusted
from headstart.methods.recipe import FineTuning
from headstart.policies.policy import ActorPolicy, policy_from
from headstart.problem.domain import Domain
from headstart.transfer.skills import (
    Diversity,
    SkillLook,
    Skills,
    as_skills,
    discriminator,
    number_of_skills,
    skill_of,
)

TRIED = 4
"""Episodes of each skill in the source, after training, for its return there."""


@dataclass(frozen=True, kw_only=True)
class Skilled(FineTuning):
    """Learn skills in the source's mean, try each on the target, and fine-tune the best."""

    skills: int = 8
    """How many."""
    temperature: float = 0.1
    """α in the source, where it is held."""
    diversity: Diversity = field(default_factory=Diversity)
    """What skills are paid for."""
    curves: ClassVar[tuple[str, ...]] = ("skill_loss", "skill_bonus")

    def __post_init__(self):
        super().__post_init__()
        require(self, 2, float("inf"), "skills")
        require(self, 0, float("inf"), "temperature")

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: the copies cannot share the skills, or the learner has a memory.
        """
        if not self.pretrained and self.learner.num_envs % self.skills:
            raise HeadstartError(
                f"{self.learner.num_envs} copies of the source do not share {self.skills} skills "
                "evenly: set learner.num_envs to a multiple of skills"
            )
        if remembers(self.learner):
            raise HeadstartError("skills are of policies without a memory: set learner.memory none")
        if vars(self.learner).get("n_step", 1) != 1:
            raise HeadstartError("skills are paid step by step: set learner.n_step to 1")
        if self.skill is not None:
            raise HeadstartError(
                "all skills are tried on the target: leave out skill, or use finetune for one"
            )
        needed = super().requires()
        own = () if self.pretrained else ("transform", "temperature")
        episodes = self.skills + needed.episodes
        return replace(needed, episodes=episodes, alike=True, hooks=needed.hooks | set(own))

    def check(self, spec: EnvSpec) -> None:
        if self.pretrained:
            held = number_of_skills(self._given.held())
            if held != self.skills:
                raise HeadstartError(f"{self.pretrained} holds {held} skills: set skills to {held}")
            spec = Skills(self.skills).told(spec)
        else:
            self.diversity.entries(spec)
        super().check(spec)

    @property
    def recipe(self) -> str:
        return f"{self.skills} skills, each tried once on the target; {super().recipe}"

    def notes(self, log: Sequence[Mapping[str, Any]]) -> list[str]:
        """What each skill returned when it was tried."""
        tried = next((row for row in log if "skill_returns" in row), None)
        if tried is None:
            return []
        ranked = sorted(tried["skill_returns"].items(), key=lambda skill: -skill[1])
        best, *others = (f"{number} ({score:.4g})" for number, score in ranked)
        return [f"skill {best} returned most when tried, and was gone on with; {', '.join(others)}"]

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        if self.pretrained:
            return self.pretraining.pretrain(source, target, key)
        held = cast(MaxEntLearner, self.learner).held_at(self.temperature)
        return self._learned(held, source.at_mean(), key)

    @abstractmethod
    def _learned(self, learner: MaxEntLearner, source: Source, key: PRNGKeyArray) -> Knowledge:
        """All skills, after `steps` of the source."""

    def _skilled(
        self, learner: Learner, source: Source, steps: int, gate: float | None, stage: int,
        key: PRNGKeyArray, start_from: Knowledge | None = None,
    ) -> Knowledge:  # fmt: skip
        """Skills after so many steps, and what each returns in the source; all of them start from
        one policy, if one is given."""
        init_key, train_key, seed_key, try_key = jax.random.split(key, 4)
        skills = Skills(self.skills)
        reward = self.diversity.reward(source.spec, self.skills, learner.num_envs, gate)
        state: State = learner.init(
            skills.told(source.spec), init_key, Hooks(transform=reward), steps
        )
        if start_from is not None:
            alike = as_skills(start_from, learner.knowledge(state), tuple(trusted(learner)))
            state = learner.graft(alike, state)
        state = train(
            learner, source, steps, train_key, state=state, transform=reward, looks=skills,
            stage=stage,
        )  # fmt: skip
        num = TRIED * self.skills
        running = source.start(num, seed_from(seed_key))
        told = Disguised(learner.policy(state), skills(num, try_key))
        found = returns(told, running)[:, 0].reshape(TRIED, self.skills).mean(0)
        learned: Any = {"returns": np.float32(found), "discriminator": discriminator(state)}
        return learner.knowledge(state).with_part("skills", learned)

    def moves(self, knowledge: Knowledge, policy: ActorPolicy, source: Domain) -> None:
        """The carried policy is many, and none of them the one."""
        return None

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        seed_key, tune_key = jax.random.split(key)
        known, total = trusted(self.learner), target.episodes_left or 0
        policy = policy_from(knowledge, known)
        order = np.argsort(-knowledge.parts["skills"]["returns"], kind="stable")
        yield policy_from(skill_of(knowledge, int(order[0]), tuple(known)))
        running = target.start(self.skills, seed_from(seed_key))
        tried = episodes(Disguised(policy, SkillLook(jnp.asarray(order, jnp.int32))), running)
        best = int(order[np.argmax(tried.returns)])
        by_skill = dict(zip(order.tolist(), tried.returns.tolist(), strict=True))
        log_round(target, tried, {"skill": best, "skill_returns": by_skill}, total)
        yield from super().adapt(skill_of(knowledge, best, tuple(known)), source, target, tune_key)
