"""Content-addressed files: a payload is stored once, under its SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class StoreError(OSError):
    """A store cannot be used; the message gives the rule, the cause and the remedy."""


class ArtifactStore:
    """Files under `root/ab/abcd...`; a file is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, payload: bytes) -> str:
        """Store a payload; returns its digest. Storing it again writes nothing."""
        digest = hashlib.sha256(payload).hexdigest()
        path = self.path(digest)
        if not path.exists():
            write_whole(path, payload)
        return digest

    def put_pieces(self, pieces: Iterable[bytes]) -> str:
        """Store a payload that comes in pieces, and is never in memory as a whole; returns its digest.

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
            StoreError: it is missing, or its content no longer has this digest.
        """
        payload = self._present(digest).read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            raise self._changed(digest)
        return payload

    def verified(self, digest: str) -> Path:
        """The file of a digest, whose content was compared with it piece by piece: to be mapped rather than read.

        Raises:
            StoreError: as `get`.
        """
        path = self._present(digest)
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise self._changed(digest)
        return path

    def _present(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.exists():
            raise StoreError(f"artifact {digest} is not in {self.root}; was a part of the store deleted?")
        return path

    def _changed(self, digest: str) -> StoreError:
        return StoreError(
            f"artifact {self.path(digest)} has changed since it was written; restore it, or start anew in another "
            "ROYALTY_HOME"
        )

    def path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the whole of it or nothing.

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
    """A file beside a path, to be written and moved there; gone at the end if it was not."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as stream:
            temporary = Path(stream.name)
            yield stream, temporary
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free some space or set ROYALTY_HOME to a folder that can be "
            "written; what is finished is kept and the next run goes on from there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
