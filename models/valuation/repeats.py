"""Check measured coalitions, average those measured more than once, and estimate the variance between repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError

FURTHEST = 1e100
"""Largest utility, and one over the least difference, whose square is a number that a computer holds."""


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

    An effect of a seed that is the same for all coalitions cancels in credit, so it is removed first. A row that is
    there twice is one measurement: two equal utilities of one coalition and seed say nothing about noise.

    Args:
        masks: bool, `(m, n)`.
        utilities: `(m,)`.
        seeds: `(m,)`, training seed of each row; None: all rows have the same.
        draws: `(m,)`, seed of the generated images of each row; None: all rows have the same.

    Raises:
        InputError: one coalition has different utilities with the same seeds.
    """
    cell = np.unique(masks, axis=0, return_inverse=True)[1].reshape(-1)
    training = np.zeros(len(masks), int) if seeds is None else np.unique(seeds, return_inverse=True)[1].reshape(-1)
    drawing = np.zeros(len(masks), int) if draws is None else np.unique(draws, return_inverse=True)[1].reshape(-1)
    _refuse_contradictions(masks, utilities, cell, training, drawing)
    once = np.sort(np.unique(np.stack([cell, training, drawing]), axis=1, return_index=True)[1])
    masks, utilities, cell, training, drawing = (part[once] for part in (masks, utilities, cell, training, drawing))
    cells = np.unique(masks, axis=0)
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


def checked_repeats(
    masks: np.ndarray,
    utilities: np.ndarray,
    null_utility: float,
    grand_utility: float,
    seeds: np.ndarray | None,
    draws: np.ndarray | None,
    *,
    ridge: float,
) -> Repeats:
    """Check measurements, and average those of one coalition.

    Raises:
        InputError: as `estimate_shapley`.
    """
    _check(masks, utilities, null_utility, grand_utility)
    _check_repeats(len(masks), {"training seed": seeds, "seed of images": draws})
    repeats = average_repeats(masks, utilities, seeds, draws)
    _check_coverage(repeats.masks, ridge)
    return repeats


def _check(masks: np.ndarray, utilities: np.ndarray, null_utility: float, grand_utility: float) -> None:
    if masks.shape[1] < 2:
        raise InputError(f"credit is shared between at least 2 contributors, got {masks.shape[1]}")
    if not len(masks):
        raise InputError("credit is estimated from the utilities of coalitions; got none. Measure some")
    if utilities.shape != (len(masks),):
        raise InputError(
            f"one utility a coalition: got {len(masks)} coalitions and utilities of shape {utilities.shape}. Give both "
            "of the same coalitions, in one order"
        )
    sizes = masks.sum(axis=1)
    for row in np.flatnonzero((sizes == 0) | (sizes == masks.shape[1])):
        raise InputError(
            f"nobody and everybody have arguments of their own, null_utility and grand_utility; coalition {row} has "
            f"{sizes[row]} of {masks.shape[1]} contributors"
        )
    for row in np.flatnonzero(~np.isfinite(utilities)):
        members = np.flatnonzero(masks[row]).tolist()
        raise InputError(
            f"a utility is a finite number; coalition {row} (contributors {members}) has {utilities[row]}. Measure it "
            "again, or leave it out"
        )
    if not np.isfinite([null_utility, grand_utility]).all():
        raise InputError(
            f"a utility is a finite number; null has {null_utility}, grand has {grand_utility}. Measure them again"
        )
    check_unit(np.append(utilities, [null_utility, grand_utility]))


def check_unit(utilities: np.ndarray) -> None:
    """Check that squares of utilities and of their differences are numbers that a computer holds.

    Args:
        utilities: of all coalitions, finite.
    """
    largest, spread = float(np.abs(utilities).max()), float(utilities.max() / 2 - utilities.min() / 2) * 2
    if largest > FURTHEST or 0 < spread < 1 / FURTHEST:
        raise InputError(
            f"utilities are at most {FURTHEST:g}, and differ by at least {1 / FURTHEST:g} or not at all; these are up "
            f"to {largest:g} and differ by {spread:g}. Give them in another unit"
        )


def _check_repeats(coalitions: int, given: Mapping[str, np.ndarray | None]) -> None:
    for title, numbers in given.items():
        if numbers is not None and numbers.shape != (coalitions,):
            raise InputError(
                f"each of the {coalitions} rows has one {title}; got shape {numbers.shape}. Give one a row, or none"
            )


def _check_coverage(masks: np.ndarray, ridge: float) -> None:
    """Check that the distinct coalitions determine the effects of all contributors."""
    coalitions, n_players = masks.shape
    if coalitions < n_players and ridge == 0:
        raise InputError(
            f"{n_players} contributors are told apart by at least as many distinct coalitions, got {coalitions}; "
            "measure more, or give a ridge above 0, which draws credit toward equal shares"
        )
    present = masks.sum(axis=0)
    for player in np.flatnonzero((present == 0) | (present == coalitions)):
        where = "no coalition" if present[player] == 0 else f"all {coalitions} coalitions"
        raise InputError(
            f"each contributor is in some coalitions and not in others; contributor {player} is in {where}. "
            "Add coalitions, or the complements of these"
        )
