"""A method is a frozen dataclass: its fields from a table or the command line, and back."""

import ast
import inspect
import itertools
import math
import textwrap
import types
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from headstart.errors import HeadstartError, unknown
from headstart.registry import Registry

LARGEST = 2**53
"""From here on not every whole number can be told from the next."""


def as_table(config: Any) -> Any:
    """Nested plain types; `updated(type(config)(), as_table(config)) == config`."""
    if not is_dataclass(config):
        return list(config) if isinstance(config, tuple) else config
    table = {}
    for f in fields(config):
        value = getattr(config, f.name)
        registry = _registry(f)
        word = {} if registry is None else {"algorithm": registry.name_of(type(value))}
        table[f.name] = word | as_table(value) if word else as_table(value)
    return table


def updated(config: Any, table: Mapping[str, Any], place: str = "") -> Any:
    """`config` with the fields that `table` names replaced, nested tables field by field.

    Where a field may be one of several dataclasses, `algorithm` in its table says which: a name, or
    `module:Class` of the user's own.

    Values may be of the field's type or its text, as from the command line (lists as a list of
    texts, or one text separated by commas).

    Raises:
        HeadstartError: a field does not exist, or a value does not fit it.
    """
    hints = get_type_hints(type(config))
    known = {f.name: f for f in fields(config)}
    changes = {}
    for name, value in table.items():
        if name not in known:
            raise unknown(f"field of {place or type(config).__name__}", name, known)
        path = f"{place}.{name}" if place else name
        current, registry = getattr(config, name), _registry(known[name])
        if not is_dataclass(current):
            changes[name] = _fitted(value, hints[name], path)
            continue
        if not isinstance(value, Mapping):
            inner = ", ".join(f"{path}.{f.name}" for f in fields(current))
            raise HeadstartError(f"{path} holds fields of its own: set one of {inner}")
        value = dict(value)
        if registry is not None:
            word = str(value.pop("algorithm", registry.name_of(type(current))))
            kind = registry.find(word)
            current = current if type(current) is kind else kind()
            _check_has(current, value, word, registry)
        changes[name] = updated(current, value, path)
    return replace(config, **changes)


def _registry(f: Field[Any]) -> Registry | None:
    """Where the kinds of a field are found, if it may be one of several."""
    return f.metadata.get("registry")


def _check_has(config: Any, table: Mapping[str, Any], word: str, registry: Registry) -> None:
    """Raises:
    HeadstartError: a field is lacking here that others of its kind have.
    """
    for name in table.keys() - {f.name for f in fields(config)}:
        others = [other for other in registry if name in registry.find(other).__dataclass_fields__]
        if others:
            have = "have" if others[1:] else "has"
            raise HeadstartError(f"{word} has no {name!r}: {' and '.join(others)} {have} it")


def nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    """`{"learner.hidden": v}` as `{"learner": {"hidden": v}}`."""
    table: dict[str, Any] = {}
    for flag, value in flags.items():
        *path, last = flag.split(".")
        inner = table
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise HeadstartError(f"{flag} and {name} are both set: {name} holds {flag}")
        inner[last] = value
    return table


def described(config: Any, prefix: str = "") -> list[tuple[str, str, Any]]:
    """`(name, meaning, value)` of every field, nested ones by dotted name."""
    cls = type(config)
    meanings = _meanings(cls)
    rows: list[tuple[str, str, Any]] = []
    for f in fields(cls):
        value = getattr(config, f.name)
        if is_dataclass(value):
            registry = _registry(f)
            if registry is not None:
                word = registry.name_of(type(value))
                kinds = f"{', '.join(registry)}, or module:Class"
                meaning = f"{kinds}; the fields below are those of {word}."
                rows.append((f"{prefix}{f.name}.algorithm", meaning, word))
            rows += described(value, f"{prefix}{f.name}.")
        else:
            rows.append((prefix + f.name, meanings.get(f.name, ""), value))
    return rows


def set_beside(config: Any) -> list[tuple[str, str, str, str]]:
    """`(name, meaning, value, what it is if nobody sets it)` of every field, as texts.

    Where a field may be one of several dataclasses, it is set beside one of the same kind.
    """
    kinds = {f.name: _registry(f) for f in fields(config)}
    same = {
        name: {"algorithm": registry.name_of(type(getattr(config, name)))}
        for name, registry in kinds.items()
        if registry is not None
    }
    usual = described(updated(type(config)(), same))
    return [
        (name, meaning, _as_text(value), _as_text(other))
        for (name, meaning, value), (_, _, other) in zip(described(config), usual, strict=True)
    ]


def _as_text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _meanings(cls: type) -> dict[str, str]:
    """The docstring under each field, those of the classes that it comes from included."""
    found: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if is_dataclass(base)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # pyright: ignore
        found |= {
            field.target.id: inspect.cleandoc(text.value.value)
            for field, text in itertools.pairwise(body)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
    return found


def require(config: Any, low: float, high: float, *names: str) -> None:
    """Raises:
    HeadstartError: one of the fields, or a value in one that is a tuple, is not in [low, high].
    """
    bound = f"between {low:g} and {high:g}"
    if math.inf in (high, -low):
        bound = f"at least {low:g}" if high == math.inf else f"at most {high:g}"
    for name in names:
        found = getattr(config, name)
        if found == ():
            raise HeadstartError(f"{name} must have at least one number")
        for value in found if isinstance(found, tuple) else (found,):
            if not low <= value <= high:
                raise HeadstartError(f"{name} must be {bound}, got {value:g}")


def _fitted(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or value == "none":
            return None
        return _fitted(value, next(a for a in arguments if a is not type(None)), path)
    if origin is Literal:
        if value not in arguments:
            raise unknown(f"value of {path}", str(value), map(str, arguments))
        return value
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            items = [items]
        return tuple(_fitted(item, arguments[0], path) for item in items if item != "")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    text: Any = value.replace("_", "") if isinstance(value, str) else value
    try:
        if hint is bool and str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        if hint is int and not isinstance(value, bool) and int(float(text)) == float(text):
            if abs(float(text)) >= LARGEST:
                raise HeadstartError(f"{path} must be below 2⁵³, got {value!r}")
            return int(float(text))
        if hint is float and not isinstance(value, bool) and math.isfinite(float(text)):
            return float(text)
        if hint is str and isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    except (TypeError, ValueError, OverflowError):
        pass
    kind = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
    }
    raise HeadstartError(f"{path} must be {kind.get(hint, hint)}, got {value!r}")
