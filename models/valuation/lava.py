"""LAVA: value training items by their effect on the distance between the training set and a clean validation set.

Just et al. 2023. The distance is the optimal transport distance under the cost of `royalty.models.valuation.ground`.
Its derivative with respect to the mass of a training item is the dual potential: how fast the distance grows with the
mass of that item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_device, as_features, as_labels
from royalty.models.base.choices import SolverName
from royalty.models.base.errors import InputError
from royalty.models.valuation.geomloss_transport import solver_of
from royalty.models.valuation.ground import Batch, Ground, Options, chunks, survey
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.transport import Transport

MAX_ITERATIONS = 500


def lava_values(
    train_features: ArrayLike,
    train_labels: ArrayLike | None,
    val_features: ArrayLike,
    val_labels: ArrayLike | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    solver: SolverName = "royalty",
    device: torch.device | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Value each training item by its negative calibrated gradient: -(f_i - mean of the other f), f the dual potential.

    LAVA (Just et al. 2023), eq. 1 and 3, with the sign reversed so that higher is better: training items that move the
    distribution of the training set toward that of validation have positive values.

    Args:
        train_features, val_features: `(items, d)`, float32, or float64 for smaller tolerances; possibly memory maps.
        train_labels, val_labels: integers, `(items,)`; if both are None, labels are not compared.
        label_weight: weight of the distance between labels in the cost, 0 or above; 0 compares features alone.
        feature_weight: weight of the distance between features, above 0.
        epsilon: weight of the entropy, as a fraction of the scale of the cost, which is the standard deviation of the
            cost over pairs of a training and a validation item; adding a constant to all costs does not change it. A
            smaller epsilon is closer to exact transport and takes more passes; a larger one is smoother and compares
            each item with more validation items.
        tolerance: largest marginal error, which is the fraction of the mass in the wrong place, in (0, 2).
        max_iterations: largest number of passes over the cost.
        solver: `royalty`, or `geomloss`: the transport between both sides starts from 32 passes of the package of that
            name, which needs the cost matrix in memory; a few passes of `royalty` correct them to the tolerance.
        device: where the cost is computed, such as `"cuda"`; the CPU by default.
        progress: called with 1 after each pass over the cost.

    Returns:
        Values in units of the features, higher is better; they sum to zero. `val_values`, the same of the validation
        items, by the dual potential of their side (the second part of eq. 3): a validation item of high value is one
        whose greater weight would bring the sets closer, and one of low value is far from what training has for it.
        Diagnostics: `marginal_error`,
        `iterations`, `distance` (cost of the coupling), `epsilon` as used, `scale`, `label_distances`.

    Raises:
        InputError: invalid features or labels (see `royalty.models.base.checks`); options out of range; a solver that
            is not installed.
        NotConverged: the tolerance was not reached.

    Examples:
        An item that lies far from all validation items has the lowest value:

        >>> import royalty
        >>> train, val = [[0.0], [1.0], [2.0], [30.0]], [[0.0], [1.0], [2.0]]
        >>> result = royalty.lava_values(train, None, val, None)
        >>> int(result.values.argmin())
        3
        >>> result.diagnostics["marginal_error"] <= 1e-3
        True
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations, solver)
    train = as_features(train_features, "train_features"), as_labels(train_labels, "train_labels")
    val = as_features(val_features, "val_features"), as_labels(val_labels, "val_labels")
    ground, transport = _solve(train, val, options, as_device(device), progress)
    return ItemValues(
        -calibrated(transport.source),
        {
            "marginal_error": transport.marginal_error,
            "iterations": transport.iterations,
            "distance": transport.distance,
            **ground.diagnostics(),
        },
        val_values=-calibrated(transport.target),
    )


def calibrated(potential: np.ndarray) -> np.ndarray:
    """Calibrated gradients f_i - sum over j != i of f_j / (n - 1): the effect of moving mass from all others to i.

    Args:
        potential: `(n,)`, determined up to a constant, which cancels.
    """
    count = len(potential)
    if count == 1:
        return np.zeros(1)
    gradients: np.ndarray = (potential - potential.mean()) * (count / (count - 1))
    return gradients


@dataclass(frozen=True)
class ExactDifference:
    """Differences of the values of pairs of items under transport without entropy, `(pairs,)`.

    Attributes:
        difference: value of the first item minus that of the second; nan if the pair has no common target.
        target: the validation item that both are compared with.
        shared: of the fractions of their mass that the two items send to the target, the smaller one, in [0, 1].
    """

    difference: np.ndarray
    target: np.ndarray
    shared: np.ndarray


def exact_difference(
    train_features: np.ndarray,
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
    first: np.ndarray,
    second: np.ndarray,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.01,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    least_shared: float = 0.05,
) -> ExactDifference:
    """Compute differences of the values of pairs of items, corrected from regularized to exact transport.

    This follows LAVA's Theorem 2. As printed, its correction is epsilon N/(N-1) (1/pi_kj - 1/pi_ij). But
    f_i + g_j - C_ij = epsilon log(pi_ij / (a_i b_j)) gives epsilon N/(N-1) (log pi_kj - log pi_ij), and the corrected
    difference is then that of the costs, C_ij - C_kj. The exact potentials of two items differ by it only if exact
    transport takes mass from both to the same validation item j, since only there f_i + g_j = C_ij. The difference is
    therefore defined only for pairs with a common target, and epsilon must be small enough to identify that target. The
    target is the validation item to which both items send most. Pairs that send less than `least_shared` of their mass
    to it get nan; items of different regions have no common target.

    Args:
        first, second: positions of training items, `(pairs,)`.
        least_shared: smallest fraction of the mass that both items of a pair must send to their target.

    Raises:
        InputError: as for `lava_values`; arrays of different lengths; positions out of range.
    """
    if len(first) != len(second):
        raise InputError(
            f"`first` and `second` have one length; got {len(first)} and {len(second)}. Give both items of each pair"
        )
    for title, items in (("first", first), ("second", second)):
        if len(items) and not (items.min() >= 0 and items.max() < len(train_features)):
            raise InputError(
                f"`{title}` holds positions of training items, 0 to {len(train_features) - 1}; got {items.min()} to "
                f"{items.max()}. Count positions from 0"
            )
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    ground, transport = _solve((train_features, train_labels), (val_features, val_labels), options)
    count, targets = len(train_features), len(val_features)
    differences, shared = np.full(len(first), np.nan), np.zeros(len(first))
    common = np.zeros(len(first), dtype=np.int64)
    for pair, rows in enumerate(np.stack([first, second], axis=1)):
        labels = None if train_labels is None else train_labels[rows]
        cost = ground.cost((train_features[rows], labels), (val_features, val_labels))
        costs = torch.cat([entries + cost.offsets[groups] for _, entries, groups in cost.tiles()]).double().numpy()
        # The fraction of each item's mass that goes to each validation item, (2, validation items).
        sent = np.exp((transport.source[rows, None] + transport.target - costs) / ground.epsilon) / targets
        sent_by_both = sent.min(axis=0)
        common[pair], shared[pair] = sent_by_both.argmax(), sent_by_both.max()
        if shared[pair] >= least_shared:
            differences[pair] = -(costs[0, common[pair]] - costs[1, common[pair]]) * count / max(count - 1, 1)
    return ExactDifference(differences, common, shared)


def _solve(
    train: Batch,
    val: Batch,
    options: Options,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Ground, Transport]:
    ground = survey(chunks(*train), val, options, device=device)
    solve = solver_of(options.solver)
    transport = solve(
        ground.cost(train, val, device),
        np.full(len(train[0]), 1 / len(train[0])),
        np.full(len(val[0]), 1 / len(val[0])),
        epsilon=ground.epsilon,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        progress=progress,
    )
    return ground, transport
