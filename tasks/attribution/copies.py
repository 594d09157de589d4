"""Find near copies among the items of an index while it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from royalty.infra.attribution.shards import Manifest, OpenShard, ShardStore, Writer
from royalty.models.base.progress import Progress
from royalty.models.retrieval.earlier import Compared, alike_of, compare, earliest_copies
from royalty.models.retrieval.search import Vectors
from royalty.models.valuation.near_copies import NEAREST
from royalty.tasks.items.days import days_of_text


def grouped(
    writer: Writer,
    store: ShardStore,
    manifest: Manifest,
    vectors: Vectors,
    changed: np.ndarray,
    progress: Progress | None = None,
) -> Manifest:
    """The manifest with the groups of near copies, as if the index was built with the items that it has now.

    Args:
        manifest: of items that are written; without images it stays as it is.
        vectors: of all items that were not removed.
        changed: ascending numbers of the items that were added or removed since near copies were found last.
    """
    parts = store.open(manifest)
    if any(part.thumbnails is None for part in parts):
        return manifest
    images = Rows.of(parts)
    present = np.setdiff1d(np.arange(manifest.rows), store.removed(manifest), assume_unique=True)
    payload = store.compared(manifest)
    before = Compared.none(0) if payload is None else Compared.from_bytes(payload)
    before = before.followed_by(manifest.rows - len(before.numbers))
    fresh = np.intersect1d(np.union1d(changed, before.resembling(changed)), present)

    def nearest(numbers: np.ndarray) -> np.ndarray:
        return vectors.nearest_earlier(numbers, NEAREST)

    compared = compare(before, fresh, images, nearest, present, progress)
    since = days_of_text(pa.concat_tables([part.items for part in parts])["date"].to_pylist())
    alike = alike_of(images, present)
    earliest = earliest_copies(compared, alike, present, since)
    return replace(
        manifest,
        description={**manifest.description, "alike": alike},
        compared=writer.keep("compared", compared.to_bytes()),
        earliest=writer.keep("earliest", earliest.astype("<i4").tobytes()),
    )


def renumbered(writer: Writer, store: ShardStore, manifest: Manifest, kept: np.ndarray) -> str | None:
    """Digest of what the kept items were compared with, by the numbers that they have in a compacted index."""
    payload = store.compared(manifest)
    return None if payload is None else writer.keep("compared", Compared.from_bytes(payload).of(kept).to_bytes())


class Members:
    """The items of each group of near copies."""

    def __init__(self, earliest: np.ndarray) -> None:
        self._order = np.argsort(earliest, kind="stable")
        self._sorted = earliest[self._order]

    def of(self, number: int) -> np.ndarray:
        """Ascending numbers of the group whose earliest item has this number; itself is among them."""
        begin, end = np.searchsorted(self._sorted, [number, number + 1])
        members: np.ndarray = self._order[begin:end]
        return members


class Rows:
    """Rows of several mapped arrays, by number, in any order."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts
        self._first = np.cumsum([0, *(len(part) for part in parts)])

    @classmethod
    def of(cls, shards: Sequence[OpenShard]) -> Rows:
        """The thumbnails of mapped shards, which all have them."""
        return cls([shard.thumbnails for shard in shards if shard.thumbnails is not None])

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        found = np.empty((len(numbers), *self._parts[0].shape[1:]), self._parts[0].dtype)
        for part, first in zip(self._parts, self._first, strict=False):
            inside = (numbers >= first) & (numbers < first + len(part))
            found[inside] = part[numbers[inside] - first]
        return found
