"""Any Gymnasium environment, stepped as copies of it.

An environment, or a wrapper around it, may declare parameters of its own: a `parameters` mapping
of name to `Parameter` and a method `set_parameters(name=value, …)`, which is called before every
reset. A parameter that says in which attribute it lies, or by which argument it is given to what
makes the environment, needs no such method, and a domain may declare it too.
"""

import hashlib
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from headstart.envs.environment import UNLIMITED, Engine, HostEnvironment, Reading, told_success
from headstart.envs.goals import ACHIEVED, DESIRED, Asked, Goals
from headstart.envs.reach import apply, as_value, check_reached, how_to_declare
from headstart.envs.spec import Obs, action_for, actions_of, grouped, groups_of, is_image, is_plain
from headstart.errors import HeadstartError
from headstart.problem.parameter import Parameter


class GymnasiumEnvironment(HostEnvironment):
    """Whatever `make(**arguments)` returns.

    Raises:
        HeadstartError: its observations or actions are of a kind that no policy takes, or it has
            no such parameter as is declared of it.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., gymnasium.Env],
        declares: Mapping[str, Parameter] | None = None,
    ):
        self.name, self._make = name, make
        env = make()
        own = _declared(name, env)
        for parameter in own.keys() & (declares or {}).keys():
            raise HeadstartError(f"{name} declares {parameter} itself: leave it out of parameters")
        self.parameters = own | dict(declares or {})
        try:
            for parameter, declared in self.parameters.items():
                check_reached(f"{name}.{parameter}", declared, env, make)
        except HeadstartError:
            env.close()
            raise
        self.observation_names = tuple(_attribute(env, "observation_names", ()))
        self.action_names = tuple(_attribute(env, "action_names", ()))
        limit = env.spec.max_episode_steps if env.spec else None
        self.horizon: int = limit or getattr(env, "_max_episode_steps", None) or UNLIMITED
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.goals = _goals(name, env)
        env.close()
        groups_of(name, self.observation_space)
        actions_of(name, self.action_space)

    def declaring(self, declares: Mapping[str, Parameter]) -> "GymnasiumEnvironment":
        return GymnasiumEnvironment(self.name, self._make, declares)

    def how_to_declare(self, name: str) -> str:
        env = self._make()
        said = how_to_declare(name, env, self._make)
        env.close()
        return said

    def engine(self, num: int) -> "GymnasiumEngine":
        return GymnasiumEngine(self._make, num, self.parameters)

    def itself(self) -> gymnasium.Env:
        env = self._make()
        apply(env, self.parameters, {n: p.nominal for n, p in self.parameters.items()})
        return env


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
    if not taken and not all(p.attribute or p.argument for p in declared.values()):
        raise HeadstartError(f"{name} declares parameters but has no set_parameters method")
    return dict(declared)


def _goals(name: str, env: gymnasium.Env[Any, Any]) -> Goals | None:
    """What an environment's goals are worth, if it has any: by its own `compute_reward(achieved,
    desired, info)`, and `compute_terminated` if it has that.

    Raises:
        HeadstartError: it observes goals, and computes no rewards of many at once.
    """
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Dict) or not {ACHIEVED, DESIRED} <= space.keys():
        return None
    reward, ended = (_attribute(env, f"compute_{what}") for what in ("reward", "terminated"))
    if reward is None:
        return None
    two = np.zeros((2, *(space[DESIRED].shape or ())), space[DESIRED].dtype)
    try:
        shape = np.shape(reward(two, two, {}))
    except Exception as error:
        shape = f"{type(error).__name__}: {error}"
    if shape != (2,):
        raise HeadstartError(
            f"{name} observes goals, and compute_reward of two of them [2, n] gives {shape} in "
            "place of two rewards [2]: let it compute many at once"
        )
    ends = ended is not None and bool(np.all(ended(two[0], two[0], {})))
    axes = 3 if is_image(space[DESIRED]) else 1
    return Asked(lambda achieved, goal: reward(achieved, goal, {}), axes, ends=ends)


def _close(envs: list[gymnasium.Env]) -> None:
    for env in envs:
        env.close()


class GymnasiumEngine(Engine):
    """Steps the copies one after another.

    A Gymnasium environment cannot be asked for its state. A checkpoint holds the seed of each
    running episode and its actions so far, and restoring plays them again.
    """

    def __init__(
        self, make: Callable[..., gymnasium.Env], num: int, parameters: Mapping[str, Parameter]
    ):
        self._make, self._parameters = make, parameters
        nominal = {d.argument: as_value(d, d.nominal) for d in parameters.values() if d.argument}
        self._made_with = [nominal] * num
        self._envs = [make(**nominal) for _ in range(num)]
        weakref.finalize(self, _close, self._envs)  # simulators may hold processes or windows
        self._space, self._acts = self._envs[0].observation_space, self._envs[0].action_space
        self._plain = is_plain(self._space)
        self._seeds = np.zeros(num, np.int64)
        self._actions: list[list[np.ndarray]] = [[] for _ in range(num)]
        self._values: list[dict[str, float]] = [{} for _ in range(num)]
        self._seen: list[Any] = [None] * num

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None:
        for row, value in zip(rows.tolist(), values, strict=True):
            self._values[row] = {
                name: as_value(declared, float(number))
                for (name, declared), number in zip(self._parameters.items(), value, strict=True)
            }

    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> Reading:
        self._seeds[rows] = rng.integers(2**31, size=len(rows))
        return self._stacked([self._start(row) for row in rows.tolist()])

    def _start(self, row: int) -> Any:
        self._apply(row)
        self._actions[row] = []
        begun: Any = self._envs[row].reset(seed=int(self._seeds[row]))
        if not isinstance(begun, tuple) or len(begun) != 2:
            raise TypeError(f"reset returned {type(begun).__name__}, not (observation, info)")
        self._seen[row] = begun[0]
        return begun[0]

    def _apply(self, row: int) -> None:
        """Give a copy the values that its next episode has."""
        values = self._values[row]
        arguments = {d.argument: values[n] for n, d in self._parameters.items() if d.argument}
        if arguments != self._made_with[row]:
            self._envs[row].close()
            self._envs[row] = made = self._make(**arguments)
            self._made_with[row] = arguments
            for one, other in (
                (made.observation_space, self._space), (made.action_space, self._acts),
            ):  # fmt: skip
                if one != other:
                    raise HeadstartError(
                        f"made with {arguments}, it has {one}, and else {other}: a parameter must "
                        "leave the spaces as they are"
                    )
        apply(self._envs[row], self._parameters, values)

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading, np.ndarray, np.ndarray]:
        steps = [self._act(row, action[i]) for i, row in enumerate(rows.tolist())]
        obs, reward, terminated, truncated, infos = zip(*steps, strict=True)
        self.succeeded = np.array([told_success(info, ()) for info in infos])
        flags = np.array(terminated), np.array(truncated)
        rewards = np.array(reward, np.float64)
        if rewards.ndim != 1:
            raise TypeError(f"step returned a reward of shape {list(rewards.shape[1:])}")
        for name, flag in zip(("terminated", "truncated"), flags, strict=True):
            if flag.ndim != 1 or flag.dtype.kind not in "bi":
                raise TypeError(f"step returned {name} = {flag[0]!r}, not True or False")
        return rewards, self._stacked(obs), flags[0].astype(bool), flags[1].astype(bool)

    def _act(self, row: int, action: Any) -> Any:
        env = self._envs[row]
        self._actions[row].append(np.array(action))
        taken: Any = env.step(action_for(env.action_space, np.asarray(action)))
        if not isinstance(taken, tuple) or len(taken) != 5:
            raise TypeError(
                "step must return (observation, reward, terminated, truncated, info), and returned "
                f"{len(taken) if isinstance(taken, tuple) else type(taken).__name__}"
            )
        self._seen[row] = taken[0]
        return taken

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
            "seen": self._digests(),
        }

    def _digests(self) -> np.ndarray:
        """Of what every copy shows, `[copies, 32]` bytes."""
        found = np.zeros((len(self._seen), 32), np.uint8)
        for row, obs in enumerate(self._seen):
            if obs is not None:
                groups = grouped(self._space, obs)
                data = b"".join(groups[name].tobytes() for name in sorted(groups))
                found[row] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._seeds[:] = state["seeds"]
        ends = np.cumsum(state["lengths"])
        seen = state.get("seen")
        for row, (end, length) in enumerate(zip(ends, state["lengths"], strict=True)):
            if seen is not None and not seen[row].any():  # it has not begun
                continue
            self._start(row)
            for action in state["actions"][end - length : end]:
                self._act(row, action)
        now = self._digests()
        self.alike = seen is None or bool((now == seen).all())
