"""An index of features, for tests of attribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from royalty.infra.attribution.shards import Manifest, ShardStore
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import index_folder
from royalty.tasks.attribution.description import COLUMNS, Description, code_of

DIMENSIONS = 16


def features_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)


def table_of(count: int, *, first: int = 0) -> pa.Table:
    """Metadata of items of three contributors; the ids are numbers."""
    numbers = range(first, first + count)
    columns = {
        "id": [f"{number:064x}" for number in numbers],
        "contributor": [("Ada", "Bob", "Cyd;Ada")[number % 3] for number in numbers],
        "license": [("CC0-1.0", "")[number % 2] for number in numbers],
        "file_name": [f"{number}.png" for number in numbers],
        "author": [("Ann", "")[number % 2] for number in numbers],
    }
    nothing = [""] * count
    return pa.table({name: pa.array(columns.get(name, nothing), pa.string()) for name in COLUMNS})


def description(**settings: object) -> Description:
    known = {"encoder": "", "shape": (), "encoder_key": "features", "code": code_of(""), "k": 10}
    return Description(**{"model": "letters", "version": "1", **known, **settings})  # type: ignore[arg-type]


def built(home: Path, count: int = 300, **settings: object) -> tuple[ShardStore, Manifest]:
    """An index of the model `letters` in a home."""
    store = ShardStore(index_folder(home, "letters", "1"))
    store.folder.mkdir(parents=True, exist_ok=True)
    return store, index.build(store, features_of(count), table_of(count), description(**settings))
