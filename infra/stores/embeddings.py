"""Embeddings on disk, by encoder and item, so that no item is embedded twice."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
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
        keys = _encoded(ids)
        stored = np.zeros(len(keys), dtype=bool)
        features = np.empty((len(keys), 0), dtype=np.float32)
        for path in sorted(self._home(encoder_key).glob("*.rows")):
            shard_keys, rows = self._mapped(path)
            if not stored.any():
                features = np.empty((len(keys), rows.shape[1]), dtype=np.float32)
            missing = np.flatnonzero(~stored)
            position = np.searchsorted(shard_keys, keys[missing]).clip(max=len(shard_keys) - 1)
            matches = shard_keys[position] == keys[missing]
            features[missing[matches]] = rows[position[matches]]
            stored[missing[matches]] = True
            if stored.all():
                break
        return stored, features[stored]

    def add(self, encoder_key: str, ids: Sequence[str], features: np.ndarray) -> None:
        """Store the features, `(len(ids), dimensions)`, of the IDs without stored features. Call it with many IDs.

        Raises:
            ValueError: there is not one row of features for each ID, or the dimensions differ from the stored ones.
            StoreError: the folder cannot be written, or a shard in it has changed.
        """
        if features.ndim != 2 or len(features) != len(ids):
            raise ValueError(f"{len(ids)} IDs need as many rows of features, got an array of shape {features.shape}")
        stored, known = self.lookup(encoder_key, ids)
        if known.shape[1] not in (0, features.shape[1]):
            raise ValueError(
                f"{encoder_key!r} has {known.shape[1]} dimensions, got {features.shape[1]}; use another encoder key"
            )
        if stored.all():
            return
        fresh = np.flatnonzero(~stored)
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


def _encoded(ids: Sequence[str]) -> np.ndarray:
    return np.array([identity.encode() for identity in ids], dtype=np.bytes_)


def _next_array(stream: IO[bytes]) -> np.ndarray:
    """Map the array at the stream's position, and move the position behind it."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    array = np.memmap(stream, dtype=dtype, mode="r", offset=(start := stream.tell()), shape=shape)
    stream.seek(start + array.nbytes)
    return array
