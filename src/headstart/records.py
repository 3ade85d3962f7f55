"""Records on disk that a stranger, or a failing disk, may have written: what is in them is what it
should be, or one error says what is not.
"""

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from headstart.errors import HeadstartError, unknown

MOST_BYTES = 2**26
"""Of a record, at most."""
LONGEST_NAME = 255
"""Bytes, on nearly all file systems."""
DIGESTS = "digests.json"
"""SHA-256 of what a run ended with, by the names of the files beside it."""
Record = TypeVar("Record")


def read(path: Path | str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        HeadstartError: it cannot be read, or is no object of finite numbers.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise HeadstartError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise HeadstartError(f"{path} is damaged: it is larger than {MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(data, parse_constant=_finite, parse_float=_finite)
        json.dumps(found, ensure_ascii=False).encode()  # no half of a character
    except (ValueError, RecursionError) as error:  # an int may have too many digits, too
        raise HeadstartError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise HeadstartError(f"{path} is damaged: it holds no object")
    return found


def whole(path: Path) -> bytes:
    """A file of a run, held against the digest that was written when the run ended; an unfinished
    or older run has none.

    Raises:
        HeadstartError: it is not the file that was written, or cannot be read.
    """
    beside = path.with_name(DIGESTS)
    stated = fitted(read(beside), dict[str, str], str(beside)) if beside.exists() else {}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HeadstartError(f"cannot read {path}: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if stated.get(path.name, found) != found:
        raise HeadstartError(f"{path} is damaged: it is not the file that the run ended with")
    return data


def digest(table: Mapping[str, Any]) -> str:
    """SHA-256 of plain types, however they are ordered."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text} is not a finite number")
    return float(text)


def made(kind: type[Record], table: Any, place: str) -> Record:
    """A dataclass from a record, its fields of the types that are declared; whole numbers are
    counts, and not below 0.

    Raises:
        HeadstartError: a field is missing, unknown, or of another type.
    """
    if not isinstance(table, Mapping):
        raise HeadstartError(f"{place} is damaged: it holds no object")
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}  # pyright: ignore
    for name in table:
        if name not in known:
            raise HeadstartError(f"{place} is damaged: {unknown('field', str(name), known)}")
    for name, f in known.items():
        if name not in table and f.default is MISSING and f.default_factory is MISSING:
            raise HeadstartError(f"{place} is damaged: it has no {name}")
    return kind(**{name: fitted(table[name], hints[name], f"{place}: {name}") for name in table})


def fitted(value: Any, hint: Any, place: str) -> Any:
    """A value as a type says: a dataclass, list, dict, int, float, str, bool, or one of several.

    Raises:
        HeadstartError: it is not of that type.
    """
    if is_dataclass(hint):
        return made(hint, value, place)  # pyright: ignore[reportArgumentType]
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is UnionType:
        kind = next((a for a in arguments if isinstance(value, get_origin(a) or a)), arguments[0])
        return fitted(value, kind, place)
    fits = {
        int: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63,
        float: isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max,
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        list: isinstance(value, list),
        dict: isinstance(value, dict),
    }
    if not fits.get(origin, True):
        raise HeadstartError(f"{place} is damaged: {str(value)[:40]!r} is not {hint}")
    inside: Any = value
    if origin is list:
        return [fitted(item, arguments[0], place) for item in inside]
    if origin is dict:
        return {str(k): fitted(v, arguments[1], f"{place}.{k}") for k, v in inside.items()}
    return float(value) if origin is float else value
