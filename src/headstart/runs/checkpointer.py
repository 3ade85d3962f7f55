"""What a killed run resumes from: arrays, states of environments, meters, and the log's length."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from headstart.envs.vector_env import AbstractVectorEnv, VectorEnv
from headstart.errors import HeadstartError
from headstart.knowledge import grouped, joined, write_atomically
from headstart.runs.logger import Logger

CHECKPOINT = Path("checkpoint", "state")
"""The SHA-256 of what follows, and what follows: safetensors."""
UNLIKE = (
    "{} did other than before when its episodes were played again from their seeds, which is how "
    "it is resumed: the run went on, and is not the one that it would have been"
)
DIGEST = hashlib.sha256().digest_size
SECONDS_BETWEEN_CHECKPOINTS = 10.0
CHECKPOINT_SHARE = 0.05
"""Of the time, at most, that goes into checkpoints: a memory of images takes long to write."""


class Checkpointer:
    """Keeps `folder/checkpoint/`, or nothing if there is no folder.

    Args:
        folder: the run's.
        meters: what has been taken so far, by handle; saved and restored with every checkpoint.
        logger: where what a person should know is written; its check is called before each.
    """

    def __init__(
        self,
        folder: Path | None = None,
        meters: Mapping[str, Any] | None = None,
        logger: Logger | None = None,
    ):
        self._folder, self._meters = folder, meters or {}
        self._logger = Logger() if logger is None else logger
        self._inner: WeakKeyDictionary[Any, AbstractVectorEnv] = WeakKeyDictionary()
        self._saved = self._began = time.monotonic()
        self._save_took = 0.0
        self._found: dict[str, dict[str, np.ndarray]] | None = None

    @property
    def seconds(self) -> float:
        """Time spent, that of earlier processes up to the checkpoint included."""
        return time.monotonic() - self._began

    def watch(self, handle: VectorEnv, inner: AbstractVectorEnv) -> None:
        """Know what stands behind a handle, whose state is saved in its place."""
        self._inner[handle] = inner

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        wait = max(SECONDS_BETWEEN_CHECKPOINTS, self._save_took / CHECKPOINT_SHARE)
        return self._folder is not None and time.monotonic() - self._saved >= wait

    def save(self, arrays: Mapping[str, np.ndarray], envs: Sequence[VectorEnv]) -> None:
        """Replace the checkpoint; the log up to here belongs to it."""
        from safetensors.numpy import save

        if self._folder is None:
            return
        self._logger.check()
        self._found = self._found or {}  # what was saved here is nothing to go back to
        began = time.monotonic()
        log = self._folder / "log.jsonl"
        size = 0
        if log.exists():
            with log.open("ab") as file:
                os.fsync(file.fileno())  # before the checkpoint that counts on it
                size = file.tell()
        (self._folder / "checkpoint").mkdir(exist_ok=True)
        own = {"log_size": size, "seconds": self.seconds}
        for name, meter in self._meters.items():
            own |= {f"{name}/{count}": taken for count, taken in meter.counts().items()}
        groups = {"arrays": arrays, "own": own}
        groups |= {f"env{i}": self._inner[handle].state() for i, handle in enumerate(envs)}
        data = {name: np.array(a, order="C") for name, a in joined(groups).items()}
        state = save(data)
        write_atomically(self._folder / CHECKPOINT, hashlib.sha256(state).digest() + state)
        self._saved = time.monotonic()
        self._save_took = self._saved - began

    def load(self) -> dict[str, np.ndarray] | None:
        """The checkpoint that an earlier process left; nothing if there is none.

        The first call cuts the log back to it: what comes after is done, and logged, again.

        Raises:
            HeadstartError: it is damaged.
        """
        from safetensors.numpy import load

        if self._folder is None:
            return None
        if self._found is None:
            log = self._folder / "log.jsonl"
            checkpoint = self._folder / CHECKPOINT
            self._found, size = {}, 0
            if checkpoint.exists():
                data = checkpoint.read_bytes()
                digest, state = data[:DIGEST], data[DIGEST:]
                if hashlib.sha256(state).digest() != digest:
                    raise HeadstartError(
                        f"{checkpoint} is damaged: remove it, and pre-training begins again"
                    )
                self._found = grouped(load(state))
                own = self._found.pop("own")
                self._began = time.monotonic() - float(own["seconds"])
                size = int(own["log_size"])
                for name, meter in self._meters.items():
                    for count in meter.counts():
                        setattr(meter, count, int(own[f"{name}/{count}"]))
            if log.exists():
                with log.open("r+b") as file:
                    file.truncate(size)
        return self._found.get("arrays")

    def restore(self, envs: Sequence[VectorEnv]) -> None:
        """Put environments, in the order in which they were saved, back into their states."""
        for i, handle in enumerate(envs):
            inner = self._inner[handle]
            inner.restore((self._found or {})[f"env{i}"])
            if not inner.alike:
                self._logger.log(
                    {"phase": "pretrain", "notice": UNLIKE.format(inner.environment.name)}
                )
