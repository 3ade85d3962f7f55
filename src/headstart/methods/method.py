"""What a method is, and what it may ask for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.envs.spec import EnvSpec
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.learners import LEARNERS
from headstart.learners.learner import Learner
from headstart.learners.ppo import PPO
from headstart.policies.policy import ActorPolicy, policy_from
from headstart.problem.domain import Domain


class Moves(NamedTuple):
    """Moves that are drawn from above, each coloured by a value."""

    label: str
    """What the value is; `meaning` says how to read its colours."""
    meaning: str
    obs: np.ndarray
    """Plain observations `[n, ...]` before each move; `next_obs` are those after it."""
    next_obs: np.ndarray
    value: np.ndarray
    """`[n]`."""
    limits: tuple[float, float]
    """The values at both ends of the colours."""
    colours: str
    """Matplotlib's name of them."""


@dataclass(frozen=True)
class Requirements:
    """What a method needs of its problem. The harness refuses the run before anything is spent."""

    observations: int = 0
    """Observations of the target."""
    source_steps: int | None = None
    """Steps of the learner's shortest training before adaptation, if there is one of so many."""
    steps: int = 0
    """Steps of the target during pre-training."""
    episodes: int = 0
    """Episodes of the target during adaptation."""
    varied: bool = False
    """Whether a parameter of the source must have a distribution."""
    parameters: tuple[str, ...] = ()
    """Parameters that the source's environment must declare."""
    starts_from_observations: bool = False
    """Whether the source's environment must be put into the state that an observation shows."""
    learns_on_target: bool = False
    """Whether the learner must learn from the target's rewards."""
    alike: bool = False
    """Whether source and target must have the same spaces: nothing that is learned in the one while
    it adapts to the other can be grafted."""
    hooks: frozenset[str] = frozenset()
    """What the learner must accept: `auxiliary`, `transform` or `weights`."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A frozen dataclass whose fields are its hyperparameters, each with a docstring.

    By default it yields the policy that it pre-trained as it is. The learner belongs to the
    problem: every method of a comparison has the same.
    """

    learner: Learner = field(default_factory=PPO, metadata={"registry": LEARNERS})
    """What is learned with; the problem's, unless the method's own table says otherwise."""

    unlimited: ClassVar[bool] = False
    """Whether its use of the target is counted and not limited: of the oracle alone."""
    curves: ClassVar[tuple[str, ...]] = ()
    """Names in the log of what the report draws over training."""
    from_knowledge: ClassVar[str] = ""
    """The field that names a folder of knowledge to start from, if there is one."""

    @property
    def pretraining(self) -> "Method":
        """The method whose `pretrain` this one runs: methods that return equal ones share their
        pre-training, which is then paid for once."""
        return self

    @property
    def recipe(self) -> str:
        """In words, for the report: what of it was on, where parts can be switched off."""
        return ""

    def requires(self) -> Requirements:
        """What it needs of its problem."""
        return Requirements()

    @property
    def content(self) -> str:
        """A digest of the files that it starts from, if any: part of what a run is."""
        return ""

    def check(self, spec: EnvSpec) -> None:
        """Hold what it is set to against the source's spec; called before anything is spent.

        Raises:
            HeadstartError: it does not suit.
        """
        return None

    @abstractmethod
    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        """What is worth carrying from the source."""

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        """Policies for the target; the first is the zero-shot policy. The source may still be
        consulted, and is counted."""
        yield policy_from(knowledge, trusted=trusted(self.learner))

    def in_source(self, policy: ActorPolicy) -> ActorPolicy:
        """How a policy that `adapt` yielded acts when it is back in the source."""
        return policy

    def moves(self, knowledge: Knowledge, policy: ActorPolicy, source: Domain) -> Moves | None:
        """Moves in the source for the report to draw, if they say something of the method.

        Args:
            knowledge: what pre-training gave.
            policy: the last one that `adapt` yielded.
            source: the problem's.
        """
        return None

    @property
    def afresh(self) -> tuple[str, ...]:
        """Parts of its knowledge that are not gone on with on the target."""
        return ()

    def notes(self, log: Sequence[Mapping[str, Any]]) -> list[str]:
        """Sentences for the report on how a run went, from the rows of its log."""
        return []


def remembers(learner: Learner) -> bool:
    """Whether its policies have a memory."""
    return vars(learner).get("memory", "none") != "none"


def trusted(learner: Learner) -> list[str]:
    """The user's own encoders and memory that a learner names, which its knowledge may name too."""
    fields = vars(learner)
    named = [item.partition("=")[2] for item in fields.get("encoders", ())]
    return [name for name in (*named, str(fields.get("memory", ""))) if ":" in name]
