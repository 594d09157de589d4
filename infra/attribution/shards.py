"""Files of an index: shards that never change, and a manifest that names those that count.

    folder/index.json            the manifest, replaced whole
    folder/codebook-DIGEST       what codes are made by
    folder/mean-DIGEST           mean of the vectors, from which directions are taken
    folder/removed-DIGEST        numbers of removed items
    folder/compared-DIGEST       what each item was compared with to find near copies
    folder/earliest-DIGEST       number of the earliest near copy of each item
    folder/shard-NUMBER/         vectors, thumbnails, lists (codes) and items.arrow of a shard

A writer adds files, and then replaces the manifest, which is the commit: a crash, a full disk or an error before it
leaves the index as it was, and the next writer deletes what is not in the manifest. Readers map the files that their
manifest names; those stay readable until they are closed, also after they were deleted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import faiss
import numpy as np
import pyarrow as pa

from royalty.infra.processes.locks import alone
from royalty.infra.stores.artifacts import PARTIAL, StoreError, write_whole

MANIFEST = "index.json"
BUILDING = ".building-"
"""The start of the names of shards that are being written, by the one process that has the lock of the index."""
FORMAT = 3
"""Version of the layout of files."""
VECTORS, LISTS, ITEMS, THUMBNAILS = "vectors", "lists", "items.arrow", "thumbnails"
PAYLOADS = ("codebook", "mean", "removed", "compared", "earliest")
"""Files that a manifest names by their digests."""
STORED = np.dtype("<f2")
SIDE = 32
"""Of a thumbnail, in pixels."""
STATED = (
    "source", "author", "creator", "training_mining", "license_terms", "consent", "consent_date", "obtained_from"
)  # fmt: skip
"""What a source states of an item beside `COLUMNS`; indexes of earlier versions have none of it."""
COLUMNS = ("id", "contributor", "license", "file_name", "date")


@dataclass(frozen=True)
class ShardFiles:
    """A shard as the manifest has it: its folder, number of items, and the sizes and digests of its files."""

    name: str
    items: int
    files: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Manifest:
    """What counts of the files in a folder.

    Attributes:
        description: what the index is of, by whom it was built, and with which settings; JSON.
        dimensions: length of a vector.
        codebook, mean, removed, compared, earliest: digests; None if there is no such file.
        generation: number of commits.
    """

    description: Mapping[str, Any]
    dimensions: int
    codebook: str | None = None
    mean: str | None = None
    removed: str | None = None
    compared: str | None = None
    earliest: str | None = None
    shards: tuple[ShardFiles, ...] = ()
    generation: int = 0
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Items in the shards, with those that were removed."""
        return sum(shard.items for shard in self.shards)


@dataclass(frozen=True)
class OpenShard:
    """The mapped files of a shard.

    Attributes:
        vectors: float16, `(items, dimensions)`, read from disk on access.
        lists: a faiss index whose lists stay on disk; None without a codebook.
        items: a row for each item, with `COLUMNS` and `STATED`.
        thumbnails: uint8, `(items, 32, 32)`, read from disk on access; None without images.
    """

    vectors: np.ndarray
    lists: Any
    items: pa.Table
    thumbnails: np.ndarray | None = None
    _map: mmap.mmap | None = field(default=None, repr=False)

    def release(self) -> None:
        """Let the system take back the memory of pages that were read; they remain in its cache if it has room."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


class ShardStore:
    """The index in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        return (self.folder / MANIFEST).is_file()

    def manifest(self) -> Manifest:
        """What counts now.

        Raises:
            StoreError: there is no index, or one of another layout, or files of it are missing or cut off.
        """
        file = self.folder / MANIFEST
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"there is no index in {self.folder}; build one with `royalty index build`") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"the index {file} cannot be read ({error}); build it again") from error
        if content.get("format") != FORMAT:
            raise StoreError(
                f"this version reads indexes of layout {FORMAT}, and {self.folder} has layout "
                f"{content.get('format')!r}; build it again with `royalty index build`"
            )
        shards = tuple(
            ShardFiles(shard["name"], shard["items"], {name: tuple(file) for name, file in shard["files"].items()})
            for shard in content.pop("shards")
        )
        manifest = Manifest(**content, shards=shards)
        self._check_sizes(manifest)
        return manifest

    def codebook(self, manifest: Manifest) -> bytes | None:
        return None if manifest.codebook is None else self._payload("codebook", manifest.codebook)

    def mean(self, manifest: Manifest) -> np.ndarray | None:
        """From which directions are taken, float32, `(dimensions,)`; None if from zero."""
        return None if manifest.mean is None else np.frombuffer(self._payload("mean", manifest.mean), "<f4")

    def compared(self, manifest: Manifest) -> bytes | None:
        return None if manifest.compared is None else self._payload("compared", manifest.compared)

    def earliest(self, manifest: Manifest) -> np.ndarray | None:
        """The number of the earliest near copy of each item, int64; None if near copies are not grouped."""
        if manifest.earliest is None:
            return None
        return np.frombuffer(self._payload("earliest", manifest.earliest), "<i4").astype(np.int64)

    def removed(self, manifest: Manifest) -> np.ndarray:
        """Ascending numbers of removed items, int64."""
        if manifest.removed is None:
            return np.empty(0, np.int64)
        return np.frombuffer(self._payload("removed", manifest.removed), "<i8").astype(np.int64)

    def open(self, manifest: Manifest) -> list[OpenShard]:
        """Map the files of all shards."""
        return [self._open_shard(shard, manifest.dimensions) for shard in manifest.shards]

    def problems(self, manifest: Manifest) -> list[str]:
        """Hash all files again; returns those that have changed since they were written."""
        return [
            f"{self.folder / shard.name / name} has changed since it was written"
            for shard in manifest.shards
            for name, (_, digest) in shard.files.items()
            if _digest(self.folder / shard.name / name) != digest
        ]

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Let this process, and no other, change the index.

        Raises:
            StoreError: another process is changing it; or the disk is full, and the index is as it was before.
        """
        with alone(self.folder / "writing.lock", wait=False) as locked:
            if not locked:
                raise StoreError(
                    f"one process at a time changes an index, and another is changing {self.folder}; try again when it "
                    "has finished"
                )
            writer = Writer(self)
            writer.clean()
            try:
                yield writer
            except OSError as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreError(
                    f"cannot write the index {self.folder}: {error.strerror}. Free some space; the index is as it was "
                    "before"
                ) from error
            finally:
                writer.clean()

    def _payload(self, kind: str, digest: str) -> bytes:
        file = self.folder / f"{kind}-{digest}"
        payload = file.read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            raise StoreError(f"{file} has changed since it was written; build the index again")
        return payload

    def _check_sizes(self, manifest: Manifest) -> None:
        named: list[tuple[Path, int | None]] = [
            (self.folder / shard.name / name, size)
            for shard in manifest.shards
            for name, (size, _) in shard.files.items()
        ]
        named += [(self.folder / f"{kind}-{digest}", None) for kind in PAYLOADS if (digest := getattr(manifest, kind))]
        for file, size in named:
            if not file.is_file() or (size is not None and file.stat().st_size != size):
                raise StoreError(f"the index needs {file} whole, and it is missing or cut off; build the index again")

    def _open_shard(self, shard: ShardFiles, dimensions: int) -> OpenShard:
        folder = self.folder / shard.name
        with (folder / VECTORS).open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.madvise(mmap.MADV_RANDOM)  # rows are read one by one; reading ahead would fetch what nobody asked for
        vectors = np.frombuffer(mapped, STORED).reshape(shard.items, dimensions)
        lists = _mapped_lists(folder / LISTS) if LISTS in shard.files else None
        with pa.memory_map(str(folder / ITEMS)) as source:
            items = pa.ipc.open_file(source).read_all()
        for name in STATED:
            if name not in items.column_names:
                items = items.append_column(name, pa.array([""] * len(items), pa.string()))
        small = None
        if THUMBNAILS in shard.files:
            small = np.memmap(folder / THUMBNAILS, np.uint8, "r").reshape(shard.items, SIDE, SIDE)
        return OpenShard(vectors, lists, items, small, mapped)


class Writer:
    """Adds files to an index, and commits them."""

    def __init__(self, store: ShardStore) -> None:
        self.store = store
        self.folder = store.folder

    def keep(self, kind: str, payload: bytes) -> str:
        """Write a payload of one of the kinds of `PAYLOADS`, and return its digest."""
        digest = hashlib.sha256(payload).hexdigest()
        write_whole(self.folder / f"{kind}-{digest}", payload)
        return digest

    def add_shard(
        self,
        blocks: Iterable[np.ndarray],
        items: pa.Table,
        encode: Callable[[Iterable[np.ndarray]], Any] | None,
        thumbnails: Iterable[np.ndarray] | None = None,
    ) -> ShardFiles:
        """Write a shard; it counts once a manifest names it.

        Args:
            blocks: vectors, float16, `(n, dimensions)` each, together a row for each item.
            items: a row of metadata for each item.
            encode: from blocks of vectors, which it reads once and to their end, to lists; None writes no lists.
            thumbnails: uint8, `(n, 32, 32)` each, together a row for each item; None writes none.
        """
        temporary = Path(tempfile.mkdtemp(prefix=BUILDING, dir=self.folder))
        with (temporary / VECTORS).open("wb") as stream:
            kept = _kept(blocks, stream)
            lists = None if encode is None else encode(kept)
            for _ in kept:  # without lists, nothing has read them yet
                pass
        with pa.ipc.new_file(str(temporary / ITEMS), items.schema) as sink:
            sink.write_table(items.combine_chunks())
        if lists is not None:
            _write_lists(lists, temporary / LISTS)
        if thumbnails is not None:
            with (temporary / THUMBNAILS).open("wb") as stream:
                stream.writelines(np.ascontiguousarray(block).data for block in thumbnails)
        files = {}
        for file in sorted(temporary.iterdir()):
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
                files[file.name] = (file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
        name = f"shard-{temporary.name.removeprefix(BUILDING)}"
        temporary.rename(self.folder / name)
        return ShardFiles(name, len(items), files)

    def commit(self, manifest: Manifest) -> Manifest:
        """Make a manifest the one that counts."""
        committed = replace(manifest, generation=manifest.generation + 1)
        write_whole(self.folder / MANIFEST, json.dumps(asdict(committed), indent=1, sort_keys=True).encode())
        return committed

    def clean(self) -> None:
        """Delete what the manifest does not name: what an unfinished writer left, or a compaction replaced."""
        kept = set[str]()
        if self.store.exists:
            try:
                manifest = self.store.manifest()
            except StoreError:  # of a damaged index nothing is deleted; whoever opens it is told
                return
            kept = {shard.name for shard in manifest.shards}
            kept |= {f"{kind}-{getattr(manifest, kind)}" for kind in PAYLOADS}
        written = (PARTIAL, BUILDING, "shard-", *(f"{kind}-" for kind in PAYLOADS))
        for path in self.folder.iterdir():
            if path.name not in kept and path.name.startswith(written):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _kept(blocks: Iterable[np.ndarray], stream: IO[bytes]) -> Iterator[np.ndarray]:
    """The blocks, each after it was written."""
    for block in blocks:
        stream.write(np.ascontiguousarray(block, STORED).data)
        yield block


def _mapped_lists(file: Path) -> Any:
    """A faiss index whose lists are read from disk when they are searched."""
    index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    on_disk: Any = faiss.downcast_InvertedLists(index.invlists)
    on_disk.prefetch_nthread = 0  # otherwise every search starts 32 threads, which take longer than it
    return index


def _write_lists(lists: Any, file: Path) -> None:
    try:
        faiss.write_index(lists, str(file))
    except RuntimeError as error:  # faiss has no other error for a file that it cannot write
        raise OSError(errno.EIO, f"faiss stopped at {file.name}, as on a full disk") from error


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
