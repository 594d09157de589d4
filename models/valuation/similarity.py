"""Attribution by similarity to what the model generates, and from items to contributors."""

from __future__ import annotations

from typing import Literal

import numpy as np


def pixel_similarity(train_images: np.ndarray, generated_images: np.ndarray) -> np.ndarray:
    """Mean cosine of raw pixels with the generated images; higher is more valuable.

    Pixels are scaled to [-1, 1], so that a black image has a direction too and a dark pair is alike.

    Args:
        train_images: uint8, `(items, channels, height, width)`.
        generated_images: uint8, `(generated, channels, height, width)`.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: images of different shapes, or none.
    """
    train, generated = (images.reshape(len(images), -1) / 127.5 - 1 for images in (train_images, generated_images))
    return feature_similarity(train, generated)


def feature_similarity(train_features: np.ndarray, generated_features: np.ndarray) -> np.ndarray:
    """Mean cosine of features with those of the generated images; higher is more valuable.

    With CLIP features this is CLIP similarity. A zero vector is similar to nothing: its cosine is 0.

    Args:
        train_features: `(items, dimensions)`.
        generated_features: `(generated, dimensions)`.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: the two differ in dimensions, one is empty, or a feature is not finite.
    """
    train, generated = checked_rows(train_features, generated_features)
    scores: np.ndarray = unit_rows(train) @ unit_rows(generated).mean(axis=0)
    return scores


def gradient_similarity(train_gradients: np.ndarray, generated_gradients: np.ndarray) -> np.ndarray:
    """Mean cosine of projected loss gradients (equation 12; Charpiat et al. 2019); higher is more valuable.

    Args:
        train_gradients, generated_gradients: of `loss_gradients` with one seed, `(items, projection)` and
            `(generated, projection)`.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: as for `feature_similarity`.
    """
    return feature_similarity(train_gradients, generated_gradients)


def embedding_distance(train_features: np.ndarray, reference_features: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Mean l2 distance to the mean embedding of each reference cluster; higher is more valuable.

    The sign is that of the distance: the property it stands for is diversity, and an item far from
    the middle of every cluster adds more of it than a typical one.

    Args:
        train_features: `(items, dimensions)`.
        reference_features: `(references, dimensions)`.
        cluster: `(references,)`, the cluster of each reference.

    Returns:
        float64, `(items,)`, not negative.

    Raises:
        ValueError: as for `feature_similarity`, or labels that are not one a reference.
    """
    train, reference = checked_rows(train_features, reference_features)
    if cluster.shape != (len(reference),):
        raise ValueError(f"each of the {len(reference)} references has one cluster label, got shape {cluster.shape}")
    centres = np.stack([reference[cluster == label].mean(axis=0) for label in np.unique(cluster)])
    distances: np.ndarray = np.mean([np.linalg.norm(train - centre, axis=1) for centre in centres], axis=0)
    return distances


def aggregate(scores: np.ndarray, membership: np.ndarray, how: Literal["average", "maximum", "sum"]) -> np.ndarray:
    """Scores of contributors from those of their items; higher is more valuable.

    The sum is for influence and TRAK scores, which add up over a set of items (Koh et al. 2019); the
    average and the maximum for similarities, which do not. An item of several contributors counts for
    each of them, but is divided equally among them in a sum, so that the total is that of the items.

    Args:
        scores: `(items,)`.
        membership: bool, `(items, contributors)`.

    Returns:
        float64, `(contributors,)`.

    Raises:
        ValueError: shapes that do not fit, another `how`, a contributor without items or an item
            without contributors.
    """
    if membership.shape[:1] != scores.shape:
        raise ValueError(f"membership has a row for each score, got shapes {membership.shape} and {scores.shape}")
    if not membership.any(axis=0).all() or not membership.any(axis=1).all():
        raise ValueError(
            f"each contributor has an item and each item a contributor, got {int((~membership.any(axis=0)).sum())} "
            f"contributors and {int((~membership.any(axis=1)).sum())} items with none; leave them out"
        )
    column = scores.astype(np.float64)[:, None]
    result: np.ndarray
    if how == "average":
        result = (column * membership).sum(axis=0) / membership.sum(axis=0)
    elif how == "maximum":
        result = np.where(membership, column, -np.inf).max(axis=0)
    elif how == "sum":
        result = (column * membership / membership.sum(axis=1, keepdims=True)).sum(axis=0)
    else:
        raise ValueError(f'scores are aggregated by "average", "maximum" or "sum", got {how!r}')
    return result


def checked_rows(train: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 matrices with rows of one length.

    Raises:
        ValueError: not two non-empty matrices of equally many columns, or a value that is not finite.
    """
    if train.ndim != 2 or other.ndim != 2 or train.shape[1] != other.shape[1] or not (len(train) and len(other)):
        raise ValueError(
            f"items are compared as rows of two matrices with equally many columns, got shapes {train.shape} and "
            f"{other.shape}; compute both with one encoder or projection"
        )
    if not (np.isfinite(train).all() and np.isfinite(other).all()):
        raise ValueError("rows that are compared are finite, got NaN or infinity; check the model they come from")
    return train.astype(np.float64), other.astype(np.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(length > 0, length, 1)
    return unit
