"""Content-addressed files: a payload is stored once, under its SHA-256."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, TypeVar, cast

from royalty.infra.errors import UserError
from royalty.infra.stores.private import umask


class StoreError(UserError, OSError):
    """A store cannot be used; the message gives the rule, the cause and the remedy."""


class MissingArtifact(StoreError):
    """A store has no file of this digest."""


class ChangedArtifact(StoreError):
    """The content of a file does not have the digest that the file is named by.

    Attributes:
        now: SHA-256 of the content.
    """

    def __init__(self, message: str, now: str) -> None:
        super().__init__(message)
        self.now = now

    def __reduce__(self) -> tuple[type[ChangedArtifact], tuple[str, str]]:
        return type(self), (str(self), self.now)


Item = TypeVar("Item")
Result = TypeVar("Result")

PARTIAL = ".partial-"
"""The start of the names of files and folders that are being written."""
ABANDONED_AFTER = 24 * 3600
"""Seconds after which what nobody holds is abandoned."""
REMOTE = "royalty.infra.stores.remote_artifacts"
"""Imported by its name, so that keys of stages do not depend on the versions of S3 packages: they change no result."""


WRITERS = 8
"""Files that are written at a time: the disk, and not the processor, takes most of the time."""


@lru_cache
def open_artifacts(home: Path, address: str) -> ArtifactStore:
    """The artifacts of a home: in its folder `artifacts`, or at an address `s3://BUCKET/PREFIX`.

    Raises:
        StoreError: the packages of the extra `s3` are not installed.
    """
    if not address:
        return ArtifactStore(home / "artifacts")
    try:
        remote = import_module(REMOTE)
    except ImportError as missing:
        raise StoreError(
            f"ROYALTY_ARTIFACTS={address} needs packages that are not installed ({missing}); run `pip install "
            "'royalty[s3]'`, or unset ROYALTY_ARTIFACTS to keep artifacts in ROYALTY_HOME"
        ) from missing
    return cast(ArtifactStore, remote.RemoteArtifactStore(home / "cache" / "artifacts", address))


class ArtifactStore:
    """Files `root/ab/abcd...`; no file is ever partially written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Check, before any work, that the store can be written and read.

        Raises:
            StoreError: it cannot.
        """
        write_whole(self.root / ".writable", b"")
        (self.root / ".writable").unlink(missing_ok=True)

    def holds(self, digest: str) -> bool:
        """Whether the store has a file of this digest; its content is not verified."""
        return self.path(digest).exists()

    def held(self, digests: Iterable[str]) -> set[str]:
        """The digests that the store has files of."""
        return {digest for digest in digests if self.holds(digest)}

    def put(self, payload: bytes) -> str:
        """Store a payload and return its digest. Storing it again writes nothing."""
        digest = hashlib.sha256(payload).hexdigest()
        path = self.path(digest)
        if not path.exists():
            write_whole(path, payload)
        return digest

    def put_all(self, files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
        """Store payloads, several at a time, and return their digests by the names that they are given with.

        Only some of the payloads are in memory at a time.
        """
        return dict(_several_at_once(lambda file: (file[0], self.put(file[1])), files))

    def put_pieces(self, pieces: Iterable[bytes]) -> str:
        """Store a payload that arrives in pieces, without holding all of it in memory; return its digest.

        Raises:
            StoreError: the folder cannot be written or the disk is full.
        """
        digest = hashlib.sha256()
        with partial(self.root / "whole") as (stream, temporary):
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
        if (now := hashlib.sha256(payload).hexdigest()) != digest:
            raise self._changed(digest, now)
        return payload

    def verified(self, digest: str) -> Path:
        """The file of a digest, verified without loading it into memory, for callers that map the file.

        Raises:
            StoreError: as for `get`.
        """
        path = self._present(digest)
        if (now := digest_of_file(path)) != digest:
            raise self._changed(digest, now)
        return path

    def audited(self, digest: str) -> Path:
        """The file of a digest, verified as the store has it now, whatever copies of it this machine keeps.

        Raises:
            StoreError: as for `get`.
        """
        return self.verified(digest)

    def _present(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.exists():
            raise self._missing(digest)
        return path

    def _missing(self, digest: str) -> MissingArtifact:
        return MissingArtifact(f"artifact {digest} is not in {self.place}; was part of the store deleted? Restore it")

    def _changed(self, digest: str, now: str) -> ChangedArtifact:
        return ChangedArtifact(
            f"artifact {self.address(digest)} has changed since it was written; restore it, or start again with "
            "another ROYALTY_HOME",
            now,
        )

    @property
    def place(self) -> str:
        """Location of the store, for messages."""
        return str(self.root)

    def address(self, digest: str) -> str:
        """Location of the file of a digest, for messages."""
        return f"{self.place}/{name_of(digest)}"

    def path(self, digest: str) -> Path:
        """The file of a digest on this machine, which may be missing."""
        return self.root / name_of(digest)


def name_of(digest: str) -> str:
    """Name of the file of a digest in every store."""
    return f"{digest[:2]}/{digest}"


def digest_of_file(path: Path) -> str:
    """SHA-256 of the content of a file, read without loading it into memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file atomically: readers see either the complete file or none, also after a crash.

    Raises:
        StoreError: the folder cannot be written or the disk is full.
    """
    with partial(path) as (stream, temporary):
        stream.write(payload)
        stream.flush()
        os.fsync(stream.fileno())
        temporary.replace(path)


def write_changed(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write the files that are not there yet as they are given, several at a time: the disk takes most of the time.

    Only some of the payloads are in memory at a time.

    Raises:
        StoreError: as for `write_whole`.
    """
    for _ in _several_at_once(_write_changed, files):
        pass


def _write_changed(file: tuple[Path, bytes]) -> None:
    path, payload = file
    if not (path.is_file() and path.read_bytes() == payload):
        write_whole(path, payload)


def _several_at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in the order of the items, which are taken one by one as others are finished.

    `Executor.map` takes all items at once.
    """
    started: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for item in items:
            started.append(pool.submit(function, item))
            if len(started) > 2 * WRITERS:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()


@contextmanager
def partial(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A temporary file in the folder of a path, to be written and moved to the path; otherwise removed at the end."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        while temporary is None:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PARTIAL, delete=False) as stream:
                if _held(stream.fileno(), Path(stream.name)):
                    temporary = Path(stream.name)
                    os.fchmod(stream.fileno(), 0o666 & ~umask(path.parent))
                    yield stream, temporary
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free some space, or set ROYALTY_HOME to a writable folder; "
            "finished work is kept, and the next run resumes from there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in another one, which is removed at the end, unless it was moved."""
    remove_abandoned(parent)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=PARTIAL))  # too young for another process to remove
    held = os.open(temporary, os.O_RDONLY)
    try:
        _held(held, temporary)
        yield temporary
    finally:
        os.close(held)
        shutil.rmtree(temporary, ignore_errors=True)


@cache
def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder, before this process writes there for the first time.

    A process locks what it writes. The kernel ends the lock with the process, however it ends. Locks of other machines
    are not seen on every shared folder, so what was written to within a day stays.
    """
    for path in folder.glob(f"{PARTIAL}*"):
        with suppress(OSError):  # it was finished meanwhile, or is another user's
            if time.time() - path.lstat().st_mtime < ABANDONED_AFTER:
                continue
            stream = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if not _held(stream, path, without_locks=False):
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(stream)


def _held(stream: int, path: Path, *, without_locks: bool = True) -> bool:
    """Lock an open file or folder; False if another process has locked it, or it is no longer at this path.

    Args:
        without_locks: what to say where the file system has no locks.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without_locks
    try:
        return path.stat().st_ino == os.fstat(stream).st_ino
    except FileNotFoundError:
        return False
