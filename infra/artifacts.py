"""Content-addressed files: a payload is stored once, under its SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


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

    def get(self, digest: str) -> bytes:
        """The payload of a digest, verified.

        Raises:
            StoreError: it is missing, or its content no longer has this digest.
        """
        path = self.path(digest)
        if not path.exists():
            raise StoreError(f"artifact {digest} is not in {self.root}; was a part of the store deleted?")
        payload = path.read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            raise StoreError(
                f"artifact {path} has changed since it was written; restore it, or start anew in another ROYALTY_HOME"
            )
        return payload

    def path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the whole of it or nothing.

    Raises:
        StoreError: the folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free some space or set ROYALTY_HOME to a folder that can be "
            "written; what is finished is kept and the next run goes on from there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
