"""The record of one run: its log, its progress, and the checkpoint that it resumes from."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.knowledge import write_atomically

SECONDS_BETWEEN_CHECKPOINTS = 10.0
CHECKPOINT_SHARE = 0.05
"""Of the time, at most, that goes into checkpoints: a memory of images takes long to write."""


Progress = Callable[[str, float, float], None]
"""Told the phase, the steps done and the steps in all."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """What a run has logged."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def silent(phase: str, done: float, total: float) -> None:
    pass


@dataclass
class Journal:
    """Writes into `folder`, or nowhere if there is none."""

    folder: Path | None = None
    progress: Progress = silent
    resumable: bool = True
    """Whether checkpoints are kept; a phase that is repeated from its start needs none."""
    phase: str = "pretrain"
    """What training in the source is called in the log."""
    meters: Mapping[str, Any] = field(default_factory=dict)
    """What has been taken so far, by handle; saved and restored with every checkpoint."""
    _saved: float = field(default_factory=time.monotonic)
    _save_took: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _found: dict[str, np.ndarray] | None = None

    @property
    def seconds(self) -> float:
        """Time spent, that of earlier processes up to the checkpoint included."""
        return time.monotonic() - self._began

    def log(self, **row: Any) -> None:
        """Append one object to `log.jsonl`."""
        if self.folder is not None:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        wait = max(SECONDS_BETWEEN_CHECKPOINTS, self._save_took / CHECKPOINT_SHARE)
        waited = time.monotonic() - self._saved >= wait
        return self.folder is not None and self.resumable and waited

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the checkpoint; the log up to here belongs to it."""
        from safetensors.numpy import save

        if self.folder is None:
            return
        began = time.monotonic()
        log = self.folder / "log.jsonl"
        size = np.array(0)
        if log.exists():
            with log.open("ab") as file:
                os.fsync(file.fileno())  # before the checkpoint that counts on it
                size = np.array(file.tell())
        (self.folder / "checkpoint").mkdir(exist_ok=True)
        own = {"log_size": size, "seconds": np.array(self.seconds)}
        for name, meter in self.meters.items():
            own |= {f"meter/{name}/{k}": np.array(count) for k, count in meter.counts().items()}
        data = {n: np.array(a, order="C") for n, a in {**arrays, **own}.items()}
        write_atomically(self.folder / "checkpoint" / "state.safetensors", save(data))
        self._saved = time.monotonic()
        self._save_took = self._saved - began

    def load(self) -> dict[str, np.ndarray] | None:
        """The checkpoint that an earlier process left; nothing if there is none.

        The first call cuts the log back to it: what comes after is done, and logged, again.
        """
        from safetensors.numpy import load

        if self.folder is None or not self.resumable or self._found is not None:
            return self._found or None
        log = self.folder / "log.jsonl"
        checkpoint = self.folder / "checkpoint" / "state.safetensors"
        self._found, size = {}, 0
        if checkpoint.exists():
            self._found = load(checkpoint.read_bytes())
            self._began = time.monotonic() - float(self._found.pop("seconds"))
            size = int(self._found.pop("log_size"))
            for name, meter in self.meters.items():
                for count in meter.counts():
                    setattr(meter, count, int(self._found.pop(f"meter/{name}/{count}")))
        if log.exists():
            with log.open("r+b") as file:
                file.truncate(size)
        return self._found or None
