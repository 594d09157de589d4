"""Worker code: train the models of several coalitions together. Imports no orchestration."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from royalty.models.data.items import ImageSet
from royalty.models.generators.retraining import Outcome, coalition_models
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.credit.drawn import drawn_items
from royalty.tasks.credit.plan import CoalitionPlan, TrainedModel
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import load_images, load_model, thinned


def train_models(
    plans: Sequence[CoalitionPlan], stores: Stores, report: Callable[[TrainedModel], object]
) -> dict[str, Outcome]:
    """Train the models, store their checkpoints, and report each one.

    Returns:
        The outcomes, by the key of their plan.

    Raises:
        MemoryError: the device ran out of memory.
    """
    if not plans:
        return {}
    first, data = plans[0], load_images(stores, plans[0].train)
    rows = np.column_stack([_trained_on(data, plan) for plan in plans])  # (items, coalitions)
    # Each coalition is a contributor of the set that it is trained on.
    data = replace(data, membership=rows, contributors=tuple(plan.key for plan in plans))
    masks = np.diag(rows.any(axis=0))
    start = load_model(stores, first.start)
    began = time.perf_counter()
    try:
        outcomes = coalition_models(first.method, start, data, masks, first.training, [plan.seed for plan in plans])
    except torch.OutOfMemoryError as full:
        raise MemoryError(f"{best_device()} ran out of memory: {full}") from full
    seconds = (time.perf_counter() - began) / len(plans)
    for plan, mask, outcome in zip(plans, masks, outcomes, strict=True):
        report(
            TrainedModel(
                key=plan.key,
                seed=outcome.seed,
                items=len(data.of_coalition(mask)),
                seconds=seconds,
                device=best_device(),
                checkpoint=stores.artifacts.put(outcome.model.to_bytes()) if outcome.model else None,
                failure=outcome.failure,
                losses=_stored_curve(stores, outcome),
            )
        )
    return {plan.key: outcome for plan, outcome in zip(plans, outcomes, strict=True)}


def _trained_on(data: ImageSet, plan: CoalitionPlan) -> np.ndarray:
    """Whether a coalition's model is trained on each item, bool, `(items,)`."""
    if plan.drawn is not None:
        return drawn_items(data, plan.drawn, plan.public)
    (mask,) = masks_of([plan.providers], data.contributors)
    provided: np.ndarray = np.asarray(data.membership[:, mask].any(axis=1))
    return provided


def _stored_curve(stores: Stores, outcome: Outcome) -> str | None:
    """Digest of the stored loss curve of a training, JSON pairs of step and mean loss."""
    if not outcome.losses:
        return None
    return stores.artifacts.put(json.dumps(thinned(outcome.losses)).encode())
