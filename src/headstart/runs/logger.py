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
        HeadstartError: the log is damaged, or not the one that the run ended with.
    """
    log = folder / "log.jsonl"
    return [row for _, row in _logged(log, records.whole(log))]


def _logged(log: Path, data: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """Each line that was written to its end, and the row that it holds: a full disk or a kill may
    have cut the last line short."""
    lines = [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
    try:
        found = [(line, json.loads(line)) for line in lines]
    except (ValueError, RecursionError) as error:
        raise HeadstartError(f"{log} is damaged: {error}") from None
    return [(line, records.fitted(row, dict[str, Any], str(log))) for line, row in found]


def cut_to_pretraining(folder: Path) -> None:
    """Drop what adaptation wrote: it writes its own part anew."""
    log = folder / "log.jsonl"
    if log.exists():
        logged = _logged(log, log.read_bytes())
        kept = [line for line, row in logged if row.get("phase") == "pretrain"]
        write_atomically(log, b"".join(kept))
