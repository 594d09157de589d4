"""Worker code: the class-wise distance of training from validation, and the accuracy of classifiers trained on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError, Refusals
from royalty.models.valuation.set_distance import set_distance
from royalty.tasks.benchmarks.detection_stages import CurveInputs, CurveOutputs, DetectInputs
from royalty.tasks.benchmarks.detection_worker import labels_of, prepared
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def measure(inputs: CurveInputs, context: StageContext) -> CurveOutputs:
    """Plant a corruption in more and more items, and measure distance and accuracy each time (LAVA, figure 1).

    The distance is that of the methods' validation items by the configured representation. Classifiers are judged by
    validation items that had no part in it.
    """
    torch.set_num_threads(cores())
    began, valuing = time.perf_counter(), inputs.detect.config.valuing
    rows = []
    for amount, drawn in planted(inputs):
        trial = prepared(drawn, context)
        train, val = trial.represented
        apart = set_distance(
            train,
            trial.corrupted.labels,
            val,
            trial.val_labels,
            label_weight=valuing.label_weight,
            feature_weight=valuing.feature_weight,
            tolerance=valuing.tolerance,
            divisions=0,
            seed=drawn.seed,
            device=best_device(),
        )
        title = {"corruption": drawn.corruption, "draw": drawn.draw, "amount": amount, "items": len(train)}
        title |= {"distance": apart.distance, "share": apart.share}
        rows += [
            title | {name: row[name] for name in ("classifier", "accuracy")}
            for row in trial.retraining.without(np.empty(0, dtype=int))
        ]
        context.advance(1)
    return CurveOutputs(rows, time.perf_counter() - began)


def check(inputs: list[CurveInputs], context: StageContext) -> int:
    """Check that every amount of each corruption can be planted.

    Returns:
        The number of corruptions and draws.

    Raises:
        InputError: some cannot; all of them are named.
    """
    refused = Refusals()
    for curve in inputs:
        for amount, drawn in planted(curve):
            with refused.collect():
                try:
                    labels_of(drawn, context)
                except InputError as error:
                    raise InputError(
                        f"`{drawn.corruption}`, draw {drawn.draw + 1}, amount {amount:g}: {error}"
                    ) from None
        context.advance(1)
    refused.check("amounts cannot be planted in these images; change `distance.amounts`")
    return len(inputs)


def planted(inputs: CurveInputs) -> Iterator[tuple[float, DetectInputs]]:
    """Each amount, and the corruption planted in that fraction of the items.

    No item is left out to keep class shares, so that sets of one draw have the same size and validation.
    """
    settings = inputs.detect.config
    for amount in inputs.amounts:
        fractions = dict.fromkeys(("flipped", "noise", "backdoor"), amount)
        planting = settings.planting.model_copy(update={"class_shares": "changed", **fractions})
        yield amount, replace(inputs.detect, config=settings.model_copy(update={"planting": planting}))
