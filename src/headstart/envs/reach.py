"""How a parameter is reached that lies in an attribute of a Gymnasium environment, or makes it."""

import contextlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np

from headstart.errors import HeadstartError
from headstart.problem.parameter import Parameter


def check_reached(
    name: str, declared: Parameter, env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> None:
    """Hold where a parameter is said to lie against what is there.

    Raises:
        HeadstartError: there is no such attribute or argument, or its value is not the nominal one.
    """
    whose = type(env.unwrapped).__name__
    if declared.attribute:
        found: Any = number_at(env, declared.attribute)
        if found is None:
            raise HeadstartError(
                f"{name} is said to be the attribute {declared.attribute!r} of {whose}, which is "
                "no number there"
            )
        _check_own(name, declared.attribute, found, env, make)
    elif declared.argument:
        found = arguments_of(env, make).get(declared.argument)
        try:
            make(**{declared.argument: as_value(declared, declared.nominal)}).close()
        except Exception as error:
            raise HeadstartError(
                f"{name} is said to be the argument {declared.argument!r} of {whose}, which cannot "
                f"be made with it: {error}"
            ) from None
    else:
        return
    same = _is_number(found) and math.isclose(found, declared.nominal, rel_tol=1e-6, abs_tol=1e-12)
    if _is_number(found) and not same:
        raise HeadstartError(
            f"{name} is {float(found)!r}, and declared as nominal {float(declared.nominal)!r}: "
            "declare what it is, and give a domain another value"
        )


def _check_own(
    name: str,
    attribute: str,
    value: float,
    env: gymnasium.Env[Any, Any],
    make: Callable[..., gymnasium.Env],
) -> None:
    """Raises:
    HeadstartError: the attribute cannot be set, or what it lies in is shared with other copies.
    """
    *path, _ = _steps(attribute)
    other = make()
    shared = bool(path) and _inside(env, path) is _inside(other, path)
    other.close()
    if shared:
        raise HeadstartError(
            f"{name} lies in something that all copies of the environment share, so that each "
            "cannot have a value of its own: make it in __init__, or declare an argument"
        )
    try:
        put(env, attribute, value)
    except (AttributeError, TypeError, ValueError) as error:
        raise HeadstartError(f"{name} cannot be set ({error}): declare an argument") from None


def how_to_declare(
    name: str, env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> str:
    """What a domain would say to have a parameter of this name, by what is found of it."""
    given = arguments_of(env, make)
    if (value := number_at(env, name)) is not None:
        where = f'attribute = "{name}", nominal = {value!r}'
    elif name in given:
        where = f'argument = "{name}", nominal = {given[name] if _is_number(given[name]) else "…"}'
    else:
        where = 'attribute = "…", nominal = …'
    example = f"parameters.{name} = {{{where}, low = …, high = …}}"
    return f"; if it is an attribute or an argument, a domain may declare it: {example}"


def arguments_of(
    env: gymnasium.Env[Any, Any], make: Callable[..., gymnasium.Env]
) -> dict[str, Any]:
    """What an environment may be made with, and the defaults."""
    known: dict[str, Any] = {}
    for made_by in (make, type(env.unwrapped)):
        with contextlib.suppress(TypeError, ValueError):  # what is written in C may not say
            known |= {n: p.default for n, p in inspect.signature(made_by).parameters.items()}
    for name in inspect.signature(gymnasium.make).parameters:
        known.pop(name, None)
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


def apply(
    env: gymnasium.Env[Any, Any], parameters: Mapping[str, Parameter], values: Mapping[str, float]
) -> None:
    """Give an environment its parameters, but for those that it is made with."""
    taken: dict[str, float] = {}
    for name, declared in parameters.items():
        if declared.attribute:
            put(env, declared.attribute, values[name])
        elif not declared.argument:
            taken[name] = values[name]
    if taken:
        env.get_wrapper_attr("set_parameters")(**taken)
