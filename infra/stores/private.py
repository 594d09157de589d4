"""Files that other users of the machine may not read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

JOURNALS = ("-wal", "-shm", "-journal")
"""Endings of the files beside a database of SQLite, which it creates with the permissions of the database."""


def umask(folder: Path) -> int:
    """Permissions that files in a folder do not have: others', and the group's unless it may write the folder."""
    return 0o007 if folder.stat().st_mode & stat.S_IWGRP else 0o077


def keep_private(file: Path) -> None:
    """Create a file, empty, before a library does with the permissions of the user's other files.

    If it is there and belongs to this user, its permissions are restricted, with those of a database's journals.

    Raises:
        OSError: the folder cannot be written.
    """
    file = file.resolve()
    mode = 0o666 & ~umask(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    for part in (file, *(file.with_name(file.name + ending) for ending in JOURNALS)):
        with suppress(FileNotFoundError):
            state = part.stat()
            if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) & ~mode:
                part.chmod(stat.S_IMODE(state.st_mode) & mode)
