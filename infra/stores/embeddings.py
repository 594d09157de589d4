"""Embeddings on disk, by encoder and item, so that no item is embedded twice."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from royalty.infra.stores.artifacts import StoreError, write_whole


class EmbeddingStore:
    """Immutable shards `folder/<digest of the encoder key>/<digest of the shard>.rows`.

    Each call of `add` writes one shard atomically, so several processes may add at once. A store verifies the digest of
    a shard once, by streaming; a look-up then reads only the pages of the requested rows, and keeps no file open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[Path] = set()

    def lookup(self, encoder_key: str, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Look up stored features.

        Returns:
            Whether each ID is stored: bool, `(len(ids),)`; and the features of the stored ones, in that order: float32,
            `(stored, dimensions)`, with 0 dimensions if nothing is stored for the encoder.

        Raises:
            StoreError: a shard has changed since it was written.
        """
        found = self.found(encoder_key, ids)
        return found.stored, found[np.flatnonzero(found.stored)]

    def found(self, encoder_key: str, ids: Sequence[str]) -> FoundRows:
        """Where the features of IDs are, without reading them; the arguments and errors of `lookup`."""
        keys = _encoded(ids)
        files = np.full(len(keys), -1, np.int32)
        positions = np.zeros(len(keys), np.int32)
        paths, width = sorted(self._home(encoder_key).glob("*.rows")), 0
        for number, path in enumerate(paths):
            shard_keys, rows = self._mapped(path)
            width = rows.shape[1]
            missing = np.flatnonzero(files < 0)
            position = np.searchsorted(shard_keys, keys[missing]).clip(max=len(shard_keys) - 1)
            matches = shard_keys[position] == keys[missing]
            files[missing[matches]], positions[missing[matches]] = number, position[matches]
            if (files >= 0).all():
                break
        return FoundRows(self, paths, files, positions, width)

    def add(self, encoder_key: str, ids: Sequence[str], features: np.ndarray) -> None:
        """Store the features, `(len(ids), dimensions)`, of the IDs without stored features. Call it with many IDs.

        Raises:
            ValueError: there is not one row of features for each ID, or the dimensions differ from the stored ones.
            StoreError: the folder cannot be written, or a shard in it has changed.
        """
        if features.ndim != 2 or len(features) != len(ids):
            raise ValueError(f"{len(ids)} IDs need as many rows of features, got an array of shape {features.shape}")
        known = self.found(encoder_key, ids)
        if known.dimensions not in (0, features.shape[1]):
            raise ValueError(
                f"{encoder_key!r} has {known.dimensions} dimensions, got {features.shape[1]}; use another encoder key"
            )
        if known.stored.all():
            return
        fresh = np.flatnonzero(~known.stored)
        unique, first = np.unique(_encoded(ids)[fresh], return_index=True)
        shard = io.BytesIO()
        for array in (features[fresh[first]].astype("<f4"), unique):
            np.lib.format.write_array(shard, array, version=(1, 0), allow_pickle=False)
        payload = shard.getvalue()
        write_whole(self._home(encoder_key) / f"{hashlib.sha256(payload).hexdigest()}.rows", payload)

    def _home(self, encoder_key: str) -> Path:
        return self.folder / hashlib.sha256(encoder_key.encode()).hexdigest()

    def _mapped(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Sorted IDs, `(rows,)`, and features, float32, `(rows, dimensions)`, memory-mapped."""
        with path.open("rb") as stream:
            if path not in self._checked and hashlib.file_digest(stream, "sha256").hexdigest() != path.stem:
                raise StoreError(f"embeddings {path} have changed since they were written; delete the file")
            self._checked.add(path)
            stream.seek(0)
            rows = _next_array(stream)
            return _next_array(stream), rows


@dataclass(frozen=True)
class FoundRows:
    """Stored features, read from disk on access; eight bytes of memory a row.

    Attributes:
        paths: of the shards.
        files: int32, `(rows,)`, place of a row's shard among them; -1 where it is not stored.
        positions: int32, `(rows,)`, in the shard.
        dimensions: 0 if nothing is stored for the encoder.
    """

    store: EmbeddingStore
    paths: Sequence[Path]
    files: np.ndarray
    positions: np.ndarray
    dimensions: int

    @property
    def stored(self) -> np.ndarray:
        """Whether each row is stored, bool, `(rows,)`."""
        known: np.ndarray = self.files >= 0
        return known

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.files), self.dimensions

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Stored rows, float32, `(n, dimensions)`."""
        files, positions = self.files[rows], self.positions[rows]
        features = np.empty((len(files), self.dimensions), np.float32)
        for number in np.unique(files).tolist():
            here = files == number
            features[here] = self.store._mapped(self.paths[number])[1][positions[here]]
        return features


def _encoded(ids: Sequence[str]) -> np.ndarray:
    return np.array([identity.encode() for identity in ids], dtype=np.bytes_)


def _next_array(stream: IO[bytes]) -> np.ndarray:
    """Map the array at the stream's position, and move the position behind it."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    array = np.memmap(stream, dtype=dtype, mode="r", offset=(start := stream.tell()), shape=shape)
    stream.seek(start + array.nbytes)
    return array
