"""Environments by name."""

import importlib
import sys
from functools import lru_cache
from pathlib import Path

from headstart.envs.environment import Batch, Environment, Parameter, Step
from headstart.errors import HeadstartError, unknown
from headstart.problem import Domain

__all__ = ["ENVIRONMENTS", "Batch", "Environment", "Parameter", "Step", "find", "start"]

ENVIRONMENTS = {
    "ant": "headstart.envs.mujoco:ant",
    "half-cheetah": "headstart.envs.mujoco:half_cheetah",
    "hopper": "headstart.envs.mujoco:hopper",
    "walker": "headstart.envs.mujoco:walker",
}


@lru_cache
def find(name: str) -> Environment:
    """One of ours by name, `gym:ID`, or `module:function` of the user's own.

    The function takes no arguments and returns a Gymnasium environment or an `Environment`.

    Raises:
        HeadstartError: there is no such environment, or it does not suit.
    """
    if name in ENVIRONMENTS:
        return attribute(ENVIRONMENTS[name])
    if ":" not in name:
        raise unknown("environment", name, ENVIRONMENTS)
    import gymnasium

    from headstart.envs.gymnasium import GymnasiumEnvironment

    if name.startswith("gym:"):
        identifier = name.removeprefix("gym:")
        try:
            gymnasium.spec(identifier)
        except gymnasium.error.Error as error:
            raise HeadstartError(f"Gymnasium has no {identifier!r}: {error}") from None
        return GymnasiumEnvironment(name, lambda: gymnasium.make(identifier))
    make = attribute(name)
    try:
        made = make()
    except Exception as error:
        raise HeadstartError(f"{name}() raised {type(error).__name__}: {error}") from error
    if isinstance(made, gymnasium.Env):
        made.close()
        return GymnasiumEnvironment(name, make)
    return made


def start(domain: Domain, num: int, seed: int) -> Batch:
    """`num` copies of a domain's environment; call `reset` before the first step."""
    return Batch(find(domain.environment), domain, num, seed)


def attribute(path: str):
    """What `module:attribute` names; modules in the working directory are found too."""
    module, _, name = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise HeadstartError(f"{path}: there is no module {error.name!r} here") from None
    if not hasattr(found, name):
        raise unknown(f"attribute of {module}", name, [n for n in vars(found) if n[0] != "_"])
    return getattr(found, name)
