"""What was learned elsewhere, as it is.

A folder of knowledge in place of pre-training: another run's, or one that `headstart graft` or
`headstart skills` saved.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
from jaxtyping import PRNGKeyArray

from headstart import records
from headstart.envs.spec import SKILL, EnvSpec, check_entries
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import MANIFEST, Knowledge, digest, shapes
from headstart.methods.method import Method, trusted
from headstart.policies.policy import described_spaces
from headstart.transfer.skills import skill_of


@dataclass(frozen=True, kw_only=True)
class Pretrained(Method):
    """Take over a folder of knowledge, and act on the target as it says."""

    from_knowledge: ClassVar[str] = "folder"
    folder: str = ""
    """The knowledge, as runs/PROBLEM/METHOD/SEED/knowledge."""
    skill: int | None = None
    """The number of one of its skills, if it holds several and one is wanted."""

    @property
    def content(self) -> str:
        return digest(records.read(Path(self.folder) / MANIFEST))

    def held(self) -> Knowledge:
        """The knowledge, or one of its skills.

        Raises:
            KnowledgeError: it cannot be read, or has no such skill.
        """
        found = Knowledge.load(Path(self.folder))
        if self.skill is None:
            return found
        return skill_of(found, self.skill, tuple(trusted(self.learner)))

    def check(self, spec: EnvSpec) -> None:
        """Raises:
        HeadstartError: there is no such folder or skill, or it was learned in other spaces, or by a
            learner of another kind or size.
        """
        if not self.folder:
            raise HeadstartError(
                "no knowledge is named: set the folder, as in --method.folder "
                "runs/PROBLEM/METHOD/SEED/knowledge"
            )
        held, who = self.held(), type(self.learner).__name__
        groups, actions = described_spaces(held)
        if SKILL in groups and SKILL not in spec.groups:
            raise HeadstartError(
                f"{self.folder} holds {groups[SKILL].choices[0]} skills: set skill to the number "
                "of one of them, or try them all by diayn or smerl"
            )
        unlike = [name for name, group in groups.items() if spec.groups.get(name) != group]
        if unlike or actions != spec.actions:
            raise HeadstartError(
                f"{self.folder} was learned with other {', '.join(unlike) or 'actions'} than "
                f"{spec.name} has: put it into these by `headstart graft KNOWLEDGE PROBLEM --save "
                "DIR` (a single one of skills, by `headstart skills`, first), and name that folder"
            )
        check_entries(self.folder, groups, actions, spec)
        policy = jax.eval_shape(lambda key: self.learner.init(spec, key).policy, jax.random.key(0))
        wanted = shapes({"actor": policy.actor, "memory": policy.memory})
        if wanted != shapes(held.parts.get("policy", {})):
            raise HeadstartError(
                f"{self.folder} holds no policy as {who} makes it here: set the learner, its "
                "hidden layers and its memory to those that it was trained with"
            )

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.held()
