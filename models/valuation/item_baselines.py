"""Inexpensive baselines that value single items from features; each trains at most a few linear heads."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import softmax

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.encoders.head import LEARNING_RATE, descend, descent_rows, fit_head, moments, prediction_errors
from royalty.models.valuation.folds import clean_folds
from royalty.models.valuation.items import ItemValues

RESIDUAL = 1e-6
"""Relative residual |H v - g| / |g| at which conjugate gradients stop."""

MOST_ITERATIONS = 2000
"""Limit of conjugate gradient iterations; the diagnostics report the final residual."""


def confidence_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    folds: int = 5,
    progress: Progress | None = None,
) -> ItemValues:
    """Value an item by the probability that heads trained on validation items give to its label.

    Validation items are divided into folds, and one head is trained without each fold. A training item whose features
    occur in validation is evaluated by the one head that was not trained on them, so that a wrong label in both sets is
    not confirmed; other items by the mean of all heads. Heads that were not trained on the label are left out of the
    mean; if no head is left (all validation items of the label are copies of this item), the value is 0.

    Args:
        train_features: `(items, dimensions)`.
        train_labels: `(items,)`, integers.
        val_features: `(validation items, dimensions)`.
        val_labels: `(validation items,)`, integers.
        seed: of the folds. Items with equal features share a fold; each label is spread over the folds.
        folds: from 2 to the number of distinct validation items.
        progress: called with 1 after each fold.

    Returns:
        Values in [0, 1], higher is better; diagnostics `accuracy` of the heads on the folds they were not trained on,
        `copies`, the number of training items that occur in validation, and `gradient`, the largest gradient of a head
        (0 at convergence).

    Raises:
        InputError: folds out of range, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    fold_of = clean_folds(train_features, val_features, val_labels, folds, seed)
    total, heads, correct, gradient = np.zeros(len(train_labels)), np.zeros(len(train_labels)), 0, 0.0
    for fold in range(folds):
        held_out = fold_of.clean == fold
        head = fit_head(val_features[~held_out], val_labels[~held_out])
        rows = np.flatnonzero(np.isin(fold_of.train, (-1, fold)) & np.isin(train_labels, head.classes))
        columns = np.searchsorted(head.classes, train_labels[rows])
        total[rows] += head.probabilities(train_features[rows])[np.arange(len(rows)), columns]
        heads[rows] += 1
        correct += int((head.classes[head.logits(val_features[held_out]).argmax(axis=1)] == val_labels[held_out]).sum())
        gradient = max(gradient, head.gradient)
        if progress is not None:
            progress(1)
    diagnostics = {
        "accuracy": correct / len(val_labels),
        "copies": int((fold_of.train >= 0).sum()),
        "gradient": gradient,
    }
    return ItemValues(total / np.maximum(heads, 1), diagnostics)


def el2n_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    epochs: int = 2,
    runs: int = 10,
    progress: Progress | None = None,
) -> ItemValues:
    """EL2N: minus the norm of the error p - y early in training on the training items (Paul et al. 2021, def. 2.2).

    Paul et al. keep the items with large errors, the hard ones, of a clean data set. Mislabelled items have large
    errors as well, and the sign here gives them low values. Validation items are checked but not used.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        seed: of the first weights and the order of the items.
        epochs: of gradient descent before the error is measured, at least 1.
        runs: number of runs from different initial weights, at least 1; the value is their mean.
        progress: called with 1 after each run.

    Returns:
        values in [-sqrt(2), 0], higher is better; diagnostics `accuracy` on the training items, mean over runs.

    Raises:
        InputError: epochs or runs below 1, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    check_positive("epochs", epochs)
    check_positive("runs", runs)
    classes, targets = np.unique(train_labels, return_inverse=True)
    rows = descent_rows(train_features, *moments(train_features))
    total, right = np.zeros(len(rows)), 0.0
    for generator in np.random.default_rng(seed).spawn(runs):
        start = generator.normal(scale=rows.shape[1] ** -0.5, size=(rows.shape[1], len(classes)))
        *_, weights = descend(rows, targets, start, epochs=epochs, generator=generator)
        total += np.linalg.norm(prediction_errors(rows, targets, weights), axis=1)
        right += float(((rows @ weights).argmax(axis=1) == targets).mean())
        if progress is not None:
            progress(1)
    return ItemValues(-total / runs, {"accuracy": right / runs})


def prototype_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    progress: Progress | None = None,
) -> ItemValues:
    """Minus the Euclidean distance to the mean of the features of the validation items with the item's label.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        progress: called with 1 after each label.

    Returns:
        values at most 0, higher is better; diagnostics `fewest`, the validation items of the rarest label.

    Raises:
        InputError: what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    values, fewest = np.empty(len(train_labels)), len(val_labels)
    for label in np.unique(train_labels):
        members, val_members = train_labels == label, val_labels == label
        prototype = val_features[val_members].mean(axis=0, dtype=np.float64)  # (dimensions,)
        values[members] = -np.linalg.norm(train_features[members] - prototype, axis=1)
        fewest = min(fewest, int(val_members.sum()))
        if progress is not None:
            progress(1)
    return ItemValues(values, {"fewest": fewest})


def tracin_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    epochs: int = 10,
    progress: Progress | None = None,
) -> ItemValues:
    """TracIn: sum over checkpoints of the learning rate times <gradient of the item, mean gradient of validation>.

    Pruthi et al. 2020, equation 3 (TracInCP), with a checkpoint of a linear head after each epoch of gradient
    descent from zero on the training items. The gradient of a linear head is x (p - y)', so the inner product
    with G is x' G (p - y) and no item's gradient is stored. Validation items with a label that no training
    item has are left out.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        seed: of the order of the items.
        epochs: at least 1.
        progress: called with 1 after each epoch.

    Returns:
        Values, higher is better; items with positive values lowered the validation loss. Diagnostics: `accuracy` on
        validation after the last epoch.

    Raises:
        InputError: epochs below 1, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    check_positive("epochs", epochs)
    classes, targets = np.unique(train_labels, return_inverse=True)
    known = np.isin(val_labels, classes)
    val_targets = np.searchsorted(classes, val_labels[known])
    mean, scale = moments(train_features)
    rows, val_rows = (descent_rows(features, mean, scale) for features in (train_features, val_features[known]))
    values = np.zeros(len(rows))
    generator = np.random.default_rng(seed)
    start = np.zeros((rows.shape[1], len(classes)))
    for weights in descend(rows, targets, start, epochs=epochs, generator=generator):
        values += LEARNING_RATE * alignment(rows, targets, val_rows, val_targets, weights)
        if progress is not None:
            progress(1)
    right = (val_rows @ weights).argmax(axis=1) == val_targets
    return ItemValues(values, {"accuracy": float(right.sum() / len(val_labels))})


def influence_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    penalty: float = 1e-3,
    progress: Progress | None = None,
) -> ItemValues:
    """Influence functions: the increase of the validation loss if the item were left out.

    g' H^-1 g_i / n of the head that `fit_head` trains on the training items (Koh & Liang 2017, equation 2, for
    upweighting by -1/n), where g is the mean validation gradient and H the Hessian of the penalized training
    loss. H is never stored: conjugate gradients need only its products. Validation items with a label that no
    training item has are left out.

    Args:
        train_features, train_labels, val_features, val_labels: as for `confidence_values`.
        penalty: of the head, above 0; the least eigenvalue that H can have.
        progress: called with 1 after each pass over the training items; their number is not known in advance.

    Returns:
        values in units of mean cross entropy, higher is better; diagnostics `residual`, |H v - g| / |g| of the
        solution v, and `gradient` of the head, both near 0 when solved.

    Raises:
        InputError: penalty not above 0, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    head = fit_head(train_features, train_labels, penalty=penalty, progress=progress)
    targets = np.searchsorted(head.classes, train_labels)
    known = np.isin(val_labels, head.classes)
    val_rows, val_targets = head.rows(val_features[known]), np.searchsorted(head.classes, val_labels[known])
    rows = head.rows(train_features)
    probabilities = softmax(rows @ head.weights, axis=1)  # (items, classes)

    def hessian_product(flat: np.ndarray) -> np.ndarray:
        direction = flat.reshape(head.weights.shape)
        change = probabilities * (rows @ direction)  # (items, classes)
        change -= probabilities * change.sum(axis=1, keepdims=True)
        if progress is not None:
            progress(1)
        product: np.ndarray = rows.T @ change / len(rows) + penalty * direction
        return product.ravel()

    gradient = val_rows.T @ prediction_errors(val_rows, val_targets, head.weights) / len(val_rows)
    hessian = LinearOperator((gradient.size, gradient.size), matvec=hessian_product, dtype=np.float64)
    solution, _ = cg(hessian, gradient.ravel(), rtol=RESIDUAL, maxiter=MOST_ITERATIONS)
    residual = np.linalg.norm(hessian_product(solution) - gradient.ravel())
    change = rows @ solution.reshape(gradient.shape)  # change of the items' logits along H^-1 g
    values = (change * prediction_errors(rows, targets, head.weights)).sum(axis=1) / len(rows)
    length = np.linalg.norm(gradient)
    diagnostics = {"residual": float(residual / length) if length else 0.0, "gradient": head.gradient}
    return ItemValues(values, diagnostics)


def alignment(
    rows: np.ndarray, targets: np.ndarray, val_rows: np.ndarray, val_targets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Inner product of each training item's gradient and the mean validation gradient at the weights, `(items,)`."""
    gradient = (
        val_rows.T @ prediction_errors(val_rows, val_targets, weights) / len(val_rows)
    )  # (dimensions + 1, classes)
    products: np.ndarray = ((rows @ gradient) * prediction_errors(rows, targets, weights)).sum(axis=1)
    return products


def check_positive(name: str, count: int) -> None:
    if count < 1:
        raise InputError(f"there is at least one of {name}, got {count}; leave it out for the default")
