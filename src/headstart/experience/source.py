"""Where experience comes from: what a learner and a method see of the source and of the target.

This is all that a handle shows. What stands behind it belongs to the harness
(`runs/metering.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from headstart.envs.spec import EnvSpec, Obs
from headstart.envs.vector_env import AbstractVectorEnv, Draws, VectorEnv
from headstart.problem.domain import Domain


@runtime_checkable
class Checkpointer(Protocol):
    """Keeps what a training loop goes on from. Environments it saves and restores by itself."""

    def due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, arrays: Mapping[str, np.ndarray], envs: Sequence[VectorEnv]) -> None:
        """Replace the checkpoint by these arrays and the states of these environments."""
        ...

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays that an earlier process saved; nothing if there are none."""
        ...

    def restore(self, envs: Sequence[VectorEnv]) -> None:
        """Put environments, in the order in which they were saved, back into their states."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A domain that a learner may be trained in."""

    @property
    def spec(self) -> EnvSpec: ...
    @property
    def steps(self) -> int:
        """Taken so far."""
        ...

    @property
    def episodes(self) -> int:
        """Begun so far."""
        ...

    @property
    def checkpointer(self) -> Checkpointer: ...

    def start(self, num: int, seed: int, expert: str | None = None) -> VectorEnv:
        """`num` running copies; `expert` adds what one who sees the state would do."""
        ...

    def log(self, **row: Any) -> None:
        """Write a row into the run's log; `phase` is added."""
        ...

    def progress(self, done: float, total: float, /) -> None:
        """Tell whoever waits how far it is."""
        ...


@runtime_checkable
class Source(Trainable, Protocol):
    """The domain to train in: unlimited, and counted."""

    def start(
        self, num: int, seed: int, expert: str | None = None, draws: Draws | None = None
    ) -> VectorEnv:
        """The same; `draws` are what parameters are drawn from in place of the domain's own
        distribution, and those that vary are shown as the group `drawn` then."""
        ...

    @property
    def domain(self) -> Domain: ...

    def at(self, domain: Domain) -> "Source":
        """Another domain whose use counts with this one's."""
        ...

    def at_mean(self) -> "Source":
        """One domain, the mean of a source that varies."""
        ...

    def simulator(self, num: int, seed: int) -> AbstractVectorEnv:
        """`num` copies with all that a simulator can do; `charge` counts the steps."""
        ...

    def charge(self, steps: int) -> None:
        """Count steps of a simulator."""
        ...


@runtime_checkable
class Target(Trainable, Protocol):
    """The domain that counts, as far as its access allows: a spec, and nothing else of it."""

    @property
    def steps_left(self) -> int | None:
        """Steps that may still be taken; no number where there is no limit."""
        ...

    @property
    def episodes_left(self) -> int | None:
        """Episodes that may still be begun; no number where there is no limit."""
        ...

    def observations(self, n: int, seed: int) -> Obs:
        """`n` observations `{group: [n, ...]}`, some steps apart, of whoever `access.behaviour`
        names.

        Raises:
            AllowanceSpent: fewer are left.
        """
        ...
