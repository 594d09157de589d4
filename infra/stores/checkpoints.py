"""The state of a long training, in a file that is there while the training is not finished."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from royalty.infra.stores.artifacts import write_whole

EVERY = 120.0
"""Seconds of training that a kill costs at most."""


class Checkpoint:
    """A folder of one file, which is replaced whole by the next state: it takes the disk of two of them at most.

    Args:
        folder: whose name stands for all that determines the training.
        every: seconds between saves; 0 saves each step, and infinity none.
    """

    def __init__(self, folder: Path, every: float = EVERY) -> None:
        self.folder, self.file, self.every = folder, folder / "state.safetensors", every
        self._saved = time.monotonic()

    def load(self) -> bytes | None:
        """What was saved last, if anything was."""
        return self.file.read_bytes() if self.file.exists() else None

    def due(self) -> bool:
        return time.monotonic() - self._saved >= self.every

    def save(self, state: bytes) -> None:
        """Keep a state in place of the last.

        Raises:
            StoreError: the disk is full or cannot be written.
        """
        for left in self.folder.glob(".partial-*"):
            left.unlink(missing_ok=True)  # of a kill within a save
        write_whole(self.file, state)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Once what was trained is recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)
