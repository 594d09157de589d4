"""Build and change the index of a model's training images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from royalty.infra.attribution.shards import Manifest, OpenShard, ShardFiles, ShardStore, Writer
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.optouts import Withdrawal
from royalty.models.data.teams import credited
from royalty.models.retrieval.codebook import LEAST, Codebook, sampled
from royalty.models.retrieval.search import Shard, Vectors, stored
from royalty.models.valuation.attribution import COMPARED, closeness
from royalty.models.valuation.sharing import neighbours_asked, temperature_of
from royalty.tasks.attribution.copies import grouped, renumbered
from royalty.tasks.attribution.description import Description, distinct, withdrawn_rows
from royalty.tasks.attribution.rows import Chosen, Features, Kept, Thumbnails

ROWS = 8_192
"""Vectors that are read and written at a time."""

SHARD = 1_000_000
"""Most items of a shard."""

CALIBRATED = 1_000
"""Items whose own nearest neighbours say which distances are usual, and which temperature suits them."""

RELEARNED = 2
"""A compaction learns lists anew if the items have become this many times more or fewer since they were learned."""


def build(
    store: ShardStore,
    features: Features,
    items: pa.Table,
    about: Description,
    *,
    images: np.ndarray | None = None,
    shard: int = SHARD,
    progress: Progress | None = None,
) -> Manifest:
    """Build an index, in place of the one that is there.

    Items with the same id become one; see `royalty.tasks.attribution.description.distinct`. Near copies are found if
    there are images and `about.copies` is `grouped`.

    Args:
        features: floating point, `(items, dimensions)`; `ROWS` of them are read at a time.
        images: uint8, `(items, 1 or 3, height, width)`; None for features.
        items: result of `table_of`.
        shard: most items of a shard.

    Raises:
        InputError: features that are not finite or of length zero; no items.
        StoreError: another process changes the index, or the disk is full; what was there stays.
    """
    if not len(items):
        raise InputError("an index has at least one item, and there is none; give training images")
    rows, items = distinct(items, earliest=about.keeps_earliest)
    features = Chosen(features, rows)
    small = None if images is None or about.copies == "separate" else Thumbnails(images, rows)
    with store.writing() as writer:
        codebook = None
        if len(features) >= LEAST:
            codebook, about = _learned(writer, features, about)
        digest = None if codebook is None else writer.keep("codebook", codebook.to_bytes())
        files = _write(writer, features, items, codebook, first=0, shard=shard, small=small, progress=progress)
        manifest = Manifest(asdict(about), features.shape[1], digest, shards=tuple(files))
        return _committed(writer, manifest, np.arange(len(items)))


def add(
    store: ShardStore,
    features: Features,
    items: pa.Table,
    *,
    images: np.ndarray | None = None,
    stored_as: str = "",
    progress: Progress | None = None,
) -> Manifest:
    """Add items; those that the index has already stay as they are.

    Args:
        images: as for `build`.
        stored_as: digest of the stored items, for pictures.

    Raises:
        InputError: another number of dimensions; features that are not finite or of length zero.
        StoreError: as for `build`.
    """
    with store.writing() as writer:
        manifest = store.manifest()
        about = Description.of(manifest)
        rows, items = distinct(items, earliest=about.keeps_earliest)
        if features.shape[1:] != (manifest.dimensions,):
            raise InputError(
                f"the items of an index have {manifest.dimensions} features, and the new ones have shape "
                f"{features.shape}; embed them with the encoder of the index, {manifest.description['encoder_key']}"
            )
        fresh = np.flatnonzero(~np.isin(items["id"].to_numpy(), _ids(store, manifest, present=True)))
        if not len(fresh):
            return manifest
        features, items = Chosen(features, rows[fresh]), items.take(fresh)
        codebook = _codebook(store, manifest)
        first = manifest.rows
        small = None if images is None or about.copies == "separate" else Thumbnails(images, rows[fresh])
        files = _write(writer, features, items, codebook, first=first, shard=SHARD, small=small, progress=progress)
        sources = dict.fromkeys((*about.items, *((stored_as,) if stored_as else ())))
        description = asdict(replace(about, items=tuple(sources)))
        changed = replace(manifest, shards=(*manifest.shards, *files), description=description)
        return _committed(writer, changed, np.arange(first, changed.rows))


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
        return _without(writer, manifest, gone, chosen)


def withdraw(store: ShardStore, withdrawals: Sequence[Withdrawal]) -> tuple[Manifest, int]:
    """Remove the items that one of their contributors withdrew.

    Returns:
        What counts now, and the number of items that were removed; nothing is written if it is 0.

    Raises:
        InputError: nothing would be left; nothing is removed.
        StoreError: as for `build`.
    """
    if not withdrawals:
        return store.manifest(), 0
    with store.writing() as writer:
        manifest = store.manifest()
        gone = store.removed(manifest)
        items = pa.concat_tables([part.items for part in store.open(manifest)])
        chosen = np.setdiff1d(np.flatnonzero(withdrawn_rows(items, withdrawals)), gone, assume_unique=True)
        return (_without(writer, manifest, gone, chosen) if len(chosen) else manifest), len(chosen)


def _without(writer: Writer, manifest: Manifest, gone: np.ndarray, chosen: np.ndarray) -> Manifest:
    """Commit the manifest without further items.

    Args:
        gone, chosen: numbers of the items that were removed before, and of those to remove now.
    """
    removed = np.union1d(gone, chosen)
    if len(removed) == manifest.rows:
        raise InputError("an index has at least one item, and this would remove the last; delete its folder instead")
    digest = writer.keep("removed", removed.astype("<i8").tobytes())
    return _committed(writer, replace(manifest, removed=digest), chosen)


def compact(store: ShardStore, *, relearn: bool = False, progress: Progress | None = None) -> Manifest:
    """Rewrite the index without the items that were removed, in shards that are full.

    Args:
        relearn: take the mean and learn the lists anew, as `build` would; otherwise the mean stays, and lists are
            learned anew only if the number of items has doubled or halved.

    Raises:
        StoreError: as for `build`.
    """
    with store.writing() as writer:
        manifest = store.manifest()
        about = Description.of(manifest)
        parts = store.open(manifest)
        kept = np.setdiff1d(np.arange(manifest.rows), store.removed(manifest), assume_unique=True)
        rows = Kept([part.vectors for part in parts], kept)
        images = [part.thumbnails for part in parts if part.thumbnails is not None]
        small = Kept(images, kept) if images else None
        items = pa.concat_tables([part.items for part in parts]).combine_chunks().take(pa.array(kept))
        codebook, digest = _codebook(store, manifest), manifest.codebook
        ratio = len(kept) / about.learned_for if about.learned_for else 0.0
        if relearn or not 1 / RELEARNED < ratio < RELEARNED:
            codebook, digest, about = None, None, replace(about, learned_for=0)
            if len(kept) >= LEAST:
                codebook, about = _learned(writer, rows, about)
                digest = writer.keep("codebook", codebook.to_bytes())
        files = _write(writer, rows, items, codebook, first=0, shard=SHARD, small=small, progress=progress)
        compared = renumbered(writer, store, manifest, kept)
        mean = None if relearn else manifest.mean
        built = Manifest(asdict(about), manifest.dimensions, digest, mean, compared=compared, shards=tuple(files))
        return _committed(writer, replace(built, generation=manifest.generation), np.empty(0, np.int64))


def opened(store: ShardStore, manifest: Manifest, parts: Sequence[OpenShard], *, copies: bool = False) -> Vectors:
    """The vectors of mapped shards, for searching.

    Args:
        copies: also find near copies of earlier items, which have no place of their own among the nearest.
    """
    hidden, earliest = store.removed(manifest), None if copies else store.earliest(manifest)
    if earliest is not None:
        hidden = np.union1d(hidden, np.flatnonzero(earliest != np.arange(len(earliest))))
    return Vectors.of(shards_of(parts), _codebook(store, manifest), hidden, store.mean(manifest))


def shards_of(parts: Sequence[OpenShard]) -> list[Shard]:
    """The shards with the numbers of their first items."""
    shards, first = [], 0
    for part in parts:
        shards.append(Shard(part.vectors, first, part.lists))
        first += len(part.vectors)
    return shards


def _committed(writer: Writer, manifest: Manifest, changed: np.ndarray) -> Manifest:
    """Commit items that are written, after near copies among them were found, and their distances measured.

    Images are compared by directions from the mean, as `royalty value gmvaluator` compares them: that of the originals
    when the index was built, so that neither copies nor later items move it.

    Args:
        changed: ascending numbers of the items that were added or removed.
    """
    store = writer.store
    every = opened(store, manifest, store.open(manifest), copies=True)
    manifest = grouped(writer, store, manifest, every, changed)
    if manifest.mean is None and Description.of(manifest).shape:
        mean = opened(store, manifest, store.open(manifest)).mean_vector()
        manifest = replace(manifest, mean=None if mean is None else writer.keep("mean", mean.astype("<f4").tobytes()))
    return writer.commit(_calibrated(store, manifest))


def _learned(writer: Writer, features: Any, about: Description) -> tuple[Codebook, Description]:
    """A codebook from a random sample of vectors."""
    count = len(features)
    rows = np.sort(np.random.default_rng(about.seed).choice(count, sampled(count), replace=False))
    sample = np.empty((len(rows), features.shape[1]), np.float32)
    for start in range(0, len(rows), ROWS):
        sample[start : start + ROWS] = _vectors(features, rows[start : start + ROWS], start)
    codebook = Codebook.learn(sample, count, code=about.codes, seed=about.seed, centre=bool(about.shape))
    return codebook, replace(about, learned_for=count)


def _write(
    writer: Writer,
    features: Any,
    items: pa.Table,
    codebook: Codebook | None,
    *,
    first: int,
    shard: int,
    small: Any = None,
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

        seen = None if small is None else (small[start : min(start + ROWS, end)] for start in range(begin, end, ROWS))
        part = items.slice(begin, end - begin)
        files.append(writer.add_shard(blocks(begin, end), part, encode if codebook else None, seen))
    return files


def _vectors(features: Any, rows: Any, start: int) -> np.ndarray:
    """Rows as they are stored; those of shards are already, and rounding them again would change them."""
    if isinstance(features, Kept):
        return features[rows]
    try:
        return stored(features[rows], "training")
    except InputError as error:
        raise InputError(f"{error} (rows are counted from {start})" if start else str(error)) from None


def _calibrated(store: ShardStore, manifest: Manifest) -> Manifest:
    """The manifest with the distances of sampled items to their nearest neighbours, the temperature, and all
    contributors."""
    parts = store.open(manifest)
    vectors = opened(store, manifest, parts)
    about = Description.of(manifest)
    slots = np.setdiff1d(np.arange(manifest.rows), vectors.removed, assume_unique=True)
    sample = np.random.default_rng(about.seed).choice(slots, min(CALIBRATED, len(slots)), replace=False)
    nearest = min(about.k, len(slots) - 1)
    apart = [_to_others(vectors, number, about.k) for number in sample.tolist()] if nearest else []
    temperature = about.temperature
    if temperature is None and nearest:
        usual = np.stack([distances[:nearest] for distances in apart])
        temperature = temperature_of(usual, neighbours_asked(nearest))
    kept = np.setdiff1d(np.arange(manifest.rows), store.removed(manifest), assume_unique=True)
    names: set[str] = set()
    first = 0
    for part in parts:
        here = kept[(kept >= first) & (kept < first + len(part.vectors))] - first
        names.update(*(credited(text) for text in pc.unique(part.items["contributor"].take(here)).to_pylist()))
        first += len(part.vectors)
    contributors = tuple(sorted(names))
    description: Mapping[str, Any] = asdict(
        replace(
            about,
            shared_at=temperature or 1.0,
            nearest=tuple(sorted(float(distances[0]) for distances in apart)),
            closeness=tuple(sorted(closeness(distances) for distances in apart)),
            contributors=contributors,
        )
    )
    return replace(manifest, description=description)


def _to_others(vectors: Vectors, number: int, k: int) -> np.ndarray:
    """Distances of the items nearest to one of them, without itself: at least k, and those that closeness needs."""
    shard = next(shard for shard in reversed(vectors.shards) if shard.first <= number)
    distances, numbers = vectors.nearest(
        shard.vectors[number - shard.first].astype(np.float32), max(k, COMPARED + 1) + 1
    )
    others: np.ndarray = distances[numbers != number]
    return others


def _codebook(store: ShardStore, manifest: Manifest) -> Codebook | None:
    payload = store.codebook(manifest)
    return None if payload is None else Codebook.from_bytes(payload)


def _ids(store: ShardStore, manifest: Manifest, *, present: bool) -> np.ndarray:
    """Ids by item number; without the removed ones if `present`."""
    known = np.concatenate([part.items["id"].to_numpy() for part in store.open(manifest)])
    return np.delete(known, store.removed(manifest)) if present else known
