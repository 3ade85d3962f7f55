"""What a method does to experience before a learner sees it."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, PRNGKeyArray

from headstart.envs.spec import EnvSpec
from headstart.experience.replay import Batch
from headstart.experience.transition import Rollout, Transition
from headstart.pytree import PyTree


@runtime_checkable
class BatchTransform(Protocol):
    """Learns from batches of the source, and of a reference if it compares, and changes the former.

    Hashable; its functions are pure, and all but `measure` and `witness` are called from compiled
    code. The reference is the target's experience, where a method may take some.
    """

    @property
    def compares(self) -> bool:
        """Whether it wants a reference."""
        ...

    def init(self, spec: EnvSpec, key: PRNGKeyArray) -> PyTree:
        """Its state."""
        ...

    def reference_steps(self, done: int) -> int:
        """Steps of the reference to have taken after `done` steps of the source."""
        ...

    def __call__(
        self, state: PyTree, batch: Batch, reference: Any, done: Array, key: PRNGKeyArray
    ) -> tuple[PyTree, Batch, dict[str, Array]]:
        """Learn, then change `batch`, after `done` steps of the source; and what to log."""
        ...

    def witness(self, state: PyTree, rollout: Rollout) -> PyTree:
        """Its state after a rollout of the source, before batches are drawn. The rollout is not
        kept: the next is written over its observations."""
        ...

    def measure(self, state: PyTree, source: Transition, reference: Transition) -> dict[str, Array]:
        """For the log: how well it judges experience that it has not learned from."""
        ...
