"""Items and tables of values, kept as artifacts and loaded again without torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from royalty.infra.workspace import Workspace
from royalty.models.base.serialization import open_packed, packed_pieces
from royalty.models.data.labelled import Items


def keep_items(space: Workspace, items: Items) -> dict[str, Any]:
    """Store items; their digest, their number, the shape of their images, and what is known of each."""
    arrays = {
        name: array for name, array in (("images", items.images), ("features", items.features)) if array is not None
    }
    texts: dict[str, Any] = {
        "ids": items.ids,
        "labels": None if items.labels is None else items.labels.tolist(),
        "contributors": items.contributors,
    }
    if items.attributes is not None:
        texts["attributes"] = list(items.attributes)
        arrays |= {f"attribute {name}": own for name, own in items.attributes.items()}
    shape = None if items.images is None else list(items.images.shape[1:])
    kept = {"items": space.artifacts.put_pieces(packed_pieces(arrays, texts)), "count": len(items), "shape": shape}
    return kept | {"labelled": items.labels is not None, "attributes": list(items.attributes or [])}


def load_items(space: Workspace, digest: str) -> Items:
    """Items, whose images or features are mapped, and are read when something looks at them."""
    arrays, texts = open_packed(space.artifacts.verified(digest))
    attributes = texts.get("attributes")
    return Items(
        ids=tuple(texts["ids"]),
        images=arrays.get("images"),
        features=arrays.get("features"),
        labels=None if texts["labels"] is None else np.array(texts["labels"]),
        contributors=None if texts["contributors"] is None else tuple(texts["contributors"]),
        attributes=None if attributes is None else {name: arrays[f"attribute {name}"] for name in attributes},
    )


def load_values(space: Workspace, digest: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))


def load_contributions(space: Workspace, digest: str) -> pd.DataFrame:
    """Rows of `generated`, `item`, positions, and `distance` and `score`."""
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))
