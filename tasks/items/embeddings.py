"""Compute embeddings of items once, store them by encoder, and look them up. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from royalty.infra.processes.progress import Advance
from royalty.infra.stores.embeddings import EmbeddingStore, FoundRows
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items

EMBEDDED_TOGETHER = 4096
"""Images in a shard of embeddings; at most this many are embedded again after a crash."""

EMBEDDED_IN_A_SHARE = 1024
"""Images that a worker of a cluster embeds in one task."""

ROWS, FEATURES = "rows", "features"
"""Names of the arrays of a share in its artifacts."""


class Named(Protocol):
    """An encoder or quality model whose name identifies everything that its results depend on."""

    @property
    def name(self) -> str: ...


class Embedder(Named, Protocol):
    """The part of an encoder that embedding uses."""

    def features(self, images: np.ndarray, *, progress: Callable[[int], None] | None = None) -> np.ndarray: ...


def embed_missing(
    embeddings: EmbeddingStore, net: Embedder, images: np.ndarray, ids: Sequence[str], advance: Advance
) -> int:
    """Embed and store the images that have no embedding by this encoder; returns their number."""
    key, missing = embedding_key(net, images), missing_rows(embeddings, net, images, ids)
    advance(len(ids) - len(missing))
    for start in range(0, len(missing), EMBEDDED_TOGETHER):
        rows = missing[start : start + EMBEDDED_TOGETHER]
        features = net.features(images[rows], progress=advance)
        embeddings.add(key, [ids[row] for row in rows], features)
    return len(missing)


def missing_rows(embeddings: EmbeddingStore, net: Named, images: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Rows of the images that have no embedding by this encoder, int64, `(missing,)`."""
    return np.flatnonzero(~embeddings.found(embedding_key(net, images), ids).stored)


def embedding_key(net: Named, images: np.ndarray) -> str:
    """Key of the embeddings of images. It includes the size, because ids are those of the images before resizing."""
    channels, size, _ = shape_of(images)
    return f"{net.name}@{channels}x{size}"


def features_of(embeddings: EmbeddingStore, items: Items, encoder: str) -> np.ndarray:
    """The result of `feature_rows` in memory."""
    rows = feature_rows(embeddings, items, encoder)
    return rows if isinstance(rows, np.ndarray) else rows[:]


def feature_rows(embeddings: EmbeddingStore, items: Items, encoder: str) -> np.ndarray | FoundRows:
    """Features of items, `(items, dimensions)`, or the stored embeddings of their images, read on access.

    Args:
        encoder: key of the embeddings; "" for features.

    Raises:
        InputError: images have no embedding of this key.
    """
    if items.features is not None:
        return items.features
    rows = embeddings.found(encoder, items.ids)
    if lacking := int((~rows.stored).sum()):
        raise InputError(
            f"every image needs an embedding, and {lacking} have none; was a part of ROYALTY_HOME deleted?"
        )
    return rows


def shape_of(images: np.ndarray) -> tuple[int, int, int]:
    """Channels, height and width of images, `(items, channels, height, width)`."""
    _, channels, height, width = images.shape
    return channels, height, width
