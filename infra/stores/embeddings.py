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
    """Shards `folder/<digest of the encoder key>/<digest of the shard>.rows`; none ever changes.

    A call of `add` writes one, whole or not at all, so processes may add at once. A store checks a shard against its
    digest once, streaming; a look-up then reads only the pages of the rows it is asked for, and keeps no file open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[Path] = set()

    def lookup(self, encoder_key: str, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Find what is stored.

        Returns:
            Which of the ids are: bool, `(len(ids),)`; and their features, in that order: float32, `(found,
            dimensions)`, without dimensions while nothing is stored for the encoder.

        Raises:
            StoreError: a shard has changed since it was written.
        """
        wanted = _encoded(ids)
        found = np.zeros(len(wanted), dtype=bool)
        features = np.empty((len(wanted), 0), dtype=np.float32)
        for path in sorted(self._home(encoder_key).glob("*.rows")):
            stored, rows = self._mapped(path)
            if not found.any():
                features = np.empty((len(wanted), rows.shape[1]), dtype=np.float32)
            missing = np.flatnonzero(~found)
            position = np.searchsorted(stored, wanted[missing]).clip(max=len(stored) - 1)
            here = stored[position] == wanted[missing]
            features[missing[here]] = rows[position[here]]
            found[missing[here]] = True
            if found.all():
                break
        return found, features[found]

    def add(self, encoder_key: str, ids: Sequence[str], features: np.ndarray) -> None:
        """Store the features, `(len(ids), dimensions)`, of the ids that have none yet. Best called with thousands.

        Raises:
            ValueError: the features are not one row an id, or not of the dimensions stored for this encoder.
            StoreError: the folder cannot be written, or a shard in it has changed.
        """
        if features.ndim != 2 or len(features) != len(ids):
            raise ValueError(f"{len(ids)} ids need as many rows of features, not an array of shape {features.shape}")
        found, stored = self.lookup(encoder_key, ids)
        if stored.shape[1] not in (0, features.shape[1]):
            raise ValueError(f"{encoder_key!r} has {stored.shape[1]} dimensions, not {features.shape[1]}; name it anew")
        if found.all():
            return
        fresh = np.flatnonzero(~found)
        unique, first = np.unique(_encoded(ids)[fresh], return_index=True)
        shard = io.BytesIO()
        for array in (features[fresh[first]].astype("<f4"), unique):
            np.lib.format.write_array(shard, array, version=(1, 0), allow_pickle=False)
        payload = shard.getvalue()
        write_whole(self._home(encoder_key) / f"{hashlib.sha256(payload).hexdigest()}.rows", payload)

    def _home(self, encoder_key: str) -> Path:
        return self.folder / hashlib.sha256(encoder_key.encode()).hexdigest()

    def _mapped(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Sorted ids, `(rows,)`, and features, float32, `(rows, dimensions)`: both mapped, not loaded."""
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
    """The array that starts at the stream's position, which moves behind it."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    array = np.memmap(stream, dtype=dtype, mode="r", offset=(start := stream.tell()), shape=shape)
    stream.seek(start + array.nbytes)
    return array
