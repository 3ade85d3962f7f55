"""Environments by name."""

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from headstart.errors import HeadstartError, unknown
from headstart.names import attribute
from headstart.problem import Domain

if TYPE_CHECKING:
    from headstart.envs.compiled import CompiledBatch, World
    from headstart.envs.environment import Batch, Environment

ENVIRONMENTS = {
    "ant": "headstart.envs.mujoco:ant",
    "archery": "headstart.envs.archery:archery",
    "drive": "headstart.envs.drive:drive",
    "grid": "headstart.envs.grid:grid",
    "half-cheetah": "headstart.envs.mujoco:half_cheetah",
    "hopper": "headstart.envs.mujoco:hopper",
    "plane": "headstart.envs.plane:plane",
    "two-way-cheetah": "headstart.envs.mujoco:two_way_cheetah",
    "walker": "headstart.envs.mujoco:walker",
}


@lru_cache
def find(name: str) -> "Environment | World":
    """One of ours by name, `gym:ID`, or `module:function` of the user's own.

    The function takes no arguments and returns a Gymnasium environment, an `Environment`, or a
    `World` written in JAX.

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
        except (gymnasium.error.Error, ImportError) as error:
            raise HeadstartError(f"Gymnasium has no {identifier!r}: {error}") from None
        make = partial(gymnasium.make, identifier)
    else:
        make = attribute(name)
    try:
        made = make()
    except Exception as error:
        raise HeadstartError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    if isinstance(made, gymnasium.Env):
        made.close()
        return GymnasiumEnvironment(name, make)
    engine = "observe" if hasattr(made, "observe") else "engine"
    if not all(hasattr(made, part) for part in (engine, "parameters", "horizon")):
        raise HeadstartError(f"{name} makes a {type(made).__name__}, not an environment")
    return made


def start(domain: Domain, num: int, seed: int) -> "Batch | CompiledBatch":
    """`num` copies of a domain's environment; call `reset` before the first step."""
    environment: Any = find(domain.environment)
    if hasattr(environment, "observe"):
        from headstart.envs.compiled import CompiledBatch

        return CompiledBatch(environment, domain, num, seed)
    from headstart.envs.environment import Batch

    return Batch(environment, domain, num, seed)
