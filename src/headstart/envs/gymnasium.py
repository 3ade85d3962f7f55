"""Any Gymnasium environment, stepped as copies of it.

An environment, or a wrapper around it, may declare parameters of its own: a `parameters` mapping
of name to `Parameter` and a method `set_parameters(name=value, …)`, which is called before every
reset.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from headstart.envs.environment import UNLIMITED, Engine, HostEnvironment, Reading
from headstart.envs.spec import Obs, Parameter, action_for, actions_of, grouped, groups_of, is_plain
from headstart.errors import HeadstartError


class GymnasiumEnvironment(HostEnvironment):
    """Whatever `make()` returns.

    Raises:
        HeadstartError: its observations or actions are of a kind that no policy takes.
    """

    def __init__(self, name: str, make: Callable[[], gymnasium.Env]):
        self.name, self._make = name, make
        env = make()
        self.parameters = _declared(name, env)
        self.observation_names = tuple(_attribute(env, "observation_names", ()))
        self.action_names = tuple(_attribute(env, "action_names", ()))
        limit = env.spec.max_episode_steps if env.spec else None
        self.horizon: int = limit or getattr(env, "_max_episode_steps", None) or UNLIMITED
        self.observation_space, self.action_space = env.observation_space, env.action_space
        env.close()
        groups_of(name, self.observation_space)
        actions_of(name, self.action_space)

    def engine(self, num: int) -> "GymnasiumEngine":
        return GymnasiumEngine([self._make() for _ in range(num)], list(self.parameters))


def _attribute(env: gymnasium.Env[Any, Any], name: str, default: Any = None) -> Any:
    """Of the environment or of the outermost of its wrappers that has it."""
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def _declared(name: str, env: gymnasium.Env[Any, Any]) -> dict[str, Parameter]:
    """The parameters of an environment, or of a wrapper around it.

    Raises:
        HeadstartError: they are not what they must be, or nothing takes them, or they are taken and
            not declared.
    """
    declared, taken = _attribute(env, "parameters"), env.has_wrapper_attr("set_parameters")
    mend = "as in parameters = {'slope': headstart.Parameter(nominal=0, low=-1, high=1)}"
    if declared is None and taken:
        raise HeadstartError(f"{name} has set_parameters and declares no parameters: do so, {mend}")
    if declared is None:
        return {}
    if not isinstance(declared, Mapping):
        raise HeadstartError(f"parameters of {name} must be a mapping, {mend}")
    for parameter, range_ in declared.items():
        if not isinstance(range_, Parameter):
            raise HeadstartError(f"{name}.{parameter} is {range_!r}: declare it {mend}")
    if declared and not taken:
        raise HeadstartError(f"{name} declares parameters but has no set_parameters method")
    return dict(declared)


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
            env.get_wrapper_attr("set_parameters")(**self._values[row])
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
