"""Fits of the detector: training items judged by a clean set, or by the other items of their own set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from scipy.special import expit, logit

from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.rows import Features, Rows
from royalty.models.valuation.calibration import clean_p_values, own_p_values, p_values
from royalty.models.valuation.contamination import BY_CLEAN, BY_OTHERS, Prior, Tilt, fit_tilt, fractions_by_class
from royalty.models.valuation.content import content_keys
from royalty.models.valuation.faults import FAULTS, Evidence, Fault, evidence, with_trusted
from royalty.models.valuation.folds import Folds, clean_folds, row_bytes

CLEAN_FOLDS = 2
"""Parts of the clean items; each is the fit of one half of the p-values, and the comparison of the other half."""

TRUSTED = 0.2
"""Combined p-value above which a training item is trusted with the labels of others."""

OWN_FOLDS = 5
"""Parts of a training set without clean items; each is judged by the others."""

TRIMMINGS = 2
"""How often the items of lowest score are left out, and all items judged again by the rest."""

Labelled = tuple[Features, np.ndarray]
"""Features, `(items, dimensions)`, and labels, `(items,)`."""

Clean = tuple[np.ndarray, np.ndarray]
"""The same of clean items, in memory."""

Evidenced = tuple[np.ndarray, np.ndarray]
"""Logarithms of p-values, `(items, kinds)`, and labels, `(items,)`."""


@dataclass(frozen=True)
class Fit:
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


def fits_to_clean(
    train: Labelled,
    val: Clean,
    folds: Folds,
    by_class: bool,
    device: torch.device | None,
    progress: Progress | None,
) -> Iterator[Fit]:
    """Judge the training items by each fold of the clean items; the other fold shows how clean items look.

    Labels are judged a second time with the help of the training items that look clean. Copies of clean items do not
    help, because they would vouch for those that are left out.
    """
    for fold in range(CLEAN_FOLDS):
        rows = np.flatnonzero(np.isin(folds.train, (-1, fold)))
        fitted = folds.clean != fold
        left_out = ~fitted & np.isin(val[1], train[1])
        features = Rows((train[0], rows), (val[0], np.flatnonzero(left_out)))
        labels = np.concatenate([train[1][rows], val[1][left_out]])
        is_clean = np.arange(len(labels)) >= len(rows)
        sides = (features, labels), is_clean, (val[0][fitted], val[1][fitted])
        scored = evidence(*sides, device)
        first = _calibrated(rows, labels, is_clean, scored, by_class)
        trusted = np.zeros(len(is_clean), dtype=bool)
        trusted[: len(rows)] = (first.combined > np.log(TRUSTED)) & (folds.train[rows] < 0)
        parts = np.array([crc32(row) % 2 for row in row_bytes(features)])  # copies share one
        yield _calibrated(rows, labels, is_clean, with_trusted(scored, *sides, trusted, parts), by_class)
        if progress is not None:
            progress(1)


def folds_of_clean(train: Labelled, val: Clean, seed: int) -> Folds:
    """Folds in which every training label has clean items.

    Raises:
        InputError: a training label whose clean items are all alike.
    """
    rule = "each training label needs two validation items that differ, one for each fold; label {} has {}. Add clean "
    rule += "items of the label, or remove its training items"
    if (val[0] == val[0][0]).all():
        raise InputError(rule.format(val[1].min(), "one"))
    folds = clean_folds(train[0], *val, CLEAN_FOLDS, seed)
    for label in np.unique(train[1]):
        if len(np.unique(folds.clean[val[1] == label])) < CLEAN_FOLDS:
            raise InputError(rule.format(label, "one"))
    return folds


def fit_to_itself(
    train: Labelled,
    trim: float,
    by_class: bool,
    seed: int,
    device: torch.device | None,
    progress: Progress | None,
) -> tuple[Fit, np.ndarray]:
    """Judge the items of each fold by the other folds, trim the items of lowest score, and judge all again by the rest.

    Returns:
        The last fit, and the items that it was fitted to: bool, `(items,)`.
    """
    fold_of = own_folds(train, seed)
    kept = np.ones(len(fold_of), dtype=bool)
    fit = _judged(train, fold_of, kept, trim, by_class, device, progress)
    for _ in range(TRIMMINGS if trim else 0):
        kept = _kept(fit.combined, train[1], fold_of, trim)
        fit = _judged(train, fold_of, kept, trim, by_class, device, progress)
    return fit, kept


def own_folds(train: Labelled, seed: int) -> np.ndarray:
    """Fold of each item, `(items,)`. Items with equal features share a fold; each label is spread over the folds.

    Raises:
        InputError: a label whose items are all in one fold.
    """
    features, labels = train
    distinct = len(np.unique(content_keys(features)))
    folds = clean_folds(features, features, labels, min(OWN_FOLDS, distinct), seed).clean
    for label in np.unique(labels):
        if len(np.unique(folds[labels == label])) < 2:
            raise InputError(
                "without validation, items are judged by others of their label, so that each label needs two training "
                f"items that differ; label {label} has one. Add items of the label, remove it, or give validation items"
            )
    return folds


def _judged(
    train: Labelled,
    fold_of: np.ndarray,
    kept: np.ndarray,
    trim: float,
    by_class: bool,
    device: torch.device | None,
    progress: Progress | None,
) -> Fit:
    """Judge the items of each fold by the kept items of the others; p-values compare items of all folds."""
    (features, labels), classes = train, np.unique(train[1])
    scores: dict[Fault, np.ndarray] = {kind: np.empty(len(labels)) for kind in FAULTS}
    log_probabilities = np.empty((len(labels), len(classes)))
    for fold in np.unique(fold_of):
        rows, fitted = np.flatnonzero(fold_of == fold), (fold_of != fold) & kept
        scored = evidence((features[rows], labels[rows]), kept[rows], (features[fitted], labels[fitted]), device)
        log_probabilities[rows] = scored.log_probabilities
        for kind in FAULTS:
            # Dual potentials are defined up to a constant, which differs between folds.
            middle = np.median(scored.scores[kind][kept[rows]]) if kind == "features" else 0.0
            scores[kind][rows] = scored.scores[kind] - middle
    if progress is not None:
        progress(1)
    log_p = np.log(np.stack([own_p_values(scores[kind], trim) for kind in FAULTS], axis=1))
    odds, _, tilt, fractions = _odds((log_p, labels), (log_p[kept], labels[kept]), by_class, BY_OTHERS)
    combined = np.log(own_p_values(-odds, trim))
    return Fit(np.arange(len(labels)), log_p, combined, log_probabilities, tilt, fractions)


def _kept(scores: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, trim: float) -> np.ndarray:
    """All but the items of lowest score of each label and fold: bool, `(items,)`. With `trim` < 0.5, one is left."""
    kept = np.ones(len(scores), dtype=bool)
    for label in np.unique(labels):
        for fold in np.unique(fold_of):
            rows = np.flatnonzero((labels == label) & (fold_of == fold))
            kept[rows[np.argsort(scores[rows], kind="stable")[: round(trim * len(rows))]]] = False
    return kept


def _calibrated(rows: np.ndarray, labels: np.ndarray, is_clean: np.ndarray, scored: Evidence, by_class: bool) -> Fit:
    """P-values of the training items of a fit, by kind of fault and combined."""
    own, clean_labels = labels[~is_clean], labels[is_clean]
    kinds = [(scored.scores[kind][~is_clean], scored.scores[kind][is_clean]) for kind in FAULTS]
    log_p = np.log(np.stack([p_values(ours, clean) for ours, clean in kinds], axis=1))
    clean_log_p = np.log(np.stack([clean_p_values(clean) for _, clean in kinds], axis=1))
    odds, clean_odds, tilt, fractions = _odds((log_p, own), (clean_log_p, clean_labels), by_class, BY_CLEAN)
    # Clean items count as many times as there are training items of their label.
    classes, places = np.unique(clean_labels, return_inverse=True)
    counts = np.array([(own == label).sum() for label in classes]) / np.bincount(places)
    combined = np.log(p_values(-odds, -clean_odds, weights=counts[places]))
    return Fit(rows, log_p, combined, scored.log_probabilities[~is_clean], tilt, fractions)


def _odds(
    train: Evidenced, clean: Evidenced, by_class: bool, prior: Prior
) -> tuple[np.ndarray, np.ndarray, Tilt, dict[int, float]]:
    """Log-odds of a fault, of the training items and of the clean ones, with the mixture and the fractions by label.

    Args:
        train, clean: evidence of the training items and of the clean ones.
    """
    (log_p, own), (clean_log_p, clean_labels) = train, clean
    tilt = fit_tilt(-log_p, -clean_log_p, prior)
    odds, clean_odds = tilt.log_ratio(-log_p), tilt.log_ratio(-clean_log_p)
    fractions = fractions_by_class(
        expit(odds + logit(tilt.fraction)), own, expit(clean_odds + logit(tilt.fraction)), clean_labels
    )
    if by_class:
        odds = odds + logit([fractions[label] for label in own.tolist()])
        # A label that no training item of this fit has is of no weight below.
        clean_odds = clean_odds + logit([fractions.get(label, tilt.fraction) for label in clean_labels.tolist()])
    return odds, clean_odds, tilt, fractions
