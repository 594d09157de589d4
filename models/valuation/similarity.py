"""Score training items by their similarity to generated images, and aggregate scores of items to contributors."""

from __future__ import annotations

from typing import Literal

import numpy as np


def pixel_similarity(train_images: np.ndarray, generated_images: np.ndarray) -> np.ndarray:
    """Mean cosine similarity of raw pixels to the generated images; higher is more valuable.

    Pixels are scaled to [-1, 1], so that a black image is not a zero vector and two dark images are similar.

    Args:
        train_images: uint8, `(items, channels, height, width)`.
        generated_images: uint8, `(generated, channels, height, width)`.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: images of different shapes, or no images.
    """
    train, generated = (images.reshape(len(images), -1) / 127.5 - 1 for images in (train_images, generated_images))
    return feature_similarity(train, generated)


def feature_similarity(train_features: np.ndarray, generated_features: np.ndarray) -> np.ndarray:
    """Mean cosine similarity of features to those of the generated images; higher is more valuable.

    With CLIP features this is CLIP similarity. The cosine with a zero vector is 0.

    Args:
        train_features: `(items, dimensions)`.
        generated_features: `(generated, dimensions)`.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: different dimensions, an empty argument, or a feature that is not finite.
    """
    train, generated = checked_rows(train_features, generated_features)
    scores: np.ndarray = unit_rows(train) @ unit_rows(generated).mean(axis=0)
    return scores


def gradient_similarity(train_gradients: np.ndarray, generated_gradients: np.ndarray) -> np.ndarray:
    """Mean cosine similarity of projected loss gradients (equation 12; Charpiat et al. 2019); higher is more valuable.

    Args:
        train_gradients: `(items, projection)`, from `loss_gradients`.
        generated_gradients: `(generated, projection)`, from `loss_gradients` with the same seed.

    Returns:
        float64, `(items,)`, in [-1, 1].

    Raises:
        ValueError: as for `feature_similarity`.
    """
    return feature_similarity(train_gradients, generated_gradients)


def embedding_distance(train_features: np.ndarray, reference_features: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Mean Euclidean distance to the mean embedding of each reference cluster; higher is more valuable.

    Large distances are valuable because this baseline stands for diversity: an item far from the centres of all
    clusters adds more diversity than a typical one.

    Args:
        train_features: `(items, dimensions)`.
        reference_features: `(references, dimensions)`.
        cluster: `(references,)`, the cluster label of each reference.

    Returns:
        float64, `(items,)`, not negative.

    Raises:
        ValueError: as for `feature_similarity`, or not one label for each reference.
    """
    train, reference = checked_rows(train_features, reference_features)
    if cluster.shape != (len(reference),):
        raise ValueError(
            f"`cluster` has one label for each of the {len(reference)} references, got shape {cluster.shape}"
        )
    centres = np.stack([reference[cluster == label].mean(axis=0) for label in np.unique(cluster)])
    distances: np.ndarray = np.mean([np.linalg.norm(train - centre, axis=1) for centre in centres], axis=0)
    return distances


def aggregate(scores: np.ndarray, membership: np.ndarray, how: Literal["average", "maximum", "sum"]) -> np.ndarray:
    """Aggregate the scores of items to scores of contributors; higher is more valuable.

    Use the sum for influence and TRAK scores, which are additive over a set of items (Koh et al. 2019), and the average
    or the maximum for similarities, which are not. An item of several contributors counts fully for each of them in an
    average or a maximum. In a sum it is divided equally among them, so that the sums of both sides are equal.

    Args:
        scores: `(items,)`.
        membership: bool, `(items, contributors)`.

    Returns:
        float64, `(contributors,)`.

    Raises:
        ValueError: shapes that do not match, an unknown `how`, a contributor without items, or an item without
            contributors.
    """
    if membership.shape[:1] != scores.shape:
        raise ValueError(f"`membership` has one row for each score, got shapes {membership.shape} and {scores.shape}")
    if not membership.any(axis=0).all() or not membership.any(axis=1).all():
        raise ValueError(
            "every contributor has an item and every item has a contributor, got "
            f"{int((~membership.any(axis=0)).sum())} contributors without items and "
            f"{int((~membership.any(axis=1)).sum())} items without contributors; leave them out"
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
    """Check that the rows of two matrices can be compared, and return both as float64.

    Raises:
        ValueError: an argument that is not a matrix or is empty, different numbers of columns, or a value that is not
            finite.
    """
    if train.ndim != 2 or other.ndim != 2 or train.shape[1] != other.shape[1] or not (len(train) and len(other)):
        raise ValueError(
            f"items are rows of two matrices with the same number of columns, got shapes {train.shape} and "
            f"{other.shape}; compute both with the same encoder or projection"
        )
    if not (np.isfinite(train).all() and np.isfinite(other).all()):
        raise ValueError("features and gradients are finite, got NaN or infinity; check the model that computed them")
    return train.astype(np.float64), other.astype(np.float64)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return unit
