"""Any Gymnasium environment, stepped as a batch.

An environment may declare parameters of its own: a `parameters` mapping of name to `Parameter`
and a method `set_parameters(name=value, …)`, which is called before every reset.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from headstart.envs.environment import Parameter
from headstart.errors import HeadstartError

UNLIMITED = 2**62


class GymnasiumEnvironment:
    """Implements `Environment` for whatever `make()` returns.

    Raises:
        HeadstartError: the observations are neither vectors nor images of bytes, or the actions
            neither a bounded box nor a discrete set.
    """

    def __init__(self, name: str, make: Callable[[], gymnasium.Env]):
        self.name, self._make = name, make
        env = make()
        self.parameters: Mapping[str, Parameter] = dict(getattr(env.unwrapped, "parameters", {}))
        limit = env.spec.max_episode_steps if env.spec else None
        self.horizon: int = limit or getattr(env, "_max_episode_steps", None) or UNLIMITED
        observation, action = env.observation_space, env.action_space
        env.close()
        if not isinstance(observation, spaces.Box) or not (
            len(observation.shape) == 1 or _is_image(observation)
        ):
            raise HeadstartError(
                f"{name} observes {observation}, and Headstart takes a Box with one axis, or "
                "images [height, width, channels] of bytes: wrap the environment in "
                "gymnasium.wrappers.FlattenObservation"
            )
        if not isinstance(action, spaces.Discrete) and not _flat_and_bounded(action):
            raise HeadstartError(
                f"{name} acts in {action}, and Headstart takes a Discrete, or a Box with one axis "
                "and finite bounds: wrap the environment"
            )
        if self.parameters and not hasattr(env.unwrapped, "set_parameters"):
            raise HeadstartError(f"{name} declares parameters but has no set_parameters method")
        self.observation_space: spaces.Box = observation
        self.action_space: Any = action

    def engine(self, num: int) -> "GymnasiumEngine":
        return GymnasiumEngine([self._make() for _ in range(num)], list(self.parameters))


def _is_image(space: spaces.Box) -> bool:
    return len(space.shape) == 3 and space.dtype == np.uint8


def _flat_and_bounded(space: spaces.Space) -> bool:
    if not isinstance(space, spaces.Box):
        return False
    return len(space.shape) == 1 and bool(np.isfinite([space.low, space.high]).all())


class GymnasiumEngine:
    """Steps the copies one after another.

    A Gymnasium environment cannot be asked for its state. A checkpoint holds the seed of each
    running episode and its actions so far, and restoring plays them again.
    """

    def __init__(self, envs: list[gymnasium.Env], names: list[str]):
        self._envs, self._names = envs, names
        self._discrete = isinstance(envs[0].action_space, spaces.Discrete)
        image = envs[0].observation_space.dtype == np.uint8
        self._dtype = np.uint8 if image else np.float64
        self._seeds = np.zeros(len(envs), np.int64)
        self._actions: list[list[np.ndarray]] = [[] for _ in envs]
        self._values: list[dict[str, float]] = [{} for _ in envs]

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None:
        for row, value in zip(rows, values, strict=True):
            self._values[row] = dict(zip(self._names, map(float, value), strict=True))

    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self._seeds[rows] = rng.integers(2**31, size=len(rows))
        return np.stack([self._start(row) for row in rows]).astype(self._dtype)

    def _start(self, row: int) -> np.ndarray:
        env: Any = self._envs[row]
        if self._names:
            env.unwrapped.set_parameters(**self._values[row])
        self._actions[row] = []
        return env.reset(seed=int(self._seeds[row]))[0]

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        steps = [self._act(row, action[i]) for i, row in enumerate(rows)]
        obs, reward, terminated, truncated, _ = zip(*steps, strict=True)
        flags = np.array(terminated, bool), np.array(truncated, bool)
        return np.array(reward, np.float64), np.stack(obs).astype(self._dtype), *flags

    def _act(self, row: int, action: np.ndarray) -> Any:
        env = self._envs[row]
        self._actions[row].append(np.array(action))
        space: Any = env.action_space
        return env.step(space.start + int(action) if self._discrete else action.astype(space.dtype))

    def picture(self) -> np.ndarray | None:
        """The first copy as it draws itself, if it was made with `render_mode="rgb_array"`."""
        drawn: Any = self._envs[0].render() if self._envs[0].render_mode == "rgb_array" else None
        return None if drawn is None else np.asarray(drawn, np.uint8)

    def state(self) -> dict[str, np.ndarray]:
        lengths = np.array([len(actions) for actions in self._actions])
        played = [action for actions in self._actions for action in actions]
        return {
            "seeds": self._seeds.copy(),
            "lengths": lengths,
            "actions": np.stack(played) if played else np.zeros(0),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._seeds[:] = state["seeds"]
        ends = np.cumsum(state["lengths"])
        for row, (end, length) in enumerate(zip(ends, state["lengths"], strict=True)):
            self._start(row)
            for action in state["actions"][end - length : end]:
                self._act(row, action)
