"""Content-addressed files: a payload is stored once, under its SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from royalty.infra.errors import UserError


class StoreError(UserError, OSError):
    """A store cannot be used; the message gives the rule, the cause and the remedy."""


class ArtifactStore:
    """Files `root/ab/abcd...`; no file is ever partially written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, payload: bytes) -> str:
        """Store a payload and return its digest. Storing it again writes nothing."""
        digest = hashlib.sha256(payload).hexdigest()
        path = self.path(digest)
        if not path.exists():
            write_whole(path, payload)
        return digest

    def put_pieces(self, pieces: Iterable[bytes]) -> str:
        """Store a payload that arrives in pieces, without holding all of it in memory; return its digest.

        Raises:
            StoreError: the folder cannot be written or the disk is full.
        """
        digest = hashlib.sha256()
        with _partial(self.root / "whole") as (stream, temporary):
            for piece in pieces:
                digest.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
            path = self.path(digest.hexdigest())
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)
        return digest.hexdigest()

    def get(self, digest: str) -> bytes:
        """The payload of a digest, verified.

        Raises:
            StoreError: the file is missing, or its content does not have this digest.
        """
        payload = self._present(digest).read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            raise self._changed(digest)
        return payload

    def verified(self, digest: str) -> Path:
        """The file of a digest, verified without loading it into memory, for callers that map the file.

        Raises:
            StoreError: as for `get`.
        """
        path = self._present(digest)
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise self._changed(digest)
        return path

    def _present(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.exists():
            raise StoreError(f"artifact {digest} is not in {self.root}; was part of the store deleted? Restore it")
        return path

    def _changed(self, digest: str) -> StoreError:
        return StoreError(
            f"artifact {self.path(digest)} has changed since it was written; restore it, or start again with another "
            "ROYALTY_HOME"
        )

    def path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file atomically: readers see either the complete file or none, also after a crash.

    Raises:
        StoreError: the folder cannot be written or the disk is full.
    """
    with _partial(path) as (stream, temporary):
        stream.write(payload)
        stream.flush()
        os.fsync(stream.fileno())
        temporary.replace(path)


@contextmanager
def _partial(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A temporary file in the folder of a path, to be written and moved to the path; otherwise removed at the end."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as stream:
            temporary = Path(stream.name)
            yield stream, temporary
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free some space, or set ROYALTY_HOME to a writable folder; "
            "finished work is kept, and the next run resumes from there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
