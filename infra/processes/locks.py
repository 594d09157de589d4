"""What processes that share a home do one after the other, or leave to each other."""

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
"""Seconds between two looks whether who holds a file has let it go."""


@contextmanager
def alone(file: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a file, and whether it is held. The death of a process, however it dies, ends its hold at once.

    The kernel keeps the hold, and the server of a shared folder does: nothing has to be written down, to be renewed
    or to be found stale. The file goes when it is let go; one that a killed process left is in nobody's way.

    Args:
        wait: until who holds it lets it go; otherwise False is yielded then.

    Raises:
        ProcessFailed: the run was interrupted while it waited.
        StoreError: the folder cannot be written or the disk is full.
    """
    while (stream := _held(file)) is None and wait:
        pause(PATIENCE)
    if stream is None:
        yield False
        return
    with stream:
        try:
            yield True
        finally:
            file.unlink(missing_ok=True)


def _held(file: Path) -> IO[str] | None:
    """The open file, if nobody else holds it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("a")
    except OSError as error:
        raise StoreError(
            f"cannot hold {file}: {error.strerror}. Free some space or set ROYALTY_HOME to a folder that can be "
            "written; what is finished is kept and the next run goes on from there"
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stream
    except (BlockingIOError, FileNotFoundError):  # somebody holds it, or has just removed it
        pass
    stream.close()
    return None
