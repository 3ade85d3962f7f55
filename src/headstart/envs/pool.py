"""Environments of EnvPool, in C++ with their own physics: ids as `pool:FetchPush-v4`.

It starts an ended episode anew by itself at the next step, and tells ends apart as Gymnasium does;
here an ended copy waits to be reset, as every engine's does. Robots with goals have Gymnasium's
entries and a rule for their rewards. Of Meta-World the goal is shown, and not hidden.
"""

# EnvPool has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from headstart.envs.environment import UNLIMITED, Engine, HostEnvironment, Reading, told_success
from headstart.envs.goals import ACHIEVED, DESIRED, Goals, Near
from headstart.envs.spec import actions_of, grouped, groups_of, is_plain
from headstart.errors import HeadstartError, unknown
from headstart.problem.parameter import Parameter

PREFIX = "pool:"
SHOWN = {"MetaWorld": {"partially_observable": False}}
"""What an environment is made with, where its own default is another."""
METAWORLD_REWARD = "v2"
"""Which of Meta-World's rewards it is: a step of a solved task earns 10."""
MAZE_TOLERANCE = 0.45
"""Metres from its goal at which a maze counts it as reached."""


class PoolEnvironment(HostEnvironment):
    """One of EnvPool's, by its id without `pool:`.

    Raises:
        HeadstartError: EnvPool is not installed, has no such environment, cannot make it here, or
            its spaces are of a kind that no policy takes.
    """

    parameters: Mapping[str, Parameter] = {}

    def __init__(self, identifier: str):
        self.name = f"{PREFIX}{identifier}"
        self._identifier = identifier
        made = make(identifier, 1, 0)
        config = made.spec.config
        self.observation_space: spaces.Space[Any] = made.observation_space
        self.action_space: spaces.Space[Any] = made.action_space
        self.horizon = int(config.max_episode_steps) or UNLIMITED
        reward = (
            {"metaworld-reward": METAWORLD_REWARD} if identifier.startswith("MetaWorld/") else {}
        )
        self.versions = {"envpool": version("envpool"), **reward}
        self.goals = _goals(self.observation_space, config)
        groups_of(self.name, self.observation_space)
        actions_of(self.name, self.action_space)

    def engine(self, num: int) -> "PoolEngine":
        return PoolEngine(self, self._identifier, num)


def make(identifier: str, num: int, seed: int) -> Any:
    """A pool of copies.

    Raises:
        HeadstartError: see `PoolEnvironment`.
    """
    if find_spec("envpool") is None:
        raise HeadstartError(
            f"{PREFIX}{identifier} needs EnvPool: install it by pip install 'headstart[pool]'"
        )
    import envpool

    known = envpool.list_all_envs()
    if identifier not in known:
        raise unknown("environment of EnvPool", identifier, known)
    options = SHOWN.get(identifier.partition("/")[0], {})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the precision of bounds, when it makes its spaces
            made: Any = envpool.make(
                identifier, env_type="gymnasium", num_envs=num, seed=seed, **options
            )
            _ = made.observation_space, made.action_space
            return made
    except Exception as error:
        raise HeadstartError(f"EnvPool cannot make {identifier!r} here: {error}") from error


def _goals(space: spaces.Space[Any], config: Any) -> Goals | None:
    """What goals are worth, where the rule is known."""
    if not isinstance(space, spaces.Dict) or not {ACHIEVED, DESIRED} <= space.keys():
        return None
    settings = config._asdict()
    if settings.get("reward_type") != "sparse":
        return None
    if "distance_threshold" in settings:
        return Near(float(settings["distance_threshold"]))
    if "maze_map" in settings:
        ends = not settings["continuing_task"]
        return Near(MAZE_TOLERANCE, ends=ends, rewards=(0.0, 1.0))
    return None


class PoolEngine(Engine):
    """Copies that EnvPool steps, on as many threads as there are processors.

    They are made at the first reset, with a seed that is drawn. EnvPool cannot be asked for its
    state: who goes on from a checkpoint begins new episodes.
    """

    def __init__(self, environment: PoolEnvironment, identifier: str, num: int):
        self._identifier, self._num = identifier, num
        self._acts = environment.action_space
        self._space = environment.observation_space
        self._plain = is_plain(self._space)
        self._pool: Any = None
        self._seed = 0
        self._drawn_by: np.random.Generator | None = None

    def set_parameters(self, rows: np.ndarray, values: np.ndarray) -> None:
        """There are none."""

    def reset(self, rows: np.ndarray, rng: np.random.Generator) -> Reading:
        if self._pool is None or (rng is not self._drawn_by and len(rows) == self._num):
            self._drawn_by = rng
            every = self._read(self._begin(int(rng.integers(2**31))), np.arange(self._num))
            return jax.tree.map(lambda group: group[rows], every)
        return self._read(self._pool.reset(rows.astype(np.int32))[0], rows)

    def step(
        self, rows: np.ndarray, action: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading, np.ndarray, np.ndarray]:
        if isinstance(self._acts, spaces.Discrete):
            taken = np.int32(self._acts.start + action)
        else:
            taken = action.reshape(len(rows), *(self._acts.shape or ())).astype(self._acts.dtype)
        obs, reward, terminated, truncated, info = self._pool.step(taken, rows.astype(np.int32))
        self.succeeded = told_success(info, rows.shape)
        return np.asarray(reward, float), self._read(obs, rows), terminated & ~truncated, truncated

    def state(self) -> dict[str, np.ndarray]:
        return {"seed": np.array(self._seed)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.alike = False
        self._begin(int(state["seed"]) + 1)

    def _begin(self, seed: int) -> Any:
        """All copies anew; what they observe."""
        self._seed = seed
        self._pool = make(self._identifier, self._num, seed)
        return self._pool.reset()[0]

    def _read(self, obs: Any, rows: np.ndarray) -> Reading:
        """What as many copies observe, as groups."""
        groups = grouped(self._space, obs, many=len(rows))
        return next(iter(groups.values())) if self._plain else groups
