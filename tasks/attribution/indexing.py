"""Build, change and describe the indexes of a home."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.attribution.shards import Manifest, ShardStore
from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.permission import refusal_notes
from royalty.models.valuation.attribution import far_distance
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import index_folder
from royalty.tasks.attribution.description import Description, table_of
from royalty.tasks.attribution.withdrawing import stores
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.items.embeddings import feature_rows
from royalty.tasks.items.stages import ReadOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.task import task
from royalty.tasks.stages.withdrawals import withdrawals


@task(name="build the index", cache_policy=NO_CACHE)
def build_items(config: IndexConfig, items: ReadOutputs, encoder: str) -> dict[str, Any]:
    """Build the index of stored items; returns the fields of `royalty.flows.attribution.IndexResult`.

    Args:
        encoder: key of their embeddings; `features` for items with features.
    """
    space = open_workspace(settings())
    loaded = load_items(space.artifacts, items.items)
    store = _store(config.model, config.version)
    store.folder.mkdir(parents=True, exist_ok=True)
    with progress("Index", len(loaded)) as advance:
        about = Description.by(config, encoder, items.shape, items.items)
        features = feature_rows(space.embeddings, loaded, encoder)
        index.build(store, features, table_of(loaded), about, images=loaded.images, progress=advance)
    return _made(space, store, items)


@task(name="add to the index", cache_policy=NO_CACHE)
def add_items(model: str, version: str, items: ReadOutputs, encoder: str) -> dict[str, Any]:
    """Add stored items to an index."""
    space, store = open_workspace(settings()), _store(model, version)
    loaded = load_items(space.artifacts, items.items)
    features = feature_rows(space.embeddings, loaded, encoder)
    with progress("Index", len(loaded)) as advance:
        index.add(store, features, table_of(loaded), images=loaded.images, stored_as=items.items, progress=advance)
    return _made(space, store, items)


def remove_items(model: str, version: str, ids: Collection[str], contributor: str | None) -> dict[str, Any]:
    """Remove items from an index, by id or contributor."""
    store = _store(model, version)
    return summary(store, index.remove(store, ids=ids, contributor=contributor))


def withdraw_items(model: str, version: str) -> tuple[dict[str, Any], int]:
    """Remove all items from an index that were withdrawn; returns its summary, and the number of them."""
    store = _store(model, version)
    manifest, count = index.withdraw(store, withdrawals(open_workspace(settings())))
    return summary(store, manifest), count


def compact_items(model: str, version: str, *, relearn: bool) -> dict[str, Any]:
    """Rewrite an index without what was removed."""
    store = _store(model, version)
    return summary(store, index.compact(store, relearn=relearn))


def described(model: str, version: str) -> Description:
    """What an index is of."""
    return Description.of(_store(model, version).manifest())


def listed() -> list[dict[str, Any]]:
    """All indexes of this home."""
    return [summary(store, store.manifest()) for store in stores(open_workspace(settings()))]


def verify(model: str, version: str) -> None:
    """Hash the files of an index again.

    Raises:
        StoreError: one has changed.
    """
    store = _store(model, version)
    if problems := store.problems(store.manifest()):
        raise StoreError(f"{problems[0]}; build the index again with `royalty index build`")


def summary(store: ShardStore, manifest: Manifest) -> dict[str, Any]:
    """The fields of `royalty.flows.attribution.IndexResult`."""
    about, removed = Description.of(manifest), len(store.removed(manifest))
    earliest = store.earliest(manifest)
    return {
        "model": about.model,
        "version": about.version,
        "items": manifest.rows - removed,
        "removed": removed,
        "copies": 0 if earliest is None else int((earliest != np.arange(len(earliest))).sum()),
        "contributors": len(about.contributors),
        "encoder": about.encoder_key,
        "temperature": about.shared_at,
        "folder": str(store.folder),
        "bytes": sum(size for shard in manifest.shards for size, _ in shard.files.values()),
        "far": far_distance(np.array(about.nearest), about.far_rate) if about.nearest else None,
    }


def _made(space: Workspace, store: ShardStore, items: ReadOutputs) -> dict[str, Any]:
    """An index that has new items, less those that were withdrawn since they were read, and sentences on the items."""
    manifest, _ = index.withdraw(store, withdrawals(space))
    return {**summary(store, manifest), "notes": list(refusal_notes(items))}


def _store(model: str, version: str) -> ShardStore:
    return ShardStore(index_folder(settings().root, model, version))
