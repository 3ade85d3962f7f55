"""The record of a run: one object a line in `log.jsonl`, and wherever else it is to be sent."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from headstart import records
from headstart.errors import HeadstartError
from headstart.knowledge import write_atomically
from headstart.registry import Registry

ShowProgress = Callable[[str, float, float], None]
"""Told the phase, what is done and what there is in all."""


def silent(phase: str, done: float, total: float) -> None:
    """Shows nothing."""


@runtime_checkable
class Sink(Protocol):
    """Where rows go beside the log; made with the run's folder."""

    def write(self, row: dict[str, Any]) -> None: ...


SINKS = Registry("sink", {}, needs=("write",))


class Logger:
    """Appends to `folder/log.jsonl`, or nowhere if there is no folder.

    Args:
        folder: the run's.
        sinks: by name or `module:Class`; each is told every row as well.
        check: called before each row is written.
    """

    def __init__(
        self,
        folder: Path | None = None,
        sinks: Sequence[str] = (),
        check: Callable[[], None] = lambda: None,
    ):
        self.folder, self.check = folder, check
        self._sinks: list[Sink] = [SINKS.find(name)(folder) for name in sinks]

    def log(self, row: dict[str, Any]) -> None:
        """Append one object."""
        self.check()
        if self.folder is not None:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        for sink in self._sinks:
            sink.write(row)


def rows(folder: Path) -> list[dict[str, Any]]:
    """What a run has logged.

    Raises:
        HeadstartError: the log is damaged.
    """
    return [row for _, row in _logged(folder / "log.jsonl")]


def _logged(log: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Each line, and the row that it holds."""
    try:
        found = [(line, json.loads(line)) for line in _lines(log)]
    except OSError as error:
        raise HeadstartError(f"cannot read {log}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HeadstartError(f"{log} is damaged: {error}") from None
    return [(line, records.fitted(row, dict[str, Any], str(log))) for line, row in found]


def cut_to_pretraining(folder: Path) -> None:
    """Drop what adaptation wrote: it writes its own part anew."""
    log = folder / "log.jsonl"
    if log.exists():
        kept = [line for line, row in _logged(log) if row.get("phase") == "pretrain"]
        write_atomically(log, b"".join(kept))


def _lines(log: Path) -> list[bytes]:
    """What was written to its end: a full disk or a kill may have cut the last line short."""
    return [line for line in log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
