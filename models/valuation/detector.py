"""Detect faulty training items by clean ones: p-values by kind of fault, a combined score, a false discovery rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from royalty.models.base.arrays import as_features, as_labels, as_number, as_seed, as_whole
from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.valuation.calibration import clean_p_values, p_values, selected
from royalty.models.valuation.contamination import Tilt, fit_tilt, fractions_by_class
from royalty.models.valuation.faults import FAULTS, Evidence, evidence
from royalty.models.valuation.folds import Folds, clean_folds
from royalty.models.valuation.knn_shapley import TILE_BYTES, nearest_first

FOLDS = 2
"""Parts of the clean items; each is the fit of one half of the p-values, and the comparison of the other half."""


@dataclass(frozen=True)
class Reasons:
    """Why items score as they do, in the order of the training items.

    Attributes:
        parts: the kind of fault with the largest part in the combined score, `(items,)`.
        suggested_labels: the most probable label by the clean items, `(items,)`.
        probabilities: its probability, `(items,)`.
        nearest: positions of the nearest clean items by features, nearest first, `(items, neighbours)`.
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
        diagnostics: `fdr`; `flagged`, the number; `weights` of the kinds of fault in the combined score; `fractions`,
            the estimated fraction of faulty items by label; `copies`, the number of training items that occur in
            validation; `all_flagged`, by label whose items are all flagged, how many of them are faulty at least, on
            average, by the false discovery rate.
    """

    scores: np.ndarray
    p_values: dict[str, np.ndarray]
    flagged: np.ndarray
    reasons: Reasons
    diagnostics: dict[str, Any]


def detect_items(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    val_features: ArrayLike,
    val_labels: ArrayLike,
    *,
    fdr: float = 0.1,
    by_class: bool = True,
    neighbours: int = 3,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> DetectedItems:
    """Find training items whose label or features do not fit clean items, at a false discovery rate.

    Clean items are divided into two folds. A linear head and optimal transport are fitted to one fold and score the
    training items and the other fold alike (see `royalty.models.valuation.faults`), so that the rank of a training item
    among clean ones is a p-value. The logarithms of the p-values of the three kinds of fault are added with weights
    that are fitted to this set, and the sum is ranked among the same sums of clean items. Both folds change parts; the
    geometric mean of their p-values counts. It is conservative at small levels, and not uniform above about 0.3. A
    training item that occurs in validation is scored only by the fit that leaves it out.

    Args:
        train_features, val_features: `(items, d)`, floating point; Euclidean distances are compared.
        train_labels, val_labels: integers, `(items,)`. Each training label needs two validation items that differ.
        fdr: largest expected fraction of clean items among the flagged ones, in (0, 1).
        by_class: add the log-odds that an item of the label is faulty to the score; see
            `royalty.models.valuation.contamination.fractions_by_class`.
        neighbours: number of nearest clean items in the reasons, from 1 to the number of validation items.
        seed: of the folds.
        device: where transport is computed, such as `"cuda"`; the CPU by default.
        progress: called with 1 after each fold.

    Returns:
        For each training item a score (the logarithm of its combined p-value, at most 0; higher is cleaner), its
        p-values by kind of fault, in (0, 1], whether it is flagged, and why; see `DetectedItems`.

    Raises:
        InputError: options out of range; what `royalty.models.base.checks.check_labelled` refuses; a training label
            with fewer than two validation items that differ.

    Examples:
        The third item lies among items of another label:

        >>> import royalty
        >>> clean = [[0.1 * i] for i in range(10)] + [[5 + 0.1 * i] for i in range(10)]
        >>> clean_labels = [0] * 10 + [1] * 10
        >>> found = royalty.detect_items([[0.25], [0.55], [0.35], [5.55]], [0, 0, 1, 1], clean, clean_labels)
        >>> int(found.scores.argmin()), int(found.reasons.suggested_labels[2])
        (2, 0)
    """
    train, val = as_features(train_features, "train_features"), as_features(val_features, "val_features")
    labels, clean_labels = as_labels(train_labels, "train_labels"), as_labels(val_labels, "val_labels")
    fdr, neighbours, seed = as_number(fdr, "fdr"), as_whole(neighbours, "neighbours"), as_seed(seed)
    check_fdr(fdr)
    check_labelled(train, labels, val, clean_labels)
    if not 1 <= neighbours <= len(val):
        raise InputError(
            f"`neighbours` lies between 1 and the number of validation items, {len(val)}; got {neighbours}. Take 3"
        )
    folds = _checked_folds(train, labels, val, clean_labels, seed)
    on = None if device is None else torch.device(device)
    fits = list(_fits((train, labels), (val, clean_labels), folds, by_class, on, progress))
    log_p = _mean([(fit.rows, fit.log_p) for fit in fits], len(labels))  # (items, kinds)
    scores = _mean([(fit.rows, fit.combined) for fit in fits], len(labels))
    weights = np.mean([fit.tilt.weights for fit in fits], axis=0)
    probabilities = np.exp(_mean([(fit.rows, fit.log_probabilities) for fit in fits], len(labels)))
    classes, best = np.unique(clean_labels), probabilities.argmax(axis=1)
    flagged = selected(np.exp(scores), fdr)
    return DetectedItems(
        scores=scores,
        p_values={kind: np.exp(log_p[:, column]) for column, kind in enumerate(FAULTS)},
        flagged=flagged,
        reasons=Reasons(
            parts=np.array(FAULTS)[(log_p * weights).argmin(axis=1)],
            suggested_labels=classes[best],
            probabilities=probabilities.max(axis=1) / probabilities.sum(axis=1),
            nearest=_nearest(train, val, neighbours),
        ),
        diagnostics={
            "fdr": fdr,
            "flagged": int(flagged.sum()),
            "weights": dict(zip(FAULTS, weights.tolist(), strict=True)),
            "fractions": {label: float(np.mean([fit.fractions[label] for fit in fits])) for label in fits[0].fractions},
            "copies": int((folds.train >= 0).sum()),
            "all_flagged": _all_flagged(flagged, labels, fdr),
        },
    )


def check_fdr(fdr: float) -> None:
    """Check a false discovery rate."""
    if not 0 < fdr < 1:
        raise InputError(
            f"`fdr` is the fraction of clean items allowed among the flagged ones, in (0, 1); got {fdr}. Take 0.1"
        )


@dataclass(frozen=True)
class _Fit:
    """What one fit says of the training items in `rows`.

    Attributes:
        log_p: logarithms of the p-values by kind of fault, `(rows, kinds)`.
        combined: logarithms of the combined p-values, `(rows,)`.
        log_probabilities: `(rows, clean labels)`.
    """

    rows: np.ndarray
    log_p: np.ndarray
    combined: np.ndarray
    log_probabilities: np.ndarray
    tilt: Tilt
    fractions: dict[int, float]


def _fits(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    folds: Folds,
    by_class: bool,
    device: torch.device | None,
    progress: Progress | None,
) -> Iterator[_Fit]:
    for fold in range(FOLDS):
        rows = np.flatnonzero(np.isin(folds.train, (-1, fold)))
        fitted = folds.clean != fold
        left_out = ~fitted & np.isin(val[1], train[1])
        items = tuple(np.concatenate([ours[rows], clean[left_out]]) for ours, clean in zip(train, val, strict=True))
        is_clean = np.arange(len(items[0])) >= len(rows)
        scored = evidence((items[0], items[1]), is_clean, (val[0][fitted], val[1][fitted]), device)
        yield _calibrated(rows, items[1], is_clean, scored, by_class)
        if progress is not None:
            progress(1)


def _calibrated(rows: np.ndarray, labels: np.ndarray, is_clean: np.ndarray, scored: Evidence, by_class: bool) -> _Fit:
    """P-values of the training items of a fit, by kind of fault and combined."""
    own, clean_labels = labels[~is_clean], labels[is_clean]
    kinds = [(scored.scores[kind][~is_clean], scored.scores[kind][is_clean]) for kind in FAULTS]
    log_p = np.log(np.stack([p_values(ours, clean) for ours, clean in kinds], axis=1))
    clean_log_p = np.log(np.stack([clean_p_values(clean) for _, clean in kinds], axis=1))
    tilt = fit_tilt(-log_p, -clean_log_p)
    odds, clean_odds = tilt.log_ratio(-log_p), tilt.log_ratio(-clean_log_p)
    fractions = fractions_by_class(
        expit(odds + logit(tilt.fraction)), own, expit(clean_odds + logit(tilt.fraction)), clean_labels
    )
    if by_class:
        odds = odds + logit([fractions[label] for label in own.tolist()])
        # A label that no training item of this fit has is of no weight below.
        clean_odds = clean_odds + logit([fractions.get(label, tilt.fraction) for label in clean_labels.tolist()])
    # Clean items count as many times as there are training items of their label.
    classes, places = np.unique(clean_labels, return_inverse=True)
    counts = np.array([(own == label).sum() for label in classes]) / np.bincount(places)
    combined = np.log(p_values(-odds, -clean_odds, weights=counts[places]))
    return _Fit(rows, log_p, combined, scored.log_probabilities[~is_clean], tilt, fractions)


def _checked_folds(
    train: np.ndarray, labels: np.ndarray, val: np.ndarray, clean_labels: np.ndarray, seed: int
) -> Folds:
    """Folds in which every training label has clean items."""
    rule = "each training label needs two validation items that differ, one for each fold; label {} has {}. Add clean "
    rule += "items of the label, or remove its training items"
    if (val == val[0]).all():
        raise InputError(rule.format(clean_labels[0], "one"))
    folds = clean_folds(train, val, clean_labels, FOLDS, seed)
    for label in np.unique(labels):
        if len(np.unique(folds.clean[clean_labels == label])) < FOLDS:
            raise InputError(rule.format(label, "one"))
    return folds


def _mean(parts: list[tuple[np.ndarray, np.ndarray]], items: int) -> np.ndarray:
    """The mean of what the fits say of each item; a fit says something of its rows only."""
    total, count = np.zeros((items, *parts[0][1].shape[1:])), np.zeros(items)
    for rows, values in parts:
        total[rows] += values
        count[rows] += 1
    mean: np.ndarray = (total.T / count).T
    return mean


def _nearest(train: np.ndarray, val: np.ndarray, neighbours: int) -> np.ndarray:
    """Positions of the nearest clean items, nearest first, `(items, neighbours)`."""
    centre = val.mean(axis=0, dtype=np.float64)
    clean = val - centre
    squares = np.square(clean).sum(axis=1)
    size = max(1, TILE_BYTES // (8 * len(val)))
    tiles = [
        nearest_first(train[start : start + size] - centre, clean, squares)[:, :neighbours]
        for start in range(0, len(train), size)
    ]
    return np.concatenate(tiles)


def _all_flagged(flagged: np.ndarray, labels: np.ndarray, fdr: float) -> dict[int, int]:
    """By label whose items are all flagged, the number left if all false discoveries were of this label."""
    clean = int(fdr * flagged.sum())
    wholly = [label for label in np.unique(labels).tolist() if flagged[labels == label].all()]
    return {label: max(0, int((labels == label).sum()) - clean) for label in wholly}
