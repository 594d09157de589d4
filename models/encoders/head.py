"""A multinomial logistic regression on features: the model used by the retraining-free methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax

from royalty.models.base.checks import check_finite, check_labels
from royalty.models.base.errors import InputError

MAX_STEPS = 1000
"""Largest number of LBFGS steps; training ends there even if it has not converged."""

BATCH = 32
"""Items in a step of gradient descent."""

LEARNING_RATE = 0.5
"""Learning rate of gradient descent; on rows of mean squared length 2, cross entropy has a curvature of at most 1."""


@dataclass(frozen=True)
class LinearHead:
    """p(class | x) = softmax(rows(x) W), where rows(x) are the standardized features and a constant 1.

    Attributes:
        classes: the labels of the classes, sorted, `(classes,)`.
        mean, scale: mean and standard deviation of the training features, `(dimensions,)`; the scale of a constant
            dimension is 1.
        weights: W, `(dimensions + 1, classes)`; the last row is the bias.
        gradient: largest absolute entry of the loss gradient at `weights`; 0 at the optimum.
    """

    classes: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    gradient: float

    def rows(self, features: np.ndarray) -> np.ndarray:
        """Standardized features and a constant 1, float64, `(items, dimensions + 1)`."""
        return standardized_rows(features, self.mean, self.scale)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Unnormalized log-probabilities, float64, `(items, classes)`."""
        logits: np.ndarray = self.rows(features) @ self.weights
        return logits

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities, float64, `(items, classes)`; rows sum to one."""
        probabilities: np.ndarray = softmax(self.logits(features), axis=1)
        return probabilities


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    penalty: float = 1e-3,
    steps: int = MAX_STEPS,
    progress: Callable[[int], None] | None = None,
) -> LinearHead:
    """Minimize the mean cross entropy + penalty / 2 |W|^2 by LBFGS from zero; deterministic.

    The bias is penalized too, which makes the minimizer unique and the eigenvalues of the Hessian at least `penalty`.

    Args:
        features: `(items, dimensions)`.
        labels: integers, `(items,)`; the distinct labels are the classes, each with at least one item.
        penalty: above 0.
        steps: largest number of LBFGS steps.
        progress: called with 1 after each pass over the items; the number of passes is not known in advance.

    Raises:
        InputError: the penalty is not above 0, features are not finite, or items do not have one integer label each.
    """
    if not 0 < penalty < np.inf:
        raise InputError(f"the penalty is a number above 0, got {penalty}; 0.001 suits most features")
    check_labels(labels, len(features), "training")
    check_finite(features, "training")
    classes, targets = np.unique(labels, return_inverse=True)
    mean, scale = moments(features)
    rows, target_rows = torch.from_numpy(standardized_rows(features, mean, scale)), torch.from_numpy(targets)
    weights = torch.zeros((rows.shape[1], len(classes)), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=steps, tolerance_grad=1e-8, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        if progress is not None:
            progress(1)
        return torch.nn.functional.cross_entropy(rows @ weights, target_rows) + penalty / 2 * weights.square().sum()

    def loss_and_gradient() -> torch.Tensor:
        value = loss()
        (weights.grad,) = torch.autograd.grad(value, weights)
        return value

    optimizer.step(loss_and_gradient)  # type: ignore[no-untyped-call]
    # Evaluated again, because the last point of the line search may not be the final one.
    (gradient,) = torch.autograd.grad(loss(), weights)
    return LinearHead(classes, mean, scale, weights.detach().numpy(), float(gradient.abs().max()))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each dimension, `(dimensions,)`; a deviation of 0 is replaced by 1."""
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    constant = (features == features[0]).all(axis=0)  # rounding may give such a dimension a small deviation
    return mean, np.where(constant | (deviation == 0), 1, deviation)


def standardized_rows(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(features - mean) / scale and a constant 1, float64, `(items, dimensions + 1)`."""
    rows = np.ones((len(features), features.shape[1] + 1))
    np.divide(features - mean, scale, out=rows[:, :-1])
    return rows


def prediction_errors(rows: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """p - y, predicted probabilities minus one-hot targets, `(items, classes)`."""
    error: np.ndarray = softmax(rows @ weights, axis=1)
    error[np.arange(len(rows)), targets] -= 1
    return error


def descend(
    rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, epochs: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """W after each epoch of stochastic gradient descent on cross entropy, `(dimensions + 1, classes)`."""
    for _ in range(epochs):
        order = generator.permutation(len(rows))
        for start in range(0, len(rows), BATCH):
            batch = order[start : start + BATCH]
            batch_rows = rows[batch]  # (batch, dimensions + 1)
            errors = prediction_errors(batch_rows, targets[batch], weights)
            weights = weights - LEARNING_RATE / len(batch) * batch_rows.T @ errors
        yield weights


def descent_rows(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Standardized rows whose features have mean squared length 1, so that one learning rate fits any dimension."""
    return standardized_rows(features, mean, scale * features.shape[1] ** 0.5)
