"""Faithful group Shapley values: a contributor's credit is the sum of the credit of their single images.

The only value of groups that no division of a group into several names changes (Lee et al. 2025, arXiv 2505.19013).
Coalitions are sets of images, not of contributors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_number, as_vector
from royalty.models.base.errors import InputError
from royalty.models.valuation.repeats import check_unit
from royalty.models.valuation.shapley import ShapleyEstimate

DEPENDENT = 1e-9  # of the largest singular value: below it columns depend on each other, but for rounding


def faithful_shapley(
    counts: ArrayLike,
    images: ArrayLike,
    utilities: ArrayLike,
    null_utility: float,
    grand_utility: float,
    *,
    confidence: float = 0.95,
) -> ShapleyEstimate:
    """Estimate faithful group Shapley values from utilities of sets of images.

    phi_g is the sum over the images of g of their Shapley values in the game of images. The KernelSHAP regression of
    that game has one unknown an image, and its normal equations are exchangeable over images. Their sum over a group
    contains the group's sum of values alone, so the regression on the fractions of each group's images that are in a
    set, with one unknown a group, has the same solution in the limit: an image is never measured by itself. Efficiency
    holds exactly. A game of the size alone, whose values are those of equal images, is fitted besides.

    Args:
        counts: number of each contributor's images in a set, `(sets, n)`; see `sample_image_sets`.
        images: number of images of each contributor, `(n,)`, at least 1.
        utilities: `(sets,)`, of models trained on the sets, in any unit; higher is better.
        null_utility, grand_utility: utilities of no image and of all.
        confidence: of the intervals, in (0, 1).

    Returns:
        Values in the units of the utility, higher is more valuable; they sum to `grand_utility` minus `null_utility`.
        The variance is that of the errors for pairs of complements that are left out, and of the noise of the utilities
        of no image and of all; sets without a complement are left out one by one. It is too large rather than too small
        where sets are few: the fewest that are taken leave hardly anything to estimate it from.

    Raises:
        InputError: shapes that do not fit, counts out of range, too few sets, or sets that do not tell contributors
            apart.

    Examples:
        Two contributors with three and one images that are all alike; another name for some of them changes nothing:

        >>> import numpy as np
        >>> import royalty
        >>> owner = np.array([0, 0, 0, 1])
        >>> sets = royalty.sample_image_sets(4, 40, seed=0)
        >>> counts = [np.bincount(owner[chosen], minlength=2) for chosen in sets]
        >>> credit = royalty.faithful_shapley(counts, [3, 1], [len(chosen) for chosen in sets], 0, 4)
        >>> credit.values.round(6).tolist()
        [3.0, 1.0]
    """
    table, brought = as_features(counts, "counts").astype(float), as_vector(images, "images")
    values = as_vector(utilities, "utilities")
    null, grand = as_number(null_utility, "null_utility"), as_number(grand_utility, "grand_utility")
    _check(table, brought, values, (null, grand), confidence)
    check_unit(np.append(values, [null, grand]))
    total, n_groups = grand - null, len(brought)
    fractions = table / brought  # (sets, n)
    size = table.sum(axis=1) / brought.sum()
    share = brought / brought.sum()  # of the total, if all images were alike
    # With phi = share * total + effect and effects that sum to zero, efficiency needs no multiplier. The basis spans
    # vectors that sum to zero.
    basis = np.linalg.svd(np.ones((1, n_groups)))[2][1:].T  # (n, n - 1)
    design = np.column_stack([fractions @ basis, _of_size(size)])
    response = values - null - total * (fractions @ share)
    solution, _, rank, _ = np.linalg.lstsq(design, response, rcond=DEPENDENT)
    if rank < design.shape[1]:
        raise InputError(
            "the sets of images do not tell the contributors apart: their fractions are dependent. Draw more sets"
        )
    inverse = np.linalg.inv(design.T @ design)
    linear = basis @ (inverse @ design.T)[: n_groups - 1]  # (n, sets)
    clusters = _complements(table, brought)
    errors = _left_out(design, inverse, response - design @ solution, clusters)
    of_sets = sum(((linear[:, rows] @ error) ** 2 for rows, error in errors), np.zeros(n_groups))
    # Nobody and everybody were measured with noise, too, which is at most what the fit leaves unexplained.
    unexplained = float(((response - design @ solution) ** 2).sum()) / max(len(values) - design.shape[1], 1)
    of_ends = 2 * unexplained * (share - linear @ size) ** 2
    effects = basis @ solution[: n_groups - 1]
    credit = share * total + effects
    return ShapleyEstimate.about(
        credit,
        np.sqrt(of_sets + of_ends),
        # Differences within pairs have a part of the terms: effects, and two of the size.
        freedom=max(min(len(clusters) - n_groups - 1, len(values) - design.shape[1]), 1),
        confidence=confidence,
        n_evaluations=len(values) + 2,
        diagnostics={
            "efficiency_gap": float(abs(credit.sum() - total)),
            "condition_number": float(np.linalg.cond(design)),
            "estimator": "faithful",
            "why": "coalitions are sets of images",
        },
    )


def _complements(counts: np.ndarray, images: np.ndarray) -> list[list[int]]:
    """Rows of sets and their complements; sets without one are alone.

    Sets of the same counts are many where few images are drawn. Each is taken with the nearest complement before it, as
    they are drawn.
    """
    waiting: dict[bytes, list[int]] = {}
    clusters: list[list[int]] = []
    for row, (own, other) in enumerate(zip(_keys(counts), _keys(images - counts), strict=True)):
        if waiting.get(other):
            clusters[waiting[other].pop()].append(row)
        else:
            waiting.setdefault(own, []).append(len(clusters))
            clusters.append([row])
    return clusters


def _keys(counts: np.ndarray) -> list[bytes]:
    """Counts as keys; an image of several contributors is a fraction for each, so they are rounded."""
    return [row.tobytes() for row in np.round(counts * 2**20).astype(np.int64)]


def _left_out(
    design: np.ndarray, inverse: np.ndarray, residual: np.ndarray, clusters: list[list[int]]
) -> list[tuple[list[int], np.ndarray]]:
    """Rows of each cluster, and their errors by a fit without the cluster.

    What single images add beside their contributor's mean has opposite signs in a set and its complement, so the errors
    of the two depend on each other.
    """
    errors = []
    for rows in clusters:
        own = np.eye(len(rows)) - design[rows] @ inverse @ design[rows].T
        errors.append((rows, np.linalg.lstsq(own, residual[rows], rcond=1e-9)[0]))
    return errors


def least_sets(n_groups: int) -> int:
    """Fewest sets of images from which the credit of contributors is estimated."""
    return 2 * n_groups + 4


def _of_size(size: np.ndarray) -> np.ndarray:
    """Terms of the fraction of all images in a set, `(sets, terms)`: a jump, and bends that vanish at both ends.

    Few images have few sizes, between which the terms depend on each other: as many come back as do not.
    """
    bend, side = size * (1 - size), 2 * size - 1
    root = np.sqrt(bend)
    terms = np.column_stack([np.ones(len(size)), bend, bend * side, root, root * side])
    spanned, strengths, _ = np.linalg.svd(terms, full_matrices=False)
    return spanned[:, strengths > DEPENDENT * strengths[0]]


def _check(
    counts: np.ndarray, images: np.ndarray, utilities: np.ndarray, ends: tuple[float, float], confidence: float
) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval lies between 0 and 1, got {confidence}; 0.95 is usual")
    if counts.ndim != 2 or counts.shape != (len(utilities), len(images)):
        raise InputError(
            f"each set has a utility, and a count for each contributor; got counts of shape {counts.shape}, "
            f"{len(utilities)} utilities and {len(images)} contributors. Give one of each"
        )
    if (
        len(images) < 2
        or not ((images >= 1) & np.isfinite(images)).all()
        or not ((counts >= 0) & (counts <= images)).all()
    ):
        raise InputError(
            "at least 2 contributors have at least 1 image each, and a set has from 0 to all of them; got up to "
            f"{counts.max(initial=0):g} of {images.tolist()}. Correct the counts"
        )
    if len(utilities) < least_sets(len(images)):
        raise InputError(
            f"{len(images)} contributors take at least {least_sets(len(images))} sets of images, got {len(utilities)}; "
            f"{4 * len(images)} is a good number to start with"
        )
    if not np.isfinite([*utilities, *ends]).all():
        raise InputError("a utility is a finite number, and some of these are not. Measure them again")
