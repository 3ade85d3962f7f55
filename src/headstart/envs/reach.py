"""How a parameter is reached that lies in an attribute of a Gymnasium environment, or makes it."""

import inspect
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium
import numpy as np

from headstart.errors import HeadstartError
from headstart.problem.parameter import EXAMPLE, Parameter


def check_reached(
    name: str, declared: Parameter, env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> None:
    """Hold where a parameter is said to lie against what is there.

    Raises:
        HeadstartError: there is no such attribute or argument, or its value is not the nominal one.
    """
    found: Any = declared.nominal
    if declared.attribute:
        found = number_at(env, declared.attribute)
        if found is None:
            raise HeadstartError(
                f"{name} is said to be the attribute {declared.attribute!r} of "
                f"{type(env.unwrapped).__name__}, which is no number there"
            )
    elif declared.argument:
        found = arguments_of(env, make).get(declared.argument, found)
        try:
            make(**{declared.argument: as_value(declared, declared.nominal)}).close()
        except Exception as error:
            raise HeadstartError(
                f"{name} is said to be the argument {declared.argument!r} of "
                f"{type(env.unwrapped).__name__}, which cannot be made with it: {error}"
            ) from None
    if _is_number(found) and not math.isclose(found, declared.nominal, rel_tol=1e-6):
        raise HeadstartError(
            f"{name} is {found:g}, and declared as nominal {declared.nominal:g}: declare what it "
            "is, and give a domain another value"
        )


def how_to_declare(
    name: str, env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> str:
    """What a domain would say to have a parameter of this name, by what is found of it."""
    example, given = EXAMPLE, arguments_of(env, make)
    if (value := number_at(env, name)) is not None:
        example = f'{{attribute = "{name}", nominal = {value:g}, low = …, high = …}}'
    elif name in given:
        default = given[name] if _is_number(given[name]) else "…"
        example = f'{{argument = "{name}", nominal = {default}, low = …, high = …}}'
    return f"; a domain may declare it, as in parameters.{name} = {example}"


def arguments_of(
    env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> dict[str, Any]:
    """What an environment may be made with, and the defaults."""
    known: dict[str, Any] = {}
    for made_by in (type(env.unwrapped), make):
        known |= {n: p.default for n, p in inspect.signature(made_by).parameters.items()}
    return known | (env.spec.kwargs if env.spec else {})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def as_value(declared: Parameter, value: float) -> float:
    return int(value) if declared.integer else value


def _steps(attribute: str) -> list[str | int]:
    """`model.opt.gravity[2]` as `model`, `opt`, `gravity`, 2."""
    return [int(s) if s.isdecimal() else s for s in re.findall(r"\w+", attribute)]


def _inside(env: gymnasium.Env[Any, Any], steps: Iterable[str | int]) -> Any:
    """What lies there, from the environment or the outermost of its wrappers on."""
    first, *further = steps
    found: Any = env.get_wrapper_attr(str(first))
    for step in further:
        found = found[step] if isinstance(step, int) else getattr(found, step)
    return found


def number_at(env: gymnasium.Env[Any, Any], attribute: str) -> float | None:
    try:
        found = _inside(env, _steps(attribute))
    except (AttributeError, LookupError, TypeError):
        return None
    return float(found) if _is_number(found) else None


def put(env: gymnasium.Env[Any, Any], attribute: str, value: float) -> None:
    *path, last = _steps(attribute)
    if not path:
        env.set_wrapper_attr(str(last), value)
    elif isinstance(last, int):
        _inside(env, path)[last] = value
    else:
        setattr(_inside(env, path), last, value)
