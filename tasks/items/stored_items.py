"""Store and load items and tables of values as artifacts, without torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.serialization import open_packed, packed_pieces
from royalty.models.data.labelled import Items
from royalty.tasks.items.stages import ItemsOutputs

ASKED = "asked"
"""The column of generated images with the label or prompt that each was generated for."""


def keep_items(artifacts: ArtifactStore, items: Items) -> ItemsOutputs:
    """Store items, and describe them."""
    arrays = {
        name: array for name, array in (("images", items.images), ("features", items.features)) if array is not None
    }
    texts: dict[str, Any] = {
        "ids": items.ids,
        "labels": None if items.labels is None else items.labels.tolist(),
        "contributors": items.contributors,
    }
    texts |= {
        name: kept for name, kept in (("file_names", items.file_names), ("sources", items.sources)) if kept is not None
    }
    if items.described:
        texts["described"] = dict(items.described)
    if items.attributes is not None:
        texts["attributes"] = list(items.attributes)
        arrays |= {f"attribute {name}": values for name, values in items.attributes.items()}
    return ItemsOutputs(
        items=artifacts.put_pieces(packed_pieces(arrays, texts)),
        count=len(items),
        shape=None if items.images is None else list(items.images.shape[1:]),
        labelled=items.labels is not None,
        attributes=list(items.attributes or []),
    )


def load_items(artifacts: ArtifactStore, digest: str) -> Items:
    """Load items. Images and features are memory-mapped."""
    arrays, texts = open_packed(artifacts.verified(digest))
    attributes = texts.get("attributes")
    names, sources = texts.get("file_names"), texts.get("sources")
    return Items(
        ids=tuple(texts["ids"]),
        images=arrays.get("images"),
        features=arrays.get("features"),
        labels=None if texts["labels"] is None else np.array(texts["labels"]),
        contributors=None if texts["contributors"] is None else tuple(texts["contributors"]),
        attributes=None if attributes is None else {name: arrays[f"attribute {name}"] for name in attributes},
        file_names=None if names is None else tuple(names),
        sources=None if sources is None else tuple(sources),
        described={name: tuple(column) for name, column in texts.get("described", {}).items()},
    )


def load_values(artifacts: ArtifactStore, digest: str) -> pd.DataFrame:
    """Load a table of values in the order of the items: `value`, and the columns of `Items.columns`."""
    return pd.read_parquet(io.BytesIO(artifacts.get(digest)))


def load_contributions(artifacts: ArtifactStore, digest: str) -> pd.DataFrame:
    """Load a table of contributions: positions `generated` and `item`, with `distance` and `score`."""
    return pd.read_parquet(io.BytesIO(artifacts.get(digest)))
