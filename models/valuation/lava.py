"""LAVA: the value of a training item by how it moves the distance of the training set to a clean validation set.

Just et al. 2023. The distance is that of optimal transport between the two sets under the cost of
`royalty.models.valuation.ground`. Its derivative by the mass of a training item, the dual potential, says how much more
of that item would move the training set away from validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_labels
from royalty.models.base.errors import InputError
from royalty.models.valuation.ground import Batch, Ground, Options, chunks, survey
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.transport import Transport, solve_transport

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
    device: torch.device | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Minus the calibrated gradient of each training item: -(f_i - mean of the other f), f the dual potential.

    LAVA (Just et al. 2023), eq. 1 and 3, with the sign turned so that higher is better: training items that move the
    distribution of the training set toward that of validation have positive values.

    Args:
        train_features, val_features: `(items, d)`, float32, or float64 for smaller tolerances; memory maps too.
        train_labels, val_labels: integers, `(items,)`; both None: labels are not compared.
        label_weight: weight of the distance between labels in the cost, 0 or above; 0 compares features alone.
        feature_weight: weight of the distance between features, above 0.
        epsilon: weight of the entropy, as a share of the scale of the cost, its standard deviation over pairs of a
            training and a validation item: what all pairs are apart moves nothing. Smaller is closer to exact
            transport, which takes more passes; larger is smoother, each item judged by more validation items.
        tolerance: marginal error at most: the share of mass that is not where it should be, in (0, 2).
        max_iterations: passes over the cost at most.
        device: where the cost is computed, such as `"cuda"`; the CPU unless given.
        progress: called with 1 after each pass over the cost.

    Returns:
        Values in units of the features, higher is better, which sum to zero; with `marginal_error`,
        `iterations`, `distance` (cost of the coupling), `epsilon` as used, `scale`, `label_distances`.

    Raises:
        InputError: features or labels as `royalty.models.valuation.items` refuses them; options out of range.
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
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    train = as_features(train_features, "train_features"), as_labels(train_labels, "train_labels")
    val = as_features(val_features, "val_features"), as_labels(val_labels, "val_labels")
    ground, found = _solve(train, val, options, None if device is None else torch.device(device), progress)
    return ItemValues(
        -calibrated(found.source),
        {
            "marginal_error": found.marginal_error,
            "iterations": found.iterations,
            "distance": found.distance,
            **ground.diagnostics(),
        },
    )


def calibrated(potential: np.ndarray) -> np.ndarray:
    """Calibrated gradients f_i - sum over j != i of f_j / (n - 1): what moving mass to i from all others does.

    Args:
        potential: `(n,)`, fixed up to a constant, which cancels.
    """
    count = len(potential)
    if count == 1:
        return np.zeros(1)
    gradients: np.ndarray = (potential - potential.mean()) * (count / (count - 1))
    return gradients


@dataclass(frozen=True)
class ExactDifference:
    """Differences of values under transport without entropy, `(pairs,)`.

    Attributes:
        difference: value of the first less that of the second, nan where nothing is known.
        target: the validation item that both were compared by.
        shared: the smaller of the shares of their mass that the two send to it, in [0, 1].
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
    """Differences of the values of pairs of items, corrected from regularized to exact transport.

    The idea of LAVA's Theorem 2. As printed, the correction is epsilon N/(N-1) (1/pi_kj - 1/pi_ij). From
    f_i + g_j - C_ij = epsilon log(pi_ij / (a_i b_j)) it is epsilon N/(N-1) (log pi_kj - log pi_ij) instead,
    after which the difference is that of the costs, C_ij - C_kj. The exact potentials differ by it if
    exact transport takes mass from both items to the same validation item j: f_i + g_j = C_ij holds only
    there. So it means something only for pairs that share a target, which epsilon must be small enough to
    show: the target is that to which both send most, and pairs that share less than `least_shared` of
    their mass get nan. Two items of different regions have none; their values differ by chains of others.

    Args:
        first, second: positions of training items, `(pairs,)`.

    Raises:
        InputError: as `lava_values`; positions that are not there.
    """
    if len(first) != len(second):
        raise InputError(f"pairs have two items each; got {len(first)} first and {len(second)} second ones")
    for title, items in (("first", first), ("second", second)):
        if len(items) and not (items.min() >= 0 and items.max() < len(train_features)):
            raise InputError(
                f"pairs are positions of training items, 0 to {len(train_features) - 1}; {title} has {items.min()} "
                f"to {items.max()}"
            )
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    ground, found = _solve((train_features, train_labels), (val_features, val_labels), options)
    count, targets = len(train_features), len(val_features)
    differences, best, shared = np.full(len(first), np.nan), np.zeros(len(first), dtype=np.int64), np.zeros(len(first))
    for pair, rows in enumerate(np.stack([first, second], axis=1)):
        labels = None if train_labels is None else train_labels[rows]
        cost = ground.cost((train_features[rows], labels), (val_features, val_labels))
        costs = torch.cat([entries + cost.offsets[groups] for _, entries, groups in cost.tiles()]).double().numpy()
        sent = np.exp((found.source[rows, None] + found.target - costs) / ground.epsilon) / targets
        least = sent.min(axis=0)
        best[pair], shared[pair] = least.argmax(), least.max()
        if shared[pair] >= least_shared:
            differences[pair] = -(costs[0, best[pair]] - costs[1, best[pair]]) * count / max(count - 1, 1)
    return ExactDifference(differences, best, shared)


def _solve(
    train: Batch,
    val: Batch,
    options: Options,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Ground, Transport]:
    ground = survey(chunks(*train), val, options, device=device)
    found = solve_transport(
        ground.cost(train, val, device),
        np.full(len(train[0]), 1 / len(train[0])),
        np.full(len(val[0]), 1 / len(val[0])),
        epsilon=ground.epsilon,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        progress=progress,
    )
    return ground, found
