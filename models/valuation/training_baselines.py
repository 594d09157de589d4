"""Baselines that value items by the other training items alone; validation is checked, and not used."""

from __future__ import annotations

import numpy as np

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.encoders.head import descend, descent_rows, fit_head, moments
from royalty.models.valuation.folds import clean_folds
from royalty.models.valuation.item_baselines import check_positive
from royalty.models.valuation.items import ItemValues


def out_of_bag_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    bags: int = 100,
    epochs: int = 2,
    progress: Progress | None = None,
) -> ItemValues:
    """Data-OOB: how often weak classifiers that were not trained on an item predict its label.

    Kwon and Zou 2023 (Data-OOB): value_i is the mean of 1[f_b(x_i) = y_i] over the bootstrap samples b without item i.
    Each classifier f_b is a linear head after a few epochs of gradient descent from zero on its sample; decision trees
    are slow on hundreds of features.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        seed: of the bootstrap samples and the order of the items in them.
        bags: number of bootstrap samples, at least 1.
        epochs: of gradient descent, at least 1.
        progress: called with 1 after each bootstrap sample.

    Returns:
        Values in [0, 1], higher is better; diagnostics `fewest`, the smallest number of classifiers that evaluate an
        item.

    Raises:
        InputError: bags or epochs below 1, an item that is in every bootstrap sample, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    check_positive("bags", bags)
    check_positive("epochs", epochs)
    classes, targets = np.unique(train_labels, return_inverse=True)
    rows = descent_rows(train_features, *moments(train_features))
    correct, out = np.empty((bags, len(rows)), dtype=bool), np.empty((bags, len(rows)), dtype=bool)
    for bag, generator in enumerate(np.random.default_rng(seed).spawn(bags)):
        drawn = generator.integers(len(rows), size=len(rows))
        start = np.zeros((rows.shape[1], len(classes)))
        *_, weights = descend(rows[drawn], targets[drawn], start, epochs=epochs, generator=generator)
        correct[bag] = (rows @ weights).argmax(axis=1) == targets
        out[bag] = np.bincount(drawn, minlength=len(rows)) == 0
        if progress is not None:
            progress(1)
    return ItemValues(out_of_bag_means(correct, out), {"fewest": int(out.sum(axis=0).min())})


def out_of_bag_means(correct: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Mean correctness of each item over the classifiers that were not trained on it, `(items,)`.

    Args:
        correct: whether a classifier predicts the item's label, bool, `(bags, items)`.
        out: whether the item is outside of the classifier's sample, bool, `(bags, items)`.

    Raises:
        InputError: an item is in every sample.
    """
    counts = out.sum(axis=0)
    if (counts == 0).any():
        raise InputError(
            f"each item must be left out of some bootstrap sample, and item {counts.argmin()} is in all {len(out)}. "
            "Increase `bags`, or add training items"
        )
    means: np.ndarray = (correct & out).sum(axis=0) / counts
    return means


def confident_learning_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    folds: int = 5,
    progress: Progress | None = None,
) -> ItemValues:
    """Confidence in the label by heads trained on the other folds of the training items, adjusted for each class.

    `confidence_values` trains its heads on validation. These are trained on the items that may be wrong. Training items
    with equal features share a fold. A class that the other folds do not have gets probability 0.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        seed: of the folds; each label is spread over them.
        folds: at least 2; if fewer training items differ, each of these is a fold.
        progress: called with 1 after each fold.

    Returns:
        Values in [0, 1], higher is better; diagnostics `thresholds`, the mean confidence of each class, in the order of
        the sorted labels, and `gradient`, the largest gradient of a head (0 at convergence).

    Raises:
        InputError: fewer than two folds, a single training item, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    if folds < 2:
        raise InputError(f"an item's fold is left out of training, so there are at least 2 folds, got {folds}; take 5")
    distinct = len(np.unique(train_features, axis=0))
    if distinct < 2:
        raise InputError("heads are trained on other items, and there is only one training item; add items")
    folds = min(folds, distinct)
    fold_of = clean_folds(train_features, train_features, train_labels, folds, seed).clean
    classes, targets = np.unique(train_labels, return_inverse=True)
    probabilities, gradient = np.zeros((len(targets), len(classes))), 0.0
    for fold in range(folds):
        held_out = np.flatnonzero(fold_of == fold)
        head = fit_head(train_features[fold_of != fold], train_labels[fold_of != fold])
        columns = np.searchsorted(classes, head.classes)
        probabilities[np.ix_(held_out, columns)] = head.probabilities(train_features[held_out])
        gradient = max(gradient, head.gradient)
        if progress is not None:
            progress(1)
    thresholds = class_thresholds(probabilities, targets)
    values = adjusted_confidence(probabilities, targets, thresholds)
    return ItemValues(values, {"thresholds": thresholds.tolist(), "gradient": gradient})


def class_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean probability of each class over the items of that label (Northcutt et al. 2021, equation 2), `(classes,)`.

    Args:
        probabilities: out of fold, `(items, classes)`.
        targets: number of the class of each item's label, `(items,)`; each class has an item.
    """
    own = probabilities[np.arange(len(targets)), targets]
    thresholds: np.ndarray = np.bincount(targets, weights=own) / np.bincount(targets)
    return thresholds


def adjusted_confidence(probabilities: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Probability of the label after each class has lost its threshold, in [0, 1], `(items,)`.

    p_k - t_k + max t, divided by its sum over the classes k, is what cleanlab calls adjusted self-confidence. Items of
    a class that heads find difficult are not all suspected.
    """
    adjusted = probabilities - thresholds + thresholds.max()  # (items, classes), not negative
    total = adjusted.sum(axis=1)
    own = adjusted[np.arange(len(targets)), targets]
    values: np.ndarray = np.divide(own, total, out=np.zeros(len(targets)), where=total > 0)
    return values
