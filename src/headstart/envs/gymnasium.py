"""Any Gymnasium environment, stepped as copies of it.

An environment may declare parameters of its own: a `parameters` mapping of name to `Parameter`
and a method `set_parameters(name=value, …)`, which is called before every reset.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from headstart.envs.environment import Engine, HostEnvironment, Reading
from headstart.envs.spec import Obs, Parameter, action_for, actions_of, grouped, groups_of, is_plain
from headstart.errors import HeadstartError

UNLIMITED = 2**62


class GymnasiumEnvironment(HostEnvironment):
    """Whatever `make()` returns.

    Raises:
        HeadstartError: its observations or actions are of a kind that no policy takes.
    """

    def __init__(self, name: str, make: Callable[[], gymnasium.Env]):
        self.name, self._make = name, make
        env = make()
        self.parameters: Mapping[str, Parameter] = dict(getattr(env.unwrapped, "parameters", {}))
        self.observation_names = tuple(getattr(env.unwrapped, "observation_names", ()))
        self.action_names = tuple(getattr(env.unwrapped, "action_names", ()))
        limit = env.spec.max_episode_steps if env.spec else None
        self.horizon: int = limit or getattr(env, "_max_episode_steps", None) or UNLIMITED
        self.observation_space, self.action_space = env.observation_space, env.action_space
        env.close()
        groups_of(name, self.observation_space)
        actions_of(name, self.action_space)
        if self.parameters and not hasattr(env.unwrapped, "set_parameters"):
            raise HeadstartError(f"{name} declares parameters but has no set_parameters method")

    def engine(self, num: int) -> "GymnasiumEngine":
        return GymnasiumEngine([self._make() for _ in range(num)], list(self.parameters))


class GymnasiumEngine(Engine):
    """Steps the copies one after another.

    A Gymnasium environment cannot be asked for its state. A checkpoint holds the seed of each
    running episode and its actions so far, and restoring plays them again.
    """

    def __init__(self, envs: list[gymnasium.Env], names: list[str]):
        self._envs, self._names = envs, names
        self._space = envs[0].observation_space
        self._plain = is_plain(self._space)
        self._seeds = np.zeros(len(envs), np.int64)
        self._actions: list[list[np.ndarray]] = [[] for _ in envs]
        self._values: list[dict[str, float]] = [{} for _ in envs]

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None:
        for row, value in zip(rows.tolist(), values, strict=True):
            self._values[row] = dict(zip(self._names, map(float, value), strict=True))

    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> Reading:
        self._seeds[rows] = rng.integers(2**31, size=len(rows))
        return self._stacked([self._start(row) for row in rows.tolist()])

    def _start(self, row: int) -> Any:
        env: Any = self._envs[row]
        if self._names:
            env.unwrapped.set_parameters(**self._values[row])
        self._actions[row] = []
        return env.reset(seed=int(self._seeds[row]))[0]

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading, np.ndarray, np.ndarray]:
        steps = [self._act(row, action[i]) for i, row in enumerate(rows.tolist())]
        obs, reward, terminated, truncated, _ = zip(*steps, strict=True)
        flags = np.array(terminated, bool), np.array(truncated, bool)
        return np.array(reward, np.float64), self._stacked(obs), *flags

    def _act(self, row: int, action: Any) -> Any:
        env = self._envs[row]
        self._actions[row].append(np.array(action))
        return env.step(action_for(env.action_space, np.asarray(action)))

    def _stacked(self, obs: Any) -> Reading:
        groups = [grouped(self._space, one) for one in obs]
        stacked: Obs = {name: np.stack([group[name] for group in groups]) for name in groups[0]}
        return next(iter(stacked.values())) if self._plain else stacked

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
