"""Influence of items on what a model generates, from projected gradients: TRAK and its normalizations.

Phi `(items, projection)` holds the gradients of the training items, H = Phi'Phi + lambda I stands for
the Hessian, and g is a query's gradient. With `loss_gradients` of the simple loss these are TRAK,
relative and renormalized influence; of the square loss, D-TRAK; with `journey_gradients` as queries,
Journey-TRAK. In all of them higher is more valuable, and the sum over queries and items is principled.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve

from royalty.models.valuation.similarity import checked_rows, unit_rows


def trak(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """Mean over the queries of Phi H^-1 g (equations 13, 15 and 17, of one model).

    A positive score means that training on the item lowers the loss of the queries. Scaling both
    arguments by one factor leaves the scores as they are.

    Args:
        train_gradients: `(items, projection)`.
        query_gradients: `(queries, projection)`, projected by the same map.
        damping: lambda as a share of the mean non-zero eigenvalue of Phi'Phi, above 0. The authors'
            0.5 is absolute, so that what it does depends on the scale of the loss.

    Returns:
        float64, `(items,)`.

    Raises:
        ValueError: damping not above 0, training gradients that are all zero, or matrices that do not fit.
    """
    train, queries = checked_rows(train_gradients, query_gradients)
    scores: np.ndarray = _preconditioned(train, damping) @ queries.mean(axis=0)
    return scores


def relative_influence(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """TRAK of each item over |H^-1 phi|, how far the item moves the model (equation 19; Barshan et al. 2020).

    Arguments, returns and errors are those of `trak`; an item without gradient scores 0.
    """
    train, queries = checked_rows(train_gradients, query_gradients)
    scores: np.ndarray = unit_rows(_preconditioned(train, damping)) @ queries.mean(axis=0)
    return scores


def renormalized_influence(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """TRAK of each item over |phi|, the size of its gradient (equation 21; Hammoudeh & Lowd 2022).

    Arguments, returns and errors are those of `trak`; an item without gradient scores 0.
    """
    length = np.linalg.norm(train_gradients.astype(np.float64), axis=1)
    scores: np.ndarray = trak(train_gradients, query_gradients, damping=damping) / np.where(length > 0, length, 1)
    return scores


def _preconditioned(train: np.ndarray, damping: float) -> np.ndarray:
    """Rows H^-1 phi, `(items, projection)`, by the smaller of two systems: Phi H^-1 = (Phi Phi' + lambda I)^-1 Phi."""
    if not damping > 0:
        raise ValueError(f"damping lies above 0, got {damping}; 0.1 is a tenth of the mean eigenvalue")
    if not train.any():
        raise ValueError("a training item has a gradient, got only zeros; check the model they come from")
    smaller = min(train.shape)
    scale = damping * np.square(train).sum() / smaller  # the trace is the sum of the eigenvalues
    if len(train) <= train.shape[1]:
        rows: np.ndarray = solve(train @ train.T + scale * np.eye(smaller), train, assume_a="pos")
        return rows
    columns: np.ndarray = solve(train.T @ train + scale * np.eye(smaller), train.T, assume_a="pos")
    return columns.T
