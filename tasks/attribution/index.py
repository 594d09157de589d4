"""Build and change the index of a model's training images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from royalty.infra.attribution.shards import Manifest, OpenShard, ShardFiles, ShardStore, Writer
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.listing import SEPARATOR
from royalty.models.retrieval.codebook import LEAST, Codebook, sampled
from royalty.models.retrieval.search import Shard, Vectors, stored
from royalty.models.valuation.attribution import COMPARED, closeness
from royalty.tasks.attribution.description import Description, distinct

ROWS = 8_192
"""Vectors that are read and written at a time."""

SHARD = 1_000_000
"""Most items of a shard."""

CALIBRATED = 1_000
"""Items whose own nearest neighbours say which distances are usual."""

RELEARNED = 2
"""A compaction learns lists anew if the items have become this many times more or fewer since they were learned."""


def build(
    store: ShardStore,
    features: np.ndarray,
    items: pa.Table,
    about: Description,
    *,
    shard: int = SHARD,
    progress: Progress | None = None,
) -> Manifest:
    """Build an index, in place of the one that is there.

    Items with the same id become one; see `royalty.tasks.attribution.description.distinct`.

    Args:
        features: floating point, `(items, dimensions)`, perhaps mapped from a file.
        items: result of `table_of`.
        shard: most items of a shard.

    Raises:
        InputError: features that are not finite or of length zero; no items.
        StoreError: another process changes the index, or the disk is full; what was there stays.
    """
    if not len(items):
        raise InputError("an index has at least one item, and there is none; give training images")
    rows, items = distinct(items)
    features = features if len(rows) == len(features) else features[rows]
    with store.writing() as writer:
        codebook = None
        if len(features) >= LEAST:
            codebook, about = _learned(writer, features, about)
        digest = None if codebook is None else writer.keep("codebook", codebook.to_bytes())
        files = _write(writer, features, items, codebook, first=0, shard=shard, progress=progress)
        manifest = Manifest(asdict(about), features.shape[1], digest, None, tuple(files))
        return writer.commit(_calibrated(store, manifest))


def add(
    store: ShardStore, features: np.ndarray, items: pa.Table, *, stored_as: str = "", progress: Progress | None = None
) -> Manifest:
    """Add items; those that the index has already stay as they are.

    Args:
        stored_as: digest of the stored items, for pictures.

    Raises:
        InputError: another number of dimensions; features that are not finite or of length zero.
        StoreError: as for `build`.
    """
    with store.writing() as writer:
        manifest = store.manifest()
        rows, items = distinct(items)
        if features.ndim != 2 or features.shape[1] != manifest.dimensions:
            raise InputError(
                f"the items of an index have {manifest.dimensions} features, and the new ones have shape "
                f"{features.shape}; embed them with the encoder of the index, {manifest.description['encoder_key']}"
            )
        fresh = np.flatnonzero(~np.isin(items["id"].to_numpy(), _ids(store, manifest, present=True)))
        if not len(fresh):
            return manifest
        features, items = features[rows[fresh]], items.take(fresh)
        codebook = _codebook(store, manifest)
        files = _write(writer, features, items, codebook, first=manifest.rows, shard=SHARD, progress=progress)
        about = Description.of(manifest)
        sources = dict.fromkeys((*about.items, *((stored_as,) if stored_as else ())))
        description = asdict(replace(about, items=tuple(sources)))
        changed = replace(manifest, shards=(*manifest.shards, *files), description=description)
        return writer.commit(_calibrated(store, changed))


def remove(store: ShardStore, *, ids: Collection[str] = (), contributor: str | None = None) -> Manifest:
    """Remove items, so that no later attribution names them. `compact` deletes their files.

    Args:
        ids: of the items.
        contributor: all items of this contributor; what belongs to others too stays theirs.

    Raises:
        InputError: an id or contributor is unknown; all are named, and nothing is removed.
        StoreError: as for `build`.
    """
    with store.writing() as writer:
        manifest = store.manifest()
        gone = store.removed(manifest)
        known = _ids(store, manifest, present=False)
        present = np.setdiff1d(np.arange(len(known)), gone, assume_unique=True)
        wanted = np.array(sorted(set(ids)), dtype=object)
        chosen = present[np.isin(known[present], wanted)]
        if len(chosen) < len(wanted):
            missing = sorted(set(wanted) - set(known[chosen]))
            raise InputError(
                f"items are removed by their ids, and {len(missing)} are not in the index: {', '.join(missing[:10])}. "
                "Nothing was removed"
            )
        if contributor is not None:
            owners = np.concatenate([part.items["contributor"].to_numpy() for part in store.open(manifest)])
            owned = present[owners[present] == contributor]
            if not len(owned):
                raise InputError(f"no item of the index belongs to {contributor!r} alone; nothing was removed")
            chosen = np.union1d(chosen, owned)
        removed = np.union1d(gone, chosen)
        if len(removed) == len(known):
            raise InputError(
                "an index has at least one item, and this would remove the last; delete its folder instead"
            )
        digest = writer.keep("removed", removed.astype("<i8").tobytes())
        return writer.commit(_calibrated(store, replace(manifest, removed=digest)))


def compact(store: ShardStore, *, relearn: bool = False, progress: Progress | None = None) -> Manifest:
    """Rewrite the index without the items that were removed, in shards that are full.

    Args:
        relearn: learn the lists anew, as `build` would; otherwise only if the number of items has doubled or halved.

    Raises:
        StoreError: as for `build`.
    """
    with store.writing() as writer:
        manifest = store.manifest()
        about = Description.of(manifest)
        parts = store.open(manifest)
        kept = np.setdiff1d(np.arange(manifest.rows), store.removed(manifest), assume_unique=True)
        rows = _Kept(parts, kept)
        items = pa.concat_tables([part.items for part in parts]).combine_chunks().take(pa.array(kept))
        codebook, digest = _codebook(store, manifest), manifest.codebook
        ratio = len(kept) / about.learned_for if about.learned_for else 0.0
        if relearn or not 1 / RELEARNED < ratio < RELEARNED:
            codebook, digest, about = None, None, replace(about, learned_for=0)
            if len(kept) >= LEAST:
                codebook, about = _learned(writer, rows, about)
                digest = writer.keep("codebook", codebook.to_bytes())
        files = _write(writer, rows, items, codebook, first=0, shard=SHARD, progress=progress)
        changed = Manifest(asdict(about), manifest.dimensions, digest, None, tuple(files), manifest.generation)
        return writer.commit(_calibrated(store, changed))


def opened(store: ShardStore, manifest: Manifest, parts: Sequence[OpenShard]) -> Vectors:
    """The vectors of mapped shards, for searching."""
    shards, first = [], 0
    for part in parts:
        shards.append(Shard(part.vectors, first, part.lists))
        first += len(part.vectors)
    return Vectors.of(shards, _codebook(store, manifest), store.removed(manifest))


@dataclass(frozen=True)
class _Kept:
    """Rows of several mapped shards, read on access."""

    parts: Sequence[OpenShard]
    kept: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.kept), self.parts[0].vectors.shape[1]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers, first, blocks = self.kept[rows], 0, []
        for part in self.parts:  # numbers ascend, so the blocks are in their order
            inside = numbers[(numbers >= first) & (numbers < first + len(part.vectors))] - first
            blocks.append(part.vectors[inside])
            first += len(part.vectors)
        joined: np.ndarray = np.concatenate(blocks)
        return joined


def _learned(writer: Writer, features: Any, about: Description) -> tuple[Codebook, Description]:
    """A codebook from a random sample of vectors."""
    count = len(features)
    rows = np.sort(np.random.default_rng(about.seed).choice(count, sampled(count), replace=False))
    sample = np.empty((len(rows), features.shape[1]), np.float32)
    for start in range(0, len(rows), ROWS):
        sample[start : start + ROWS] = _vectors(features, rows[start : start + ROWS], start)
    return Codebook.learn(sample, count, code=about.codes, seed=about.seed), replace(about, learned_for=count)


def _write(
    writer: Writer,
    features: Any,
    items: pa.Table,
    codebook: Codebook | None,
    *,
    first: int,
    shard: int,
    progress: Progress | None,
) -> list[ShardFiles]:
    def blocks(begin: int, end: int) -> Iterator[np.ndarray]:
        for start in range(begin, end, ROWS):
            rows = slice(start, min(start + ROWS, end))
            yield _vectors(features, rows, start)
            if progress is not None:
                progress(rows.stop - rows.start)

    files = []
    for begin in range(0, len(features), shard):
        end, number = min(begin + shard, len(features)), first + begin

        def encode(vectors: Iterable[np.ndarray], number: int = number) -> Any:
            return None if codebook is None else codebook.filled(vectors, first=number)

        files.append(
            writer.add_shard(blocks(begin, end), items.slice(begin, end - begin), encode if codebook else None)
        )
    return files


def _vectors(features: Any, rows: Any, start: int) -> np.ndarray:
    """Rows as they are stored; those of shards are already, and rounding them again would change them."""
    if isinstance(features, _Kept):
        return features[rows]
    try:
        return stored(features[rows], "training")
    except InputError as error:
        raise InputError(f"{error} (rows are counted from {start})" if start else str(error)) from None


def _calibrated(store: ShardStore, manifest: Manifest) -> Manifest:
    """The manifest with the distances that sampled items have to their own nearest neighbour, and all contributors."""
    parts = store.open(manifest)
    vectors = opened(store, manifest, parts)
    about = Description.of(manifest)
    kept = np.setdiff1d(np.arange(manifest.rows), vectors.removed, assume_unique=True)
    sample = np.random.default_rng(about.seed).choice(kept, min(CALIBRATED, len(kept)), replace=False)
    apart = [_to_others(vectors, number) for number in sample.tolist()] if len(kept) > 1 else []
    names: set[str] = set()
    first = 0
    for part in parts:
        here = kept[(kept >= first) & (kept < first + len(part.vectors))] - first
        names.update(*(text.split(SEPARATOR) for text in pc.unique(part.items["contributor"].take(here)).to_pylist()))
        first += len(part.vectors)
    contributors = tuple(sorted(name.strip() for name in names if name.strip()))
    description: Mapping[str, Any] = asdict(
        replace(
            about,
            nearest=tuple(sorted(float(distances[0]) for distances in apart)),
            closeness=tuple(sorted(closeness(distances) for distances in apart)),
            contributors=contributors,
        )
    )
    return replace(manifest, description=description)


def _to_others(vectors: Vectors, number: int) -> np.ndarray:
    """Distances of the items nearest to one of them, without itself."""
    shard = next(shard for shard in reversed(vectors.shards) if shard.first <= number)
    distances, numbers = vectors.nearest(shard.vectors[number - shard.first].astype(np.float32), COMPARED + 2)
    others: np.ndarray = distances[numbers != number]
    return others


def _codebook(store: ShardStore, manifest: Manifest) -> Codebook | None:
    payload = store.codebook(manifest)
    return None if payload is None else Codebook.from_bytes(payload)


def _ids(store: ShardStore, manifest: Manifest, *, present: bool) -> np.ndarray:
    """Ids by item number; without the removed ones if `present`."""
    known = np.concatenate([part.items["id"].to_numpy() for part in store.open(manifest)])
    return np.delete(known, store.removed(manifest)) if present else known
