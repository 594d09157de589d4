"""Worker code: look for a planted corruption by smaller and faulty validation sets."""

from __future__ import annotations

import time

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError, Refusals
from royalty.models.data.corruptions import flip_labels
from royalty.models.judging.detection import detection
from royalty.models.judging.sets import stratified_order
from royalty.tasks.benchmarks.detection_stages import SweepInputs, SweepOutputs
from royalty.tasks.benchmarks.detection_worker import labels_of, prepared
from royalty.tasks.config.detection import POSSIBLE_WITHOUT_VALIDATION, WITHOUT_VALIDATION
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.stage import TableRow

LEAST = 2
"""Fewest validation items of a training label, one for each fold of the detector."""


def sweep(inputs: SweepInputs, context: StageContext) -> SweepOutputs:
    """Value the items by each method and validation set, and measure how well the values find the planted ones.

    Heads and representations are fitted to each set again. Methods that use no validation value the items once. The
    detector without validation judges the items by each other.
    """
    torch.set_num_threads(cores())
    began, drawn = time.perf_counter(), inputs.detect
    settings = drawn.config.model_copy(update={"seed": drawn.seed})
    trial = prepared(drawn, context)
    context.advance(1)
    rows: list[TableRow] = []
    failed: dict[str, str] = {}
    unchanged: dict[str, np.ndarray] = {}
    for size, flipped in inputs.validation.sets:
        changed = trial
        if size:
            chosen = _chosen(trial.val_labels, size, drawn.seed)
            labels = _flipped(trial.val_labels[chosen], flipped, drawn.seed)
            changed = trial.with_validation(chosen, labels, settings)
        for method in settings.methods:
            if not size and method not in POSSIBLE_WITHOUT_VALIDATION:
                continue
            try:
                values = unchanged[method] if method in unchanged else changed.values(settings, method, bool(size))
            except InputError as error:  # the other methods are not lost
                failed[f"{method}, {named(size, flipped)}"] = str(error)
                continue
            if method in WITHOUT_VALIDATION:
                unchanged[method] = values
            title: TableRow = {"corruption": drawn.corruption, "method": method, "size": size, "flipped": flipped}
            rows.append(title | {"draw": drawn.draw, "auroc": detection(values, trial.corrupted.planted).auroc})
        context.advance(1)
    rows.sort(key=lambda row: settings.methods.index(row["method"]))
    return SweepOutputs(rows, failed, time.perf_counter() - began)


def check(inputs: list[SweepInputs], context: StageContext) -> int:
    """Check that the validation of each corruption and draw has the sizes, and enough items of each label.

    Returns:
        The number of corruptions and draws.

    Raises:
        InputError: some have not; all of them are named.
    """
    refused = Refusals()
    for swept in inputs:
        drawn = swept.detect
        with refused.collect():
            try:
                _check(swept, *labels_of(drawn, context))
            except InputError as error:
                raise InputError(f"`{drawn.corruption}`, draw {drawn.draw + 1}: {error}") from None
        context.advance(1)
    refused.check("validation sets cannot be drawn; change `validation`")
    return len(inputs)


def named(size: int, flipped: float) -> str:
    """A validation set in words."""
    return f"{size} validation images" + (f", {flipped:.0%} of them mislabelled" if flipped else "")


def _check(inputs: SweepInputs, labels: np.ndarray, val_labels: np.ndarray) -> None:
    largest, seed = max(inputs.validation.sizes), inputs.detect.seed
    if largest > len(val_labels):
        raise InputError(
            f"methods see {len(val_labels)} validation images, and `validation.sizes` has {largest}. Take fewer, "
            "or add validation images"
        )
    for size, flipped in inputs.validation.sets:
        if not size:
            continue
        drawn = _flipped(val_labels[_chosen(val_labels, size, seed)], flipped, seed)
        counts = {label: int((drawn == label).sum()) for label in np.unique(labels).tolist()}
        scarce = min(counts, key=lambda label: counts[label])
        if counts[scarce] < LEAST:
            raise InputError(
                f"each training label needs {LEAST} validation images, one for each fold of the detector; of "
                f"{named(size, flipped)}, label {scarce} has {counts[scarce]}. Take more"
            )


def _chosen(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Sorted positions of validation items, each class in its share; those of a smaller set are among them."""
    chosen: np.ndarray = np.sort(stratified_order(labels, seed)[:size])
    return chosen


def _flipped(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    if not share:
        return labels
    unseen = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    return flip_labels(unseen, labels, share=share, seed=seed).labels
