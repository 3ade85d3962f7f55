"""What may be fixed or varied about an environment."""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.errors import HeadstartError, unknown

EXAMPLE = '{attribute = "g", nominal = 10, low = 5, high = 15}'
FORMS = ("number", "angle", "one-hot", "text")
"""How a parameter may be told to a policy."""
ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*|\[\d+\])*")


@dataclass(frozen=True)
class Parameter:
    """Something about an environment that a domain may fix or vary."""

    nominal: float
    low: float
    high: float
    unit: str = "1"
    meaning: str = ""
    integer: bool = False
    rare: bool = False
    """Whether random actions hardly ever meet what it changes, so that `check` cannot see it."""
    attribute: str = ""
    """Where a Gymnasium environment keeps it, as `g` or `model.opt.gravity[2]`: it is set there
    before every reset. What the environment derives from it when it is made does not follow."""
    argument: str = ""
    """Of what makes a Gymnasium environment, which is made anew whenever this changes."""
    form: str = "number"
    """How a policy is told it where a domain does not say: `number`, scaled from the range to
    [−1, 1]; `angle`, as cosine and sine of what is given in degrees; `one-hot`, of whole numbers;
    or `text`."""
    texts: tuple[tuple[float, str], ...] = ()
    """What to do in words, for as many of its values as have any; in TOML a table."""
    task: int | None = None
    """Of a mixture's, the task in which it means something."""


def declared(name: str, table: object) -> Parameter:
    """A parameter of an environment that does not declare it itself, from a table.

    Raises:
        HeadstartError: a key is unknown or missing, or a value does not fit.
    """
    if isinstance(table, Parameter):
        table = as_table(table)
    if not isinstance(table, Mapping):
        raise HeadstartError(f"parameters.{name} must be a table, as {EXAMPLE}, got {table!r}")
    of: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(Parameter)}
    del of["task"]
    for key, value in table.items():
        if key not in of:
            raise unknown(f"key of parameters.{name}", str(key), of)
        if key != "texts":
            _check_type(f"parameters.{name}.{key}", of[key], value)
    missing = [key for key in ("nominal", "low", "high") if key not in table]
    if missing or ("attribute" in table) == ("argument" in table):
        lacking = missing[0] if missing else "attribute, or else an argument"
        raise HeadstartError(f"parameters.{name} needs {lacking}, as in {EXAMPLE}")
    numbers = {key: float(table[key]) for key in ("nominal", "low", "high")}
    fields: dict[str, Any] = {**table, **numbers}
    fields["texts"] = _texts(name, fields.get("texts", {}))
    made = Parameter(**fields)
    if made.form not in FORMS:
        raise unknown(f"form of parameters.{name}", made.form, FORMS)
    if not made.low <= made.nominal <= made.high or made.low == made.high:
        raise HeadstartError(
            f"parameters.{name} needs low ≤ nominal ≤ high and low < high, got {made.low:g}, "
            f"{made.nominal:g} and {made.high:g}"
        )
    if made.attribute and not ATTRIBUTE.fullmatch(made.attribute):
        raise HeadstartError(
            f"parameters.{name}.attribute is a name, with . and [number] for what lies inside, as "
            f"model.opt.gravity[2], got {made.attribute!r}"
        )
    return made


def as_table(parameter: Parameter) -> dict[str, Any]:
    """The inverse of `declared`, in plain types."""
    blank = {field.name: field.default for field in dataclasses.fields(Parameter)}
    table = {name: value for name, value in vars(parameter).items() if value != blank[name]}
    if parameter.texts:
        table["texts"] = {f"{value:g}": text for value, text in parameter.texts}
    return table


def _texts(name: str, table: Any) -> tuple[tuple[float, str], ...]:
    """From a table of texts by values."""
    try:
        found = tuple((float(value), text) for value, text in dict(table).items())
        if all(isinstance(text, str) and math.isfinite(value) for value, text in found):
            return found
    except (TypeError, ValueError):
        pass
    raise HeadstartError(
        f"parameters.{name}.texts must be a table of texts by values, as in "
        f'{{"5" = "walk on the moon"}}, got {table!r}'
    )


def _check_type(place: str, kind: type, value: Any) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    fits = {
        float: number and abs(value) < 1e300 and math.isfinite(value),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }[kind]
    if not fits:
        named = {float: "a finite number", bool: "true or false", str: "a text"}[kind]
        raise HeadstartError(f"{place} must be {named}, got {value!r}")
