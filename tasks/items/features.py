"""Load the features of both sides of a valuation in the configured representation."""

from __future__ import annotations

import numpy as np

from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.models.base.choices import Representation
from royalty.models.encoders.representation import represent
from royalty.tasks.items.embeddings import features_of
from royalty.tasks.items.sides import OpenSides


def represented(
    embeddings: EmbeddingStore, sides: OpenSides, representation: Representation, encoder: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the known training items and of validation, `(items, dimensions)` each.

    Args:
        encoder: key of the embeddings; "" for features, which stay as they are.
    """
    train, val = (features_of(embeddings, items, encoder) for items in (sides.train, sides.val))
    train = train if sides.known.all() else train[sides.known]
    return represent(train, val, sides.val_labels, representation) if encoder else (train, val)
