"""Detect faulty training items by clean ones: p-values by kind of fault, a combined score, a false discovery rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_device, as_features, as_labels, as_number, as_seed, as_whole
from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.rows import Features, Rows, pieces
from royalty.models.valuation.calibration import selected
from royalty.models.valuation.content import content_keys, sampled, with_labels
from royalty.models.valuation.detector_fits import Clean, fit_to_itself, fits_to_clean, folds_of_clean
from royalty.models.valuation.exact import Exact
from royalty.models.valuation.faults import FAULTS

TRIM = 0.2
"""Fraction of the items of each label that judge no others, if there is no validation."""


@dataclass(frozen=True)
class Reasons:
    """Why items score as they do, in the order of the training items.

    Attributes:
        parts: the kind of fault with the largest part in the combined score, `(items,)`.
        suggested_labels: the most probable label by the clean items, `(items,)`.
        probabilities: its probability, `(items,)`.
        nearest: positions of the nearest clean items by features, nearest first, `(items, neighbours)`; without
            validation, of the nearest training items that judge others.
    """

    parts: np.ndarray
    suggested_labels: np.ndarray
    probabilities: np.ndarray
    nearest: np.ndarray


@dataclass(frozen=True)
class DetectedItems:
    """Items by how likely they are faulty, in the order of the training items.

    Attributes:
        scores: float64, `(items,)`: logarithm of the combined p-value; at most 0, higher is cleaner.
        p_values: by kind of fault, `(items,)`, in (0, 1]: `label`, `features`, `within_class`.
        flagged: bool, `(items,)`; selected at the false discovery rate. They are the items of lowest score.
        reasons: why.
        calibrated: whether p-values are ranks among clean items. Without validation they are not, and the false
            discovery rate is an estimate.
        diagnostics: `fdr`; `flagged`, the number; `weights` of the kinds of fault in the combined score; `fractions`,
            the estimated fraction of faulty items by label; `copies`, the number of training items that occur in
            validation; `clean`, the number of clean items that differ, because only those count; `trimmed`, the number
            of training items that judge no others; `all_flagged`, by label whose items are all flagged, how many of
            them are faulty at least, on average, by the false discovery rate.
    """

    scores: np.ndarray
    p_values: dict[str, np.ndarray]
    flagged: np.ndarray
    reasons: Reasons
    calibrated: bool
    diagnostics: dict[str, Any]


def detect_items(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    val_features: ArrayLike | None = None,
    val_labels: ArrayLike | None = None,
    *,
    fdr: float = 0.1,
    by_class: bool = True,
    neighbours: int = 3,
    trim: float = TRIM,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> DetectedItems:
    """Find training items whose label or features do not fit clean items, at a false discovery rate.

    Clean items are divided into two folds. A linear head and optimal transport are fitted to one fold and score the
    training items and the other fold alike (see `royalty.models.valuation.faults`), so that the rank of a training item
    among clean ones is a p-value. Labels are then judged again by heads that are also fitted to training items with a
    high p-value, of the half of the items that the judged item is not in. The logarithms of the p-values of the three
    kinds of fault are added with weights that are fitted to this set, and the sum is ranked among the same sums of
    clean items. Both folds change parts; the geometric mean of their p-values counts. It is conservative at small
    levels, and not uniform above about 0.3. A training item that occurs in validation is scored only by the fit that
    leaves it out. Copies of clean items count once. The order of the items changes nothing; the seed does, which draws
    the folds.

    Without validation, training items are divided into five folds, and the items of a fold are scored by the others.
    The fraction `trim` of each label with the lowest scores is then left out of the fits, and all items are scored
    again by the rest; this is done twice. An item is ranked among all training items, of which the lowest fraction
    `trim` is replaced by an exponential tail, continued from the tenth above it (see
    `royalty.models.valuation.calibration.own_p_values`). P-values are not calibrated, because nothing shows how clean
    items look: they are too small if scores of clean items have a heavier tail, and too large if more than `trim` of
    the items is faulty. Faults that most items of a label have are not found.

    Args:
        train_features, val_features: `(items, d)`, floating point; Euclidean distances are compared. Without
            validation, both `val_features` and `val_labels` are None.
        train_labels, val_labels: integers, `(items,)`. Each training label needs two items that differ, in validation
            or else in training.
        fdr: largest expected fraction of clean items among the flagged ones, in (0, 1).
        by_class: add the log-odds that an item of the label is faulty to the score; see
            `royalty.models.valuation.contamination.fractions_by_class`.
        neighbours: number of nearest clean items in the reasons, from 1 to the number of validation items; without
            validation, to half the number of other training items.
        trim: fraction of the items of each label that judge no others, in [0, 0.5); not used with validation.
        seed: of the folds.
        device: where transport is computed, such as `"cuda"`; the CPU by default.
        progress: called with 1 after each fold; without validation, after each of the three rounds of all folds.

    Returns:
        For each training item a score (the logarithm of its combined p-value, at most 0; higher is cleaner), its
        p-values by kind of fault, in (0, 1], whether it is flagged, and why; see `DetectedItems`.

    Raises:
        InputError: options out of range; what `royalty.models.base.checks.check_labelled` refuses; a training label
            with fewer than two items that differ in validation, or without it in training; only one of `val_features`
            and `val_labels`.

    Examples:
        The third item lies among items of another label:

        >>> import royalty
        >>> clean = [[0.1 * i] for i in range(10)] + [[5 + 0.1 * i] for i in range(10)]
        >>> clean_labels = [0] * 10 + [1] * 10
        >>> found = royalty.detect_items([[0.25], [0.55], [0.35], [5.55]], [0, 0, 1, 1], clean, clean_labels)
        >>> int(found.scores.argmin()), int(found.reasons.suggested_labels[2])
        (2, 0)

        It is found without validation too, by the other training items:

        >>> wrong = [0] * 9 + [1] + [1] * 10
        >>> found = royalty.detect_items(clean, wrong)
        >>> int(found.scores.argmin()), found.calibrated
        (9, False)
    """
    train, labels = as_features(train_features, "train_features"), as_labels(train_labels, "train_labels")
    fdr, trim = as_number(fdr, "fdr"), as_number(trim, "trim")
    neighbours, seed = as_whole(neighbours, "neighbours"), as_seed(seed)
    clean, on = _validation(val_features, val_labels), as_device(device)
    check_fdr(fdr)
    check_labelled(train, labels, *(clean or (train, labels)))
    most, side = ((len(train) - 1) // 2, "training") if clean is None else (len(clean[0]), "validation")
    if not 1 <= neighbours <= most:
        raise InputError(
            f"`neighbours` lies between 1 and the number of {side} items{', halved' * (clean is None)}, {most}; got "
            f"{neighbours}. Take 3"
        )
    # Folds, sums and ties follow the content, so that the order of the items changes nothing.
    by_content = np.argsort(with_labels(content_keys(train), labels), kind="stable")
    items, place = (Rows((train, by_content)), labels[by_content]), np.argsort(by_content)
    if clean is None:
        check_trim(trim)
        fit, kept = fit_to_itself(items, trim, by_class, seed, on, progress)
        fits, copies, trimmed, distinct = [fit], 0, int((~kept).sum()), 0
        nearest = by_content[_nearest_others(items[0], kept, neighbours)]
    else:
        once = _once(clean)
        folds = folds_of_clean(items, once, seed)
        fits = list(fits_to_clean(items, once, folds, by_class, on, progress))
        copies, trimmed, distinct = int((folds.train >= 0).sum()), 0, len(once[1])
        nearest = _nearest(items[0], clean[0], neighbours)
    log_p = _mean([(fit.rows, fit.log_p) for fit in fits], len(labels))[place]  # (items, kinds)
    scores = _mean([(fit.rows, fit.combined) for fit in fits], len(labels))[place]
    weights = np.mean([fit.tilt.weights for fit in fits], axis=0)
    probabilities = np.exp(_mean([(fit.rows, fit.log_probabilities) for fit in fits], len(labels)))[place]
    classes, best = np.unique(labels if clean is None else clean[1]), probabilities.argmax(axis=1)
    flagged = selected(np.exp(scores), fdr)
    return DetectedItems(
        scores=scores,
        p_values={kind: np.exp(log_p[:, column]) for column, kind in enumerate(FAULTS)},
        flagged=flagged,
        reasons=Reasons(
            parts=np.array(FAULTS)[(log_p * weights).argmin(axis=1)],
            suggested_labels=classes[best],
            probabilities=probabilities.max(axis=1) / probabilities.sum(axis=1),
            nearest=nearest[place],
        ),
        calibrated=clean is not None,
        diagnostics={
            "fdr": fdr,
            "flagged": int(flagged.sum()),
            "weights": dict(zip(FAULTS, weights.tolist(), strict=True)),
            "fractions": {label: float(np.mean([fit.fractions[label] for fit in fits])) for label in fits[0].fractions},
            "copies": copies,
            "clean": distinct,
            "trimmed": trimmed,
            "all_flagged": _all_flagged(flagged, labels, fdr),
        },
    )


def _validation(features: ArrayLike | None, labels: ArrayLike | None) -> Clean | None:
    """Clean items as arrays; None if there are none."""
    if features is None and labels is None:
        return None
    if features is None or labels is None:
        missing = "val_features" if features is None else "val_labels"
        raise InputError(f"validation has features and labels, and `{missing}` is None; give both, or neither")
    return as_features(features, "val_features"), as_labels(labels, "val_labels")


def _once(clean: Clean) -> Clean:
    """The clean items that differ, in features or label; copies show nothing new of how clean items look."""
    keys = with_labels(content_keys(clean[0]), clean[1])
    sample = sampled(clean[0], keys, len(keys), labels=clean[1])
    return sample.features, np.asarray(sample.labels)


def check_fdr(fdr: float) -> None:
    """Check a false discovery rate."""
    if not 0 < fdr < 1:
        raise InputError(
            f"`fdr` is the fraction of clean items allowed among the flagged ones, in (0, 1); got {fdr}. Take 0.1"
        )


def check_trim(trim: float) -> None:
    """Check the fraction of items that judge no others."""
    if not 0 <= trim < 0.5:
        raise InputError(
            f"`trim` is the fraction of the items of each label that judge no others, in [0, 0.5); got {trim}. Take "
            f"{TRIM}, or more than the fraction that may be faulty"
        )


def _mean(parts: list[tuple[np.ndarray, np.ndarray]], items: int) -> np.ndarray:
    """The mean of what the fits say of each item; a fit says something of its rows only."""
    total, count = np.zeros((items, *parts[0][1].shape[1:])), np.zeros(items)
    for rows, values in parts:
        total[rows] += values
        count[rows] += 1
    mean: np.ndarray = (total.T / count).T
    return mean


def _nearest(train: Features, val: np.ndarray, neighbours: int) -> np.ndarray:
    """Positions of the nearest clean items, nearest first, `(items, neighbours)`."""
    index = Exact(val)
    return np.concatenate([index.search(piece, neighbours)[1] for piece in pieces(train)])


def _nearest_others(train: Features, kept: np.ndarray, neighbours: int) -> np.ndarray:
    """Positions of the nearest kept items other than the item itself, nearest first, `(items, neighbours)`."""
    nearest = np.flatnonzero(kept)[_nearest(train, train[kept], neighbours + 1)]
    other = nearest != np.arange(len(train))[:, None]
    other[other.all(axis=1), -1] = False
    others: np.ndarray = nearest[other].reshape(len(train), neighbours)
    return others


def _all_flagged(flagged: np.ndarray, labels: np.ndarray, fdr: float) -> dict[int, int]:
    """By label whose items are all flagged, the number left if all false discoveries were of this label."""
    clean = int(fdr * flagged.sum())
    wholly = [label for label in np.unique(labels).tolist() if flagged[labels == label].all()]
    return {label: max(0, int((labels == label).sum()) - clean) for label in wholly}
