"""What was learned elsewhere, as it is.

A folder of knowledge in place of pre-training: another run's, or one that `headstart graft` or
`headstart skills` saved.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import PRNGKeyArray

from headstart.envs.spec import SKILL
from headstart.errors import HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.methods.method import Method, Requirements, trusted
from headstart.policies.policy import ActorPolicy, check_reads, described_spaces, policy_from
from headstart.transfer.skills import skill_of


@dataclass(frozen=True, kw_only=True)
class Pretrained(Method):
    """Take over a folder of knowledge, and act on the target as it says."""

    folder: str = ""
    """The knowledge, as runs/PROBLEM/METHOD/SEED/knowledge."""
    skill: int | None = None
    """The number of one of its skills, if it holds several and one is wanted."""

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: there is no such folder or skill.
        """
        if not self.folder:
            raise HeadstartError(
                "no knowledge is named: set the folder, as in --method.folder "
                "runs/PROBLEM/METHOD/SEED/knowledge"
            )
        self.held()
        return super().requires()

    def held(self) -> Knowledge:
        """The knowledge, or one of its skills.

        Raises:
            KnowledgeError: it cannot be read, or has no such skill.
        """
        found = Knowledge.load(Path(self.folder))
        if self.skill is None:
            return found
        return skill_of(found, self.skill, tuple(trusted(self.learner)))

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        """Raises:
        HeadstartError: it is of other spaces than the source's.
        """
        found = self.held()
        groups, actions = described_spaces(found)
        here = source.spec.groups
        unlike = [n for n, g in groups.items() if n != SKILL and here.get(n) != g]
        if unlike or actions != source.spec.actions:
            raise HeadstartError(
                f"{self.folder} was learned with other observations or actions than "
                f"{source.spec.name} has ({', '.join(unlike) or 'actions'}): put it into these by "
                "`headstart graft KNOWLEDGE PROBLEM --save DIR`, and name that folder"
            )
        return found

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        policy = policy_from(knowledge, trusted(self.learner))
        check_reads(policy, target.spec)
        yield policy
