"""What a domain shows of its parameters, and in which form."""

# What NumPy and JAX compute alike has no type of its own.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from headstart.envs.sentences import TEXT_SIZE, embedded, size_of
from headstart.errors import HeadstartError, unknown
from headstart.problem.domain import TASK
from headstart.problem.parameter import FORMS, Parameter

MOST_CHOICES = 4096
"""Values of a parameter that is shown as one-hot."""


@dataclass(frozen=True)
class Told:
    """How a policy is told one parameter of its domain."""

    name: str
    form: str
    low: float
    """The least that it may be; `high` is the most."""
    high: float
    texts: tuple[tuple[float, str], ...] = ()
    """By value, where the form is text."""
    of: tuple[tuple[int, str], ...] = ()
    """Of a mixture, the tasks that have it, and its name in each; the others are told zeros."""
    model: str = ""
    """The folder of the model that reads texts, if one does."""
    size: int = TEXT_SIZE
    """Numbers that a text is told as."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers that it is told as."""
        if self.form == "angle":
            return f"cos({self.name})", f"sin({self.name})"
        if self.form == "one-hot":
            return tuple(f"{self.name}={n}" for n in range(int(self.low), int(self.high) + 1))
        if self.form == "text":
            return tuple(f"{self.name}~{i}" for i in range(self.size))
        return (self.name,)

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The values that can be listed, and what each is told as."""
        if self.form == "one-hot":
            return np.arange(self.low, self.high + 1), np.eye(len(self.names), dtype=np.float32)
        known = np.array([value for value, _ in self.texts])
        return known, np.stack([self._read(text) for _, text in self.texts])

    def _read(self, text: str) -> np.ndarray:
        """A text as numbers.

        Raises:
            HeadstartError: the model has changed, or is not there.
        """
        found = embedded(text, self.model)
        if len(found) != self.size:
            raise HeadstartError(
                f"{self.name} is told as {self.size} numbers, and the model in {self.model} makes "
                f"{len(found)} of a text: use the model that was there before"
            )
        return found

    def __call__(self, value: Any, xp: Any = np) -> Any:
        """Numbers `[rows, names]` from values `[rows]`, by NumPy or by JAX's `xp`."""
        if self.form == "number":
            low, high = np.float32(self.low), np.float32(self.high)
            return (2 * (value - low) / (high - low) - 1)[:, None]
        if self.form == "angle":
            turned = value * (np.pi / 180)
            return xp.stack([xp.cos(turned), xp.sin(turned)], axis=-1)
        known, rows = self._rows
        return xp.asarray(rows)[abs(value[:, None] - xp.asarray(known)[None]).argmin(axis=1)]

    def alone(self, value: float | str) -> np.ndarray:
        """Numbers `[names]` of one value, or of a text."""
        if isinstance(value, str):
            return self._read(value)
        return np.asarray(self(np.array([value]))[0], np.float32)

    def check(self, value: Any) -> None:
        """Raises:
        HeadstartError: it is not a value that can be told.
        """
        if isinstance(value, str) and self.form == "text":
            return
        if isinstance(value, str) or not self.low <= value <= self.high:
            raise HeadstartError(
                f"{self.name} lies in [{self.low:g}, {self.high:g}], got {value!r}"
            )
        if self.form == "one-hot" and value != int(value):
            raise HeadstartError(f"{self.name} is a whole number, got {value!r}")
        if self.form == "text" and value not in [known for known, _ in self.texts]:
            raise HeadstartError(
                f"{self.name} has no text for {value:g}; it has texts for "
                f"{', '.join(f'{known:g}' for known, _ in self.texts) or 'none of its values'}"
            )


def told(parameters: Mapping[str, Parameter], shows: Sequence[str], whose: str) -> tuple[Told, ...]:
    """How what a domain shows is told, in its order.

    Args:
        parameters: that its environment declares.
        shows: names, each with a form of its own if it is to be `name:form`; of a text, with a
            model of sentences if it is to be `name:text=folder`.
        whose: the environment's name, for the error.

    Raises:
        HeadstartError: there is no such parameter, form or model, or it cannot be told so.
    """
    found = [_told(parameters, item, whose) for item in shows]
    for one in found:
        if [other.name for other in found].count(one.name) > 1:
            raise HeadstartError(f"{whose} is to show {one.name} twice: once is enough")
    return tuple(found)


def _told(parameters: Mapping[str, Parameter], item: str, whose: str) -> Told:
    asked, equals, model = item.partition("=")
    name, _, form = asked.rpartition(":")
    if _meant(parameters, item):
        name, form, model = item, "", ""
    elif not _meant(parameters, name):
        raise unknown(f"parameter of {whose} to show", item, parameters)
    elif form not in FORMS:
        raise unknown(f"form of {name}", form, FORMS)
    elif equals and not (model and form == "text"):
        raise HeadstartError(
            f"{item!r} names no model of sentences: a text may have one, as {name}:text=folder, "
            "and no other form has"
        )
    meant = _meant(parameters, name)
    every = list(meant.values())
    form = form or every[0].form
    low, high = float(min(p.low for p in every)), float(max(p.high for p in every))
    texts = tuple(dict.fromkeys(text for p in every for text in p.texts))
    if form == "one-hot" and not (every[0].integer and high - low < MOST_CHOICES):
        raise HeadstartError(
            f"{whose}.{name} is not one of a few whole numbers, so it cannot be shown as one-hot: "
            f"show it as {name}:number"
        )
    if form == "text" and not texts:
        raise HeadstartError(
            f"{whose}.{name} has no texts: give the tasks of a mixture a text each, or show it as "
            f"{name}:number"
        )
    of = tuple((p.task, full) for full, p in meant.items() if p.task is not None)
    return Told(name, form, low, high, texts, of, model, size_of(model))


def _meant(parameters: Mapping[str, Parameter], name: str) -> dict[str, Parameter]:
    """Which parameters a domain means: the one of this name, or those that tasks of a mixture call
    so."""
    if name in parameters:
        return {name: parameters[name]}
    return {
        full: p
        for full, p in parameters.items()
        if p.task is not None and full.rpartition(".")[2] == name
    }


def shown(
    parameters: Mapping[str, Parameter],
    by_group: Mapping[str, tuple[Told, ...]],
    values: Any,
    xp: Any = np,
) -> dict[str, Any]:
    """The groups `[rows, numbers]` that a domain adds to what is observed.

    Args:
        parameters: that its environment declares, in the order of the values.
        by_group: how they are told, by the name of the group.
        values: `[rows, parameters]`.
        xp: NumPy, or JAX's.
    """
    column = {name: values[:, i] for i, name in enumerate(parameters)}

    def numbers(one: Told) -> Any:
        if not one.of:
            return one(column[one.name], xp)
        found = 0.0
        for task, name in one.of:
            here = (column[TASK] == task)[:, None]
            found = found + xp.where(here, one(column[name], xp), 0.0)
        return found

    return {
        group: xp.concatenate([numbers(one) for one in told], axis=1)
        for group, told in by_group.items()
    }
