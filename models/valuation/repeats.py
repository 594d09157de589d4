"""Average coalitions that are measured more than once, and estimate the variance between repetitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError


@dataclass(frozen=True)
class Repeats:
    """Distinct coalitions with their mean utilities.

    Attributes:
        masks: bool, `(cells, n)`.
        utilities: `(cells,)`.
        variance: of the mean utility of each cell, by source, `(cells,)` each. The sources are `training` (the seed of
            training) and `sampling` (the draw of images). A source without repetitions is missing; without repeated
            sampling, `training` contains both.
        null_and_grand: variance of the mean utility of nobody or everybody, if measured as often as a coalition.
    """

    masks: np.ndarray
    utilities: np.ndarray
    variance: dict[str, np.ndarray]
    null_and_grand: float


def average_repeats(
    masks: np.ndarray, utilities: np.ndarray, seeds: np.ndarray | None, draws: np.ndarray | None
) -> Repeats:
    """Average over seeds, and split the variance within coalitions by source (nested analysis of variance).

    An effect of a seed that is the same for all coalitions cancels in credit, so it is removed first.

    Args:
        masks: bool, `(m, n)`.
        utilities: `(m,)`.
        seeds: `(m,)`, training seed of each row; None: all rows have the same.
        draws: `(m,)`, seed of the generated images of each row; None: all rows have the same.

    Raises:
        InputError: one coalition has different utilities with the same seeds.
    """
    cells, cell = np.unique(masks, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    training = np.zeros(len(masks), int) if seeds is None else np.unique(seeds, return_inverse=True)[1].reshape(-1)
    drawing = np.zeros(len(masks), int) if draws is None else np.unique(draws, return_inverse=True)[1].reshape(-1)
    _refuse_contradictions(masks, utilities, cell, training, drawing)
    means = _means(utilities, cell)
    both = training * (drawing.max() + 1) + drawing
    common = _means(utilities - means[cell], both)[both]
    rest = utilities - common
    model = cell * (training.max() + 1) + training  # rows of one trained model
    within, freedom = _spread(rest, model)
    variance: dict[str, np.ndarray] = {}
    rows = np.bincount(cell)
    models = np.bincount(np.unique(model) // (training.max() + 1), minlength=len(cells))
    sampling = within / freedom if freedom else 0.0
    if freedom:
        variance["sampling"] = sampling / rows
    _, first = np.unique(model, return_index=True)
    between, freedom = _spread(_means(rest, model)[model[first]], cell[first])
    if freedom:
        variance["training"] = max(between / freedom - sampling / (len(masks) / len(first)), 0.0) / models
    means = _means(rest, cell)
    order = np.argsort(np.unique(cell, return_index=True)[1])  # by first occurrence
    variance = {source: values[order] for source, values in variance.items()}
    return Repeats(cells[order], means[order], variance, float(sum(values.mean() for values in variance.values())))


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean of each group, `(groups,)`; groups that do not occur have zero."""
    means: np.ndarray = np.bincount(group, values) / np.maximum(np.bincount(group), 1)
    return means


def _spread(values: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    """Sum of squares about the group means, and its degrees of freedom."""
    centred = values - _means(values, group)[group]
    return float(centred @ centred), len(values) - len(np.unique(group))


def _refuse_contradictions(
    masks: np.ndarray, utilities: np.ndarray, cell: np.ndarray, training: np.ndarray, drawing: np.ndarray
) -> None:
    seen: dict[tuple[int, int, int], int] = {}
    for row, key in enumerate(zip(cell.tolist(), training.tolist(), drawing.tolist(), strict=True)):
        earlier = seen.setdefault(key, row)
        if utilities[earlier] != utilities[row]:
            raise InputError(
                f"a coalition has one utility for each seed; row {row} (contributors "
                f"{np.flatnonzero(masks[row]).tolist()}) has {utilities[row]}, and row {earlier}, of the same "
                f"coalition and seed, has {utilities[earlier]}. Give the seeds if they differ, or measure it once"
            )
