"""Influence of training items on generated images, from projected gradients: TRAK and its normalizations.

Phi `(items, projection)` holds the gradients of the training items, H = Phi'Phi + lambda I approximates the Hessian,
and g is the gradient of a query. The result is TRAK, relative influence or renormalized influence with `loss_gradients`
of the simple loss, D-TRAK with those of the square loss, and Journey-TRAK with `journey_gradients` as queries. The
diffusion attribution score takes those of the absolute output. Higher is always more valuable, and scores may be summed
over queries and items.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve

from royalty.models.valuation.similarity import checked_rows, unit_rows


def trak(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """Mean over the queries of Phi H^-1 g (equations 13, 15 and 17, for one model).

    A positive score means that training on the item lowers the loss of the queries. Scaling both arguments by the same
    factor does not change the scores.

    Args:
        train_gradients: `(items, projection)`.
        query_gradients: `(queries, projection)`, from the same projection.
        damping: lambda as a fraction of the mean non-zero eigenvalue of Phi'Phi, above 0. The authors' lambda of 0.5 is
            absolute, so its effect depends on the scale of the loss.

    Returns:
        float64, `(items,)`.

    Raises:
        ValueError: damping not above 0, training gradients that are all zero, or matrices that `checked_rows` refuses.
    """
    train, queries = checked_rows(train_gradients, query_gradients)
    scores: np.ndarray = _preconditioned(train, damping) @ queries.mean(axis=0)
    return scores


def relative_influence(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """TRAK of each item divided by |H^-1 phi|, its effect on the parameters (equation 19; Barshan et al. 2020).

    Arguments, returns and errors are those of `trak`; an item with a zero gradient scores 0.
    """
    train, queries = checked_rows(train_gradients, query_gradients)
    scores: np.ndarray = unit_rows(_preconditioned(train, damping)) @ queries.mean(axis=0)
    return scores


def renormalized_influence(train_gradients: np.ndarray, query_gradients: np.ndarray, *, damping: float) -> np.ndarray:
    """TRAK of each item divided by |phi|, the norm of its gradient (equation 21; Hammoudeh & Lowd 2022).

    Arguments, returns and errors are those of `trak`; an item with a zero gradient scores 0.
    """
    lengths = np.linalg.norm(train_gradients.astype(np.float64), axis=1)
    scores: np.ndarray = trak(train_gradients, query_gradients, damping=damping) / np.where(lengths > 0, lengths, 1)
    return scores


def diffusion_attribution(
    train_gradients: np.ndarray, query_gradients: np.ndarray, errors: np.ndarray, *, damping: float
) -> np.ndarray:
    """Diffusion attribution score (DAS): the squared change of the model's output when an item is left out.

    tau_i = E_g [ (g'H^-1 phi_i r_i / (1 - phi_i'H^-1 phi_i))^2 ], with the residual r_i of item i and its leverage
    phi_i'H^-1 phi_i (Lin et al. 2025, arXiv 2410.18639). It is one Newton step of leaving an item out, so it is exact
    for ridge regression, where phi are the inputs. As in the code of the authors, the output is reduced to its mean
    absolute value before gradients are taken, and gradients and residuals are averaged over timesteps. Their code also
    scales the residuals of each item to unit length over timesteps, which this does not.

    Args:
        train_gradients: `(items, projection)`, of `loss_gradients` with the loss "absolute".
        query_gradients: `(queries, projection)`, from the same projection.
        errors: `(items,)`, of `prediction_errors`.
        damping: as for `trak`. Without it, the leverage of every item would be 1 where items are fewer than dimensions.

    Returns:
        float64, `(items,)`, not negative. The sign of the change is lost: the score is by how much an item matters.

    Raises:
        ValueError: as for `trak`, or not one finite error for each item.
    """
    train, queries = checked_rows(train_gradients, query_gradients)
    if errors.shape != (len(train),) or not np.isfinite(errors).all():
        raise ValueError(
            f"`errors` has one finite number for each of the {len(train)} items, got shape {errors.shape}; compute it "
            "with `prediction_errors` from the images of the gradients"
        )
    rows = _preconditioned(train, damping)
    leverage = (rows * train).sum(axis=1)  # below 1, for damping is above 0
    scores: np.ndarray = np.square(queries @ rows.T).mean(axis=0) * np.square(errors / (1 - leverage))
    return scores


def _preconditioned(train: np.ndarray, damping: float) -> np.ndarray:
    """Solve the smaller of two systems for Phi H^-1 = (Phi Phi' + lambda I)^-1 Phi, `(items, projection)`."""
    if not damping > 0:
        raise ValueError(f"`damping` is above 0, got {damping}; 0.1 is a tenth of the mean eigenvalue")
    if not train.any():
        raise ValueError("training gradients are not all zero, got only zeros; check the model that computed them")
    smaller = min(train.shape)
    scale = damping * np.square(train).sum() / smaller  # the trace is the sum of the eigenvalues
    if len(train) <= train.shape[1]:
        rows: np.ndarray = solve(train @ train.T + scale * np.eye(smaller), train, assume_a="pos")
        return rows
    columns: np.ndarray = solve(train.T @ train + scale * np.eye(smaller), train.T, assume_a="pos")
    return columns.T
