"""Whether an environment returns what its spaces declare."""

# Gymnasium's spaces leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from headstart.testing.finding import Finding

STEPS = 200


def examine_spaces(env: gymnasium.Env[Any, Any]) -> list[Finding]:
    """Two claims about a copy of an environment, held against episodes of random actions."""
    of: dict[str, list[str]] = {"observations": [], "rewards and flags": []}
    env.action_space.seed(0)
    seed, over = 0, True
    for _ in range(STEPS):
        if over:
            begun: Any = env.reset(seed=seed)
            seed += 1
            if not isinstance(begun, tuple) or len(begun) != 2:
                said = f"reset returns {type(begun).__name__}, not (observation, info)"
                return [Finding("reset returns two things", False, said)]
            of["observations"] += unlike(env.observation_space, begun[0])
        taken: Any = env.step(env.action_space.sample())
        if not isinstance(taken, tuple) or len(taken) != 5:
            said = "(observation, reward, terminated, truncated, info) is what is wanted"
            return [Finding("step returns five things", False, said)]
        obs, reward, terminated, truncated, _ = taken
        of["observations"] += unlike(env.observation_space, obs)
        if not isinstance(reward, int | float | np.number) or isinstance(reward, bool):
            of["rewards and flags"].append(f"the reward is a {type(reward).__name__}")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                of["rewards and flags"].append(f"{name} is a {type(flag).__name__}, not a bool")
        over = terminated or truncated
    env.close()
    return [
        Finding(f"{what} are as declared", not said, said[0] if said else "")
        for what, said in of.items()
    ]


def unlike(space: spaces.Space[Any], element: Any, place: str = "") -> Iterator[str]:
    """In what an element is not one of the space."""
    what = f"{place or 'an observation'}"
    if isinstance(space, spaces.Dict):
        if not isinstance(element, dict) or element.keys() != space.spaces.keys():
            has = ", ".join(element) if isinstance(element, dict) else type(element).__name__
            yield f"{what} has {has or 'nothing'}, and not {', '.join(space.spaces)}"
        else:
            for name, inner in space.spaces.items():
                yield from unlike(inner, element[name], f"{place}[{name!r}]")
    elif isinstance(space, spaces.Tuple):
        if not isinstance(element, tuple) or len(element) != len(space.spaces):
            yield f"{what} is {element!r}, and not {len(space.spaces)} things"
        else:
            for i, inner in enumerate(space.spaces):
                yield from unlike(inner, element[i], f"{place}[{i}]")
    elif not isinstance(space, spaces.Box):
        if not space.contains(element):
            yield f"{what} is {element!r}, and not in {space}"
    elif not isinstance(element, np.ndarray) or element.dtype != space.dtype:
        kind = element.dtype if isinstance(element, np.ndarray) else type(element).__name__
        yield f"{what} is of {kind}, and is declared {space.dtype}"
    elif element.shape != space.shape:
        yield f"{what} has the shape {list(element.shape)}, and not {list(space.shape)}"
    elif not ((element >= space.low) & (element <= space.high)).all():
        out = np.flatnonzero(~((element >= space.low) & (element <= space.high)))[0]
        low, high = space.low.ravel()[out], space.high.ravel()[out]
        yield f"{what} is {element.ravel()[out]:g} at {out}, outside of [{low:g}, {high:g}]"
