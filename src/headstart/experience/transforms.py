"""What a method does to experience before a learner sees it."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, PRNGKeyArray

from headstart.envs.spec import EnvSpec
from headstart.experience.replay import Batch
from headstart.experience.transition import Transition
from headstart.pytree import PyTree


@runtime_checkable
class BatchTransform(Protocol):
    """Learns from batches of the source and of a reference, and changes those of the source.

    Hashable; its functions are pure, and are called from compiled code. The reference is the
    target's experience, where a method may take some.
    """

    def init(self, spec: EnvSpec, key: PRNGKeyArray) -> PyTree:
        """Its state."""
        ...

    def reference_steps(self, done: int) -> int:
        """Steps of the reference to have taken after `done` steps of the source."""
        ...

    def __call__(
        self, state: PyTree, batch: Batch, reference: Batch, done: Array, key: PRNGKeyArray
    ) -> tuple[PyTree, Batch, dict[str, Array]]:
        """Learn, then change `batch`, after `done` steps of the source; and what to log."""
        ...

    def measure(self, state: PyTree, source: Transition, reference: Transition) -> dict[str, Array]:
        """For the log: how well it judges experience that it has not learned from."""
        ...
