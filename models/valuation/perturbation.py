"""How far values predict: changes of the distance as the mass of an item changes, predicted and solved again.

LAVA (Just et al. 2023, section 3.1 and figure 2). Without entropy, calibrated gradients are exact for changes of mass
up to a radius, at which the dual solution changes. With entropy the potentials change with every mass, and the radius
is that within which the prediction has a stated accuracy. The distance is convex in the masses, so that the prediction
is never above the actual change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from royalty.models.base.arrays import as_device
from royalty.models.base.errors import InputError
from royalty.models.valuation.ground import Batch, Ground, Options, chunks, survey
from royalty.models.valuation.lava import MAX_ITERATIONS, calibrated
from royalty.models.valuation.transport import Transport, solve_transport

FRACTIONS = (-1.0, -0.5, -0.25, -0.1, -0.05, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Changes of an item's mass, as fractions of it: from removing the item to duplicating it."""

ACCURACY = 0.1
"""Largest relative error of a prediction within the radius."""

TIGHT = 1e-6
"""Marginal error to which transports are solved. A few items hardly change the distance, so that 1e-3 hides it."""


@dataclass(frozen=True)
class Perturbation:
    """Changes of the distance as the mass of single items changes.

    Attributes:
        fractions: `(changes,)`, of the item's mass; the others keep their ratios, and the total stays one.
        predicted: `(items, changes)`, by the value: minus the value times the mass that is moved.
        actual: `(items, changes)`, with the transport solved again at the same costs.
        radius: `(items,)`, the largest of `fractions` up to which, in both directions, the prediction differs from the
            actual change by at most a tenth of it; 0 if there is none.
    """

    fractions: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Relative error, (predicted - actual) / actual, `(items, changes)`; 0 where nothing changes."""
        off = self.predicted - self.actual
        errors: np.ndarray = np.divide(off, self.actual, out=np.zeros_like(off), where=np.abs(off) > 0)
        return errors

    @property
    def radius(self) -> np.ndarray:
        sizes = np.unique(np.abs(self.fractions))
        close = np.abs(self.error) <= ACCURACY
        held = np.stack([close[:, np.abs(self.fractions) == size].all(axis=1) for size in sizes], axis=1)
        reached = np.cumprod(held, axis=1).sum(axis=1)  # how many sizes hold, from the smallest on
        radii: np.ndarray = np.concatenate([[0.0], sizes])[reached]
        return radii


def perturbed_distances(
    train_features: np.ndarray,
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
    items: np.ndarray,
    *,
    fractions: Sequence[float] = FRACTIONS,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    max_iterations: int = MAX_ITERATIONS,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Perturbation:
    """Compare predicted and actual changes of the distance, the value of regularized transport (LAVA, figure 2).

    Args:
        items: positions of training items, `(items,)`.
        fractions: changes of an item's mass, at least -1, which removes it; none is 0.
        label_weight, feature_weight, epsilon, max_iterations, device: as for `lava_values`. Transports are solved in
            float64 to a marginal error of 1e-6.
        progress: called with 1 after each transport.

    Raises:
        InputError: as for `lava_values`; fewer than two training items; positions or fractions out of range.
        NotConverged: the tolerance was not reached.
    """
    changes, count = np.asarray(fractions, dtype=np.float64), len(train_features)
    if not (len(changes) and np.isfinite(changes).all() and (changes >= -1).all() and (changes != 0).all()):
        raise InputError(
            f"`fractions` are changes of an item's mass, at least -1 and not 0; got {list(fractions)}. Take 0.1, "
            "for example"
        )
    if count < 2:
        raise InputError(f"mass is moved between training items, and there are {count}. Give at least 2")
    if len(items) and not (items.min() >= 0 and items.max() < count):
        raise InputError(
            f"`items` holds positions of training items, 0 to {count - 1}; got {items.min()} to {items.max()}. Count "
            "positions from 0"
        )
    if changes.max() >= count - 1:
        raise InputError(
            f"an item has 1/{count} of the mass, and a change of {changes.max():g} of it leaves none for the others. "
            "Take a smaller one"
        )
    options = Options(label_weight, feature_weight, epsilon, TIGHT, max_iterations)
    train, val = (
        (np.asarray(train_features, dtype=np.float64), train_labels),
        (
            np.asarray(val_features, dtype=np.float64),
            val_labels,
        ),
    )
    place = as_device(device)
    ground = survey(chunks(*train), val, options, device=place)
    advance = progress or (lambda _: None)
    whole = _solve(ground, train, np.full(count, 1 / count), val, place)
    advance(1)
    gradients = calibrated(whole.source)[items]
    actual = np.zeros((len(items), len(changes)))
    for row, item in enumerate(items):
        for column, change in enumerate(changes):
            mass = (1 + change) / count
            masses = np.full(count, (1 - mass) / (count - 1))
            masses[item] = mass
            kept = masses > 0
            left = train[0][kept], None if train[1] is None else train[1][kept]
            actual[row, column] = _solve(ground, left, masses[kept], val, place, whole.target).dual - whole.dual
            advance(1)
    return Perturbation(changes, gradients[:, None] * changes / count, actual)


def spread_by_value(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of items of evenly spaced rank, from the lowest value to the highest; all if there are no more."""
    order = np.argsort(values, kind="stable")
    ranks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    positions: np.ndarray = order[np.unique(ranks)]
    return positions


def _solve(
    ground: Ground,
    train: Batch,
    masses: np.ndarray,
    val: Batch,
    device: torch.device | None,
    start: np.ndarray | None = None,
) -> Transport:
    return solve_transport(
        ground.cost(train, val, device),
        masses,
        np.full(len(val[0]), 1 / len(val[0])),
        epsilon=ground.epsilon,
        tolerance=ground.options.tolerance,
        max_iterations=ground.options.max_iterations,
        start=start,
    )
