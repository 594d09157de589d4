"""Locks between processes that share a home."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from royalty.infra.processes.workers import pause
from royalty.infra.stores.artifacts import StoreError

PATIENCE = 0.1
"""Seconds between two attempts to lock a file."""


@contextmanager
def alone(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a file, and yield whether it is locked. The lock ends when the process ends, however it ends.

    The kernel holds the lock, or the server of a shared folder, so locks never have to be renewed and never go stale.
    The file is removed when it is unlocked; a file that a killed process left does no harm.

    Args:
        wait: wait until the file is unlocked; otherwise yield False if another process has locked it.

    Raises:
        ProcessFailed: the run was interrupted while waiting.
        StoreError: the folder cannot be written or the disk is full.
    """
    while (stream := _locked(file)) is None and wait:
        pause(PATIENCE)
    if stream is None:
        yield False
        return
    with stream:
        try:
            yield True
        finally:
            file.unlink(missing_ok=True)


def _locked(file: Path) -> IO[str] | None:
    """The open and locked file; None if another process has locked it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("a")
    except OSError as error:
        raise StoreError(
            f"cannot lock {file}: {error.strerror}. Free some space, or set ROYALTY_HOME to a writable folder; "
            "finished work is kept, and the next run resumes from there"
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stream
    except (BlockingIOError, FileNotFoundError):  # locked or just removed by another process
        pass
    stream.close()
    return None
