"""Environments with goals, as Gymnasium has them: an observation has the entries `achieved_goal`,
which no policy reads, and `desired_goal`, and whatever else is observed.
"""

# JAX leaves types of its functions unknown.
# pyright: reportUnknownMemberType=false

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from headstart.errors import HeadstartError

ACHIEVED, DESIRED = "achieved_goal", "desired_goal"


class Goals(ABC):
    """What the goals of an environment are worth: hashable, its functions pure, and called from
    compiled code with goals `[..., n]`, or with images `[..., h, w, c]`."""

    ends: bool = False
    """Whether an episode ends when its goal is achieved."""
    rewards: tuple[float, float] = (-1.0, 0.0)
    """The least and the most that a step may be worth."""

    @abstractmethod
    def reward(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Float[Array, "..."]:
        """Of a step that led to `achieved`."""

    @abstractmethod
    def success(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Bool[Array, "..."]:
        """Whether it is what was wanted."""


@dataclass(frozen=True)
class Near(Goals):
    """A goal, a vector, is achieved within a distance of it; a step is worth one of two numbers."""

    tolerance: float
    """In the goals' own unit."""
    ends: bool = False
    rewards: tuple[float, float] = (-1.0, 0.0)
    """Of a step that does not lead there, and of one that does."""

    def reward(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Float[Array, "..."]:
        missed, reached = self.rewards
        return jnp.where(self.success(achieved, goal), float(reached), float(missed))

    def success(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Bool[Array, "..."]:
        return jnp.sqrt(((achieved - goal) ** 2).sum(-1)) <= self.tolerance


@dataclass(frozen=True)
class Asked(Goals):
    """Goals of an environment that computes rewards by NumPy: compiled code asks it."""

    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Rewards `[rows]` of achieved and desired goals `[rows, *shape]`."""
    axes: int = 1
    """Of one goal: 1 of a vector, 3 of an image."""
    ends: bool = False
    rewards: tuple[float, float] = (-np.inf, np.inf)

    def reward(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Float[Array, "..."]:
        def ask(achieved: Any, goal: Any) -> np.ndarray:
            rows = [np.asarray(x).reshape(-1, *x.shape[-self.axes :]) for x in (achieved, goal)]
            return np.float32(self.compute(*rows)).reshape(achieved.shape[: -self.axes])

        shape = jax.ShapeDtypeStruct(achieved.shape[: -self.axes], jnp.float32)
        return jax.pure_callback(ask, shape, achieved, goal)

    def success(
        self, achieved: Shaped[Array, "..."], goal: Shaped[Array, "..."]
    ) -> Bool[Array, "..."]:
        """Whether it is worth as much as the goal itself."""
        return self.reward(achieved, goal) >= self.reward(goal, goal)


def check_goals(name: str, groups: Mapping[str, Any]) -> None:
    """Raises:
    HeadstartError: an environment says that it has goals, and does not observe them.
    """
    shapes = {groups[group].shape for group in (ACHIEVED, DESIRED) if group in groups}
    if len(shapes) != 1 or not {ACHIEVED, DESIRED} <= groups.keys():
        raise HeadstartError(
            f"{name} has goals, so it must observe {ACHIEVED} and {DESIRED}, of one "
            f"shape, and it observes {', '.join(f'{n} ({g})' for n, g in groups.items())}"
        )
