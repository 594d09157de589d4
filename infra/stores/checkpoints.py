"""The saved state of an unfinished long training, in a file that is removed when the training is done."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from royalty.infra.stores.artifacts import write_whole

EVERY = 120.0
"""Maximum seconds of training that are lost when the process is killed."""


class Checkpoint:
    """A folder with one file, which each save replaces atomically; it needs disk space for at most two states.

    Args:
        folder: its name identifies everything that determines the training.
        every: seconds between saves; 0 saves at every step, infinity never.
    """

    def __init__(self, folder: Path, every: float = EVERY) -> None:
        self.folder, self.file, self.every = folder, folder / "state.safetensors", every
        self._saved = time.monotonic()

    def load(self) -> bytes | None:
        """The last saved state, or None."""
        return self.file.read_bytes() if self.file.exists() else None

    def due(self) -> bool:
        return time.monotonic() - self._saved >= self.every

    def save(self, state: bytes) -> None:
        """Replace the saved state.

        Raises:
            StoreError: the disk is full or cannot be written.
        """
        write_whole(self.file, state)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Delete the saved state, once the trained model is recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)
