"""KAIROS: the influence of an item on the maximum mean discrepancy (MMD) of training and validation."""

from __future__ import annotations

import numpy as np

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.encoders.head import fit_head
from royalty.models.valuation.items import ItemValues

TILE = 1 << 24
"""Entries of the kernel that are computed at a time."""


def kairos_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    feature_weight: float = 0.97,
    bandwidth: float | None = None,
    progress: Progress | None = None,
) -> ItemValues:
    """Minus the influence of an item on the MMD of features, and minus the error of its label.

    Zhu et al. 2025 (arXiv 2506.23799), as the `Kairos` evaluator for opendataval computes it:

    value_i = -w (mean_j k(x_i, x_j) - mean_j k(x_i, x'_j)) - (1 - w) |y_i - p(x_i)|

    Here x are training features and x' those of validation, k is a Gaussian kernel, y a one-hot label, and p the
    probabilities of a head trained on validation. The first part is half of the derivative of the squared MMD towards
    the item, up to a constant.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        feature_weight: w, in [0, 1].
        bandwidth: s of the kernel exp(-d^2 / (2 s^2)), in units of the features, above 0. None: such that 2 s^2 is the
            mean squared distance of a training item and a validation item. The evaluator has 3.
        progress: called with 1 after the head and after the kernel.

    Returns:
        Values from -w - (1 - w) sqrt(2) to w, higher is better; diagnostics `bandwidth`, and `gradient` of the head
        (0 at convergence).

    Raises:
        InputError: the weight, the bandwidth, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    if not 0 <= feature_weight <= 1:
        raise InputError(f"the weight of features lies between 0 and 1, got {feature_weight}; take 0.97")
    if bandwidth is not None and not 0 < bandwidth < np.inf:
        raise InputError(f"the bandwidth is a number above 0, got {bandwidth}; leave it out for the default")
    head = fit_head(val_features, val_labels)
    errors = head.probabilities(train_features)  # (items, classes)
    errors[np.arange(len(errors)), np.searchsorted(head.classes, train_labels)] -= 1
    if progress is not None:
        progress(1)
    center = val_features.mean(axis=0, dtype=np.float64)  # distances are exact near zero
    train, val = train_features - center, val_features - center
    if bandwidth is None:
        bandwidth = float(np.sqrt(_mean_squared_distance(train, val) / 2))
    influence = _kernel_means(train, train, bandwidth) - _kernel_means(train, val, bandwidth)
    if progress is not None:
        progress(1)
    values = -feature_weight * influence - (1 - feature_weight) * np.linalg.norm(errors, axis=1)
    return ItemValues(values, {"bandwidth": bandwidth, "gradient": head.gradient})


def _mean_squared_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Over all pairs of both sets."""
    apart = first.mean(axis=0) - second.mean(axis=0)
    return float((first.var(axis=0) + second.var(axis=0) + apart**2).sum())


def _kernel_means(first: np.ndarray, second: np.ndarray, bandwidth: float) -> np.ndarray:
    """Mean over the second set of the kernel with each item of the first, `(first,)`."""
    squares, means = (second**2).sum(axis=1), np.empty(len(first))
    step = max(1, TILE // len(second))
    for start in range(0, len(first), step):
        rows = first[start : start + step]
        distances = (rows**2).sum(axis=1)[:, None] + squares - 2 * rows @ second.T  # (step, second), squared
        means[start : start + step] = np.exp(-np.maximum(distances, 0) / (2 * bandwidth**2)).mean(axis=1)
    return means
