"""Environments by name."""

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from headstart.envs.ledger import Tally
from headstart.errors import HeadstartError
from headstart.problem.domain import Domain
from headstart.problem.parameter import Parameter
from headstart.registry import Registry, attribute, import_here

if TYPE_CHECKING:
    from headstart.envs.environment import Environment
    from headstart.envs.spec import EnvSpec
    from headstart.envs.vector_env import AbstractVectorEnv, Draws

ENVIRONMENTS = Registry(
    "environment",
    {
        "ant": "headstart.envs.mujoco:ant",
        "archery": "headstart.envs.archery:archery",
        "bit-flip": "headstart.envs.bit_flip:bit_flip",
        "cart-pole": "headstart.envs.cart_pole:cart_pole",
        "drive": "headstart.envs.drive:drive",
        "green-red": "headstart.envs.green_red:green_red",
        "grid": "headstart.envs.grid:grid",
        "half-cheetah": "headstart.envs.mujoco:half_cheetah",
        "hopper": "headstart.envs.mujoco:hopper",
        "maze": "headstart.envs.navigation:maze",
        "minatar-asterix": "headstart.envs.minatar:asterix",
        "minatar-breakout": "headstart.envs.minatar:breakout",
        "minatar-freeway": "headstart.envs.minatar:freeway",
        "minatar-seaquest": "headstart.envs.minatar:seaquest",
        "minatar-space-invaders": "headstart.envs.minatar:space_invaders",
        "navigation": "headstart.envs.navigation:navigation",
        "plane": "headstart.envs.plane:plane",
        "point-maze": "headstart.envs.point_maze:point_maze",
        "puck": "headstart.envs.puck:puck",
        "runner": "headstart.envs.runner:runner",
        "two-way-cheetah": "headstart.envs.mujoco:two_way_cheetah",
        "walker": "headstart.envs.mujoco:walker",
    },
)


@lru_cache
def find(name: str) -> "Environment":
    """One of ours by name, `gym:ID`, `pool:ID`, or `module:function` of the user's own.

    The function takes no arguments and returns a Gymnasium environment, or an `Environment` of
    Headstart's.

    Raises:
        HeadstartError: there is no such environment, or it does not suit.
    """
    if name in ENVIRONMENTS:
        return ENVIRONMENTS.find(name)
    import gymnasium

    if ":" not in name:
        if name in gymnasium.registry:
            raise HeadstartError(f"unknown environment {name!r}: did you mean 'gym:{name}'?")
        return ENVIRONMENTS.find(name)

    from headstart.envs.environment import Environment
    from headstart.envs.gymnasium import GymnasiumEnvironment

    if name.startswith("pool:"):
        from headstart.envs.pool import PoolEnvironment

        return PoolEnvironment(name.removeprefix("pool:"))
    if name.startswith("gym:"):
        identifier = name.removeprefix("gym:")
        if is_foreign(name):  # Gymnasium imports what stands before the second colon
            import_here(name)
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
    if not isinstance(made, Environment):
        raise HeadstartError(
            f"{name} makes a {type(made).__name__}, not an environment: return a gymnasium.Env, or "
            "subclass headstart.envs.jax_env.JaxEnvironment"
        )
    return made


def of(domain: Domain) -> "Environment":
    """The environment of a domain, with the parameters that the domain declares of it; of a
    mixture, the joint one.

    Raises:
        HeadstartError: there is no such environment, or it has no such attribute or argument, or
            those of a mixture cannot be joined.
    """
    if domain.tasks:
        return _joint(domain.tasks)
    if not domain.declares:
        return find(domain.environment)
    return _declaring(domain.environment, tuple(domain.declares.items()))


@lru_cache
def _declaring(name: str, declares: tuple[tuple[str, Parameter], ...]) -> "Environment":
    return find(name).declaring(dict(declares))


@lru_cache
def _joint(tasks: tuple[Domain, ...]) -> "Environment":
    from headstart.envs.joint import joint

    return joint(tasks, [of(task) for task in tasks])


def is_foreign(name: str) -> bool:
    """Whether code that did not come with Headstart, or Gymnasium, is imported to find it."""
    if name.startswith("pool:"):
        return False
    return name not in ENVIRONMENTS and ":" in name.removeprefix("gym:")


def module_of(name: str) -> str:
    """The module in which an environment that exists is written, so that it can be imported."""
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name].partition(":")[0]
    if is_foreign(name):
        import_here(name)
    if name.startswith("pool:"):
        return "headstart.envs.pool"
    if not name.startswith("gym:"):
        return name.partition(":")[0]
    import gymnasium

    entry: Any = gymnasium.spec(name.removeprefix("gym:")).entry_point
    return entry.partition(":")[0] if isinstance(entry, str) else entry.__module__


def start(
    domain: Domain,
    num: int,
    seed: int,
    expert: str | None = None,
    tally: Tally | None = None,
    draws: "Draws | None" = None,
) -> "AbstractVectorEnv":
    """`num` copies of a domain's environment; call `reset` before the first step.

    Args:
        domain: the environment, its parameters, and what is shown of them.
        num: how many copies are stepped at once.
        seed: of all that is drawn.
        expert: of the environment's experts, whose actions are shown as the group `expert`.
        tally: where its steps are counted, if not among those of nobody's.
        draws: what parameters are drawn from, in place of the domain's own distribution; those
            that vary are shown as the group `drawn` then.

    Raises:
        HeadstartError: the environment, a parameter or the expert does not exist.
    """
    running = of(domain).start(domain, num, seed, expert)
    if tally is not None:
        running.tally = tally
    if draws is not None:
        running.draw_by(draws)
    return running


def spec_of(domain: Domain) -> "EnvSpec":
    """What a domain looks like to who acts in it."""
    from headstart.envs import vector_env

    return vector_env.spec_of(of(domain), domain)
