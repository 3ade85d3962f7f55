"""What an environment looks like to who acts in it: groups of observations, actions, a horizon.

Plain spaces stay plain for who writes an environment: a vector is the group `state`, an image the
group `pixels`. The entries of a `Dict` are groups by their names, those of a `Tuple` by their
numbers. Everything inside Headstart sees groups.
"""

# Gymnasium's spaces leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from headstart.envs.context import Told
from headstart.envs.goals import ACHIEVED, Goals
from headstart.errors import HeadstartError

CONTEXT = "context"
"""The group of the parameters that a domain shows."""
PRIVILEGED = "privileged"
"""The group that only critics read, and that the target need not have."""
EXPERT = "expert"
"""The group that holds what an expert, who sees the environment's state, would do."""

DRAWN = "drawn"
"""The group that tells a curriculum which parameters an episode has."""

UNSEEN = (PRIVILEGED, EXPERT, ACHIEVED, DRAWN)
"""What no policy reads."""
SKILL = "skill"
"""The group that tells a policy which of its skills to play."""

MASK = "mask"
"""The group that tells which entries of the others an environment of a mixture has."""
ACTION_MASK = "action_mask"
"""The group that tells which actions there are to choose from."""

Bounds = list[tuple[float, float]]
"""The least and the most of each number."""
Obs = dict[str, np.ndarray]
"""Observation groups by name, one row for each copy."""


def entry_number(entry: str | int, names: Sequence[str]) -> int | None:
    """Which of the named entries it is, by its name or its number; nothing if there is no such."""
    if str(entry) in names:
        return names.index(str(entry))
    return int(entry) if str(entry).isdecimal() and int(entry) < len(names) else None


@dataclass(frozen=True)
class Group:
    """One named part of an observation: numbers `[n]`, bytes `[height, width, channels]`, or
    indices `[n]` of which entry `i` is one of `choices[i]`."""

    shape: tuple[int, ...]
    kind: Literal["vector", "image", "choice"] = "vector"
    choices: tuple[int, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    """Of the entries of a vector, if the environment names them."""
    low: tuple[float, ...] = field(default=(), compare=False)
    """Of choices, the environment's number of the first."""
    told: tuple[Told, ...] = field(default=(), compare=False)
    """Of what a domain shows of its parameters, how."""

    @property
    def dtype(self) -> str:
        """Of what networks are given."""
        return {"vector": "float32", "image": "uint8", "choice": "int32"}[self.kind]

    def __str__(self):
        if self.kind == "choice":
            return f"one of {', '.join(map(str, self.choices))}"
        return f"{'bytes' if self.kind == 'image' else 'numbers'} of shape {list(self.shape)}"


@dataclass(frozen=True)
class Actions:
    """What one action is: numbers `[n]` in [−1, 1], or indices below `choices`.

    `shape` is `()` where there is a single choice, and `(n,)` otherwise.
    """

    shape: tuple[int, ...]
    choices: tuple[int, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    """Of its numbers, or of what there is to choose from, if the environment names them."""
    low: tuple[float, ...] = field(default=(), compare=False)
    """What −1 is to the environment, number by number; of choices, its number of the first."""
    high: tuple[float, ...] = field(default=(), compare=False)
    """What 1 is to the environment, number by number; of choices, its number of the last."""
    form: tuple[int, ...] = field(default=(), compare=False)
    """The shape of an action of the environment's."""
    number: str = field(default="", compare=False)
    """The type of its numbers; none where nothing is known of an environment."""
    masked: bool = False
    """Whether the group `action_mask` tells which of the choices there are."""

    @property
    def discrete(self) -> bool:
        return bool(self.choices)

    @property
    def dtype(self) -> str:
        return "int32" if self.discrete else "float32"

    @property
    def width(self) -> int:
        """Numbers that describe an action to a network: choices are one-hot."""
        return sum(self.choices) or self.shape[0]

    @property
    def uniform_entropy(self) -> float:
        """Of actions uniformly at random, in nats: the most that there can be."""
        return sum(map(math.log, self.choices)) or self.shape[0] * math.log(2)

    @property
    def bounds(self) -> Bounds:
        """What −1 and 1 are, of each number; nothing of choices, or where it is not known."""
        return [] if self.discrete else list(zip(self.low, self.high, strict=True))

    def element(self, action: np.ndarray | np.integer[Any]) -> Any:
        """One action of a policy, an element of the environment's space: an int where that is one
        choice, and an array otherwise."""
        if self.discrete and not self.shape:
            return int(self.low[0]) + int(action)
        low, high = np.array(self.low), np.array(self.high)
        own = low + action if self.discrete else scaled(low, high, np.asarray(action))
        return own.reshape(self.form).astype(self.number)

    def __str__(self):
        if self.discrete:
            return f"one of {', '.join(map(str, self.choices))}"
        return f"numbers of shape {list(self.shape)}"


@dataclass(frozen=True)
class EnvSpec:
    """Observation groups by name, actions, and the steps after which an episode is truncated."""

    name: str
    groups: Mapping[str, Group]
    actions: Actions
    horizon: int
    goals: Goals | None = field(default=None, compare=False)
    """What its goals are worth, if it has any."""


def groups_of(name: str, space: spaces.Space[Any]) -> dict[str, Group]:
    """The groups of an observation space; `name` is the environment's, for the error.

    Raises:
        HeadstartError: the space, or one inside of it, cannot be observed by a network.
    """
    if parts := _parts(space):
        return {
            f"{outer}.{inner}" if _parts(part) else outer: group
            for outer, part in parts.items()
            for inner, group in groups_of(name, part).items()
        }
    if isinstance(space, spaces.Box):
        if is_image(space):
            return {"pixels": Group(space.shape, "image")}
        return {"state": Group((int(np.prod(space.shape)),))}
    if isinstance(space, spaces.Discrete):
        return {"state": Group((1,), "choice", (int(space.n),), low=(int(space.start),))}
    if isinstance(space, spaces.MultiDiscrete):
        choices, low = (tuple(map(int, n.ravel())) for n in (space.nvec, space.start))
        return {"state": Group((len(choices),), "choice", choices, low=low)}
    if isinstance(space, spaces.MultiBinary):
        return {"state": Group((int(np.prod(space.shape)),))}
    raise HeadstartError(
        f"{name} observes {space}, and Headstart takes Box, Discrete, MultiDiscrete, MultiBinary, "
        "and Dict and Tuple of these: wrap the environment"
    )


def is_plain(space: spaces.Space[Any]) -> bool:
    """Whether observations of this space are one array, which is already its only group."""
    flat = isinstance(space, spaces.Box) and len(space.shape) == 1
    return flat or is_image(space)


def grouped(
    space: spaces.Space[Any], obs: Any, xp: Any = np, many: int | None = None
) -> dict[str, Any]:
    """One observation of a space as its groups, `{name: [...]}`, by NumPy or by JAX's `xp`; or so
    many in rows."""
    flat = (-1,) if many is None else (many, -1)
    if parts := _parts(space):
        entries = obs if isinstance(space, spaces.Dict) else dict(zip(parts, obs, strict=True))
        return {
            f"{outer}.{inner}" if _parts(part) else outer: group
            for outer, part in parts.items()
            for inner, group in grouped(part, entries[outer], xp, many).items()
        }
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        index = xp.asarray(obs) - xp.asarray(space.start)
        return {"state": index.astype(np.int32).reshape(flat)}
    if is_image(space):
        if xp is np and np.asarray(obs).dtype.kind not in "iu":
            raise TypeError(f"an image of bytes is declared, and got {np.asarray(obs).dtype}")
        return {"pixels": xp.asarray(obs, np.uint8)}
    return {"state": xp.asarray(obs, np.float64 if xp is np else np.float32).reshape(flat)}


def observed(groups: Mapping[str, Group], obs: Any) -> dict[str, np.ndarray]:
    """The same for groups alone, where the space itself is not at hand; others are left out.

    Raises:
        HeadstartError: a group is not there, has another shape, or holds what is not finite.
    """
    inside = dict(_inside(obs))
    if not inside and len(groups) == 1:
        inside = dict.fromkeys(groups, obs)
    found: dict[str, np.ndarray] = {}
    for name, group in groups.items():
        if name not in inside:
            raise HeadstartError(
                f"the policy reads {name}, and the observation has "
                f"{', '.join(inside) or 'no parts'}"
            )
        array = np.asarray(inside[name])
        if group.kind != "image":
            array = array.reshape(-1)
        if array.shape != group.shape or not np.isfinite(array).all():
            raise HeadstartError(
                f"the policy reads {name} as {group}, all finite, and got {inside[name]!r}"
            )
        if group.kind == "choice":
            array = array - np.array(group.low)
        found[name] = array.astype(group.dtype)
    return found


def _inside(obs: Any) -> Iterator[tuple[str, Any]]:
    """What is inside of a dict or a tuple, by the names of groups."""
    if isinstance(obs, tuple):
        obs = {str(i): part for i, part in enumerate(obs)}
    for outer, part in obs.items() if isinstance(obs, Mapping) else ():
        deeper = [(f"{outer}.{inner}", leaf) for inner, leaf in _inside(part)]
        yield from deeper or [(outer, part)]


def actions_of(name: str, space: spaces.Space[Any]) -> Actions:
    """What an action of this space is; `name` is the environment's, for the error.

    Raises:
        HeadstartError: it is unbounded, or of a kind that no policy of ours chooses.
    """
    own: dict[str, Any] = {"form": space.shape or (), "number": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        n, start = int(space.n), int(space.start)
        return Actions((), (n,), low=(start,), high=(start + n - 1,), **own)
    if isinstance(space, spaces.MultiDiscrete):
        choices, low = (tuple(map(int, n.ravel())) for n in (space.nvec, space.start))
        high = tuple(first + n - 1 for first, n in zip(low, choices, strict=True))
        return Actions((len(choices),), choices, low=low, high=high, **own)
    if isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        return Actions((size,), (2,) * size, low=(0,) * size, high=(1,) * size, **own)
    if isinstance(space, spaces.Box) and np.isfinite([space.low, space.high]).all():
        low, high = (tuple(map(float, bound.ravel())) for bound in (space.low, space.high))
        return Actions((int(np.prod(space.shape)),), low=low, high=high, **own)
    raise HeadstartError(
        f"{name} acts in {space}, and Headstart takes Discrete, MultiDiscrete, MultiBinary, or a "
        "Box with finite bounds: wrap the environment"
    )


def action_for(space: spaces.Space[Any], action: np.ndarray) -> Any:
    """One action of a policy, already scaled to the bounds of a Box, as an element of the space."""
    if isinstance(space, spaces.Discrete):
        return space.start + int(action)
    if isinstance(space, spaces.MultiDiscrete):
        return (space.start.ravel() + action).reshape(space.shape).astype(space.dtype)
    return action.reshape(space.shape).astype(space.dtype)


def scaled(low: np.ndarray, high: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Actions in [−1, 1], clipped, between these bounds."""
    half = (high - low) / 2
    return np.clip(action, -1.0, 1.0) * half + (low + half)


def check_alike(source: EnvSpec, target: EnvSpec) -> None:
    """Hold what is observed and done in one domain against the other.

    Raises:
        HeadstartError: a policy of the source does not fit the target.
    """
    for name, group in source.groups.items():
        if name == PRIVILEGED:
            continue
        if name not in target.groups:
            what = f"the source shows the group {name!r}, and the target does not"
            mend = (
                "add shows to [target] too, or use shows_critic"
                if name == CONTEXT
                else f"the target has {', '.join(target.groups)}"
            )
            raise HeadstartError(f"{what}: {mend}")
        if target.groups[name] != group:
            raise HeadstartError(
                f"the source's observations ({name}) are {group} and the target's "
                f"{target.groups[name]}: what is learned in one must fit the other"
            )
        if name != CONTEXT:  # whose names are compared by who knows what is shown
            _check_named(f"observations ({name})", group.names, target.groups[name].names)
    if source.actions != target.actions:
        raise HeadstartError(
            f"the source's actions are {source.actions} and the target's {target.actions}: what "
            "is learned in one must fit the other"
        )
    _check_named("actions", source.actions.names, target.actions.names)
    check_bounds("the source", source.actions.bounds, target.actions.bounds, "the target")


def check_entries(who: str, groups: Mapping[str, Group], actions: Actions, spec: EnvSpec) -> None:
    """Hold the names of what a policy reads and does, by which alone robots of the same size may be
    told apart, against those of a spec of the same shapes.

    Raises:
        HeadstartError: both name the same entries, and not alike.
    """
    for name, group in groups.items():
        there = spec.groups[name].names
        _check_named(f"observations ({name})", group.names, there, who, spec.name)
    _check_named("actions", actions.names, spec.actions.names, who, spec.name)
    check_bounds(who, actions.bounds, spec.actions.bounds, spec.name)


def check_bounds(who: str, here: Bounds, there: Bounds, whose: str) -> None:
    """Hold what actions of −1 and 1 are in one environment against another, number by number.

    Raises:
        HeadstartError: both are known, and they are not the same.
    """
    for i, (mine, other) in enumerate(zip(here, there, strict=False)):
        if mine != other:
            raise HeadstartError(
                f"{who}'s action {i} lies in {list(mine)} and {whose}'s in {list(other)}: the same "
                "action would be another there; give both the same bounds, as "
                "gymnasium.wrappers.RescaleAction does"
            )


def _check_named(
    what: str, here: tuple[str, ...], there: tuple[str, ...], who: str = "the source",
    whose: str = "the target",
) -> None:  # fmt: skip
    if here and there and here != there:
        raise HeadstartError(
            f"{who}'s {what} are {', '.join(here)} and {whose}'s {', '.join(there)}: what is "
            "learned in one must fit the other"
        )


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether it is of bytes `[height, width, channels]`."""
    return isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8


def _parts(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    """The spaces inside of a `Dict` or a `Tuple`; none of any other."""
    if isinstance(space, spaces.Dict):
        return space.spaces
    if isinstance(space, spaces.Tuple):
        return {str(i): part for i, part in enumerate(space.spaces)}
    return {}
