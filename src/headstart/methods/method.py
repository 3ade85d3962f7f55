"""What a method is."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from jaxtyping import PRNGKeyArray

from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy
from headstart.target import Source, Target


class Method(Protocol):
    """A frozen dataclass whose fields are its hyperparameters.

    `unlimited` is true of the oracle alone: its use of the target is counted and not limited.
    `pretraining` is the method whose `pretrain` this one runs: methods that return equal ones
    share their pre-training, which is then paid for once. Usually it is the method itself.
    """

    unlimited: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def pretraining(self) -> "Method": ...

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        """What is worth carrying from the source."""
        ...

    def adapt(self, knowledge: Knowledge, target: Target, key: PRNGKeyArray) -> Iterator[Policy]:
        """Policies for the target; the first is the zero-shot policy."""
        ...
