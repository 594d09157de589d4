"""Worker code: train the models of several coalitions together. Imports no orchestration."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from royalty.models.data.items import ImageSet
from royalty.models.generators.retraining import (
    Outcome,
    coalition_models,
    pooled_outcome,
    told_outcome,
    whole_outcome,
)
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.credit.drawn import drawn_items
from royalty.tasks.credit.plan import CoalitionPlan, TrainedModel
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.device import best_device, device_name
from royalty.tasks.stages.loading import load_conditioned, load_images, load_model, thinned


def train_models(
    plans: Sequence[CoalitionPlan],
    checkpoints: Mapping[str, str | None],
    stores: Stores,
    report: Callable[[TrainedModel], object],
) -> dict[str, Outcome]:
    """Train, pool or tell the models, store their checkpoints, and report each one.

    Args:
        checkpoints: digests of the parts of the plans, by key; None if the training of a part failed.

    Returns:
        The outcomes, by the key of their plan.

    Raises:
        MemoryError: the device ran out of memory.
    """
    if not plans:
        return {}
    first, data = plans[0], load_images(stores, plans[0].train)
    began = time.perf_counter()
    masks = masks_of([plan.providers for plan in plans], data.contributors)
    try:
        if first.method == "pooled":
            outcomes = _pooled(plans, data, checkpoints, stores)
        elif first.method == "amortized":
            outcomes = _amortized(plans, data, checkpoints, stores)
        else:
            rows = np.column_stack([_trained_on(data, plan) for plan in plans])  # (items, coalitions)
            # Each coalition is a contributor of the set that it is trained on.
            data = replace(data, membership=rows, contributors=tuple(plan.key for plan in plans))
            masks = np.diag(rows.any(axis=0))
            start, seeds = load_model(stores, first.start), [plan.seed for plan in plans]
            outcomes = coalition_models(first.method, start, data, masks, first.training, seeds)
    except torch.OutOfMemoryError as full:
        raise MemoryError(f"{best_device()} ran out of memory: {full}") from full
    return _stored(plans, data, masks, outcomes, time.perf_counter() - began, stores, report)


def _pooled(
    plans: Sequence[CoalitionPlan], data: ImageSet, checkpoints: Mapping[str, str | None], stores: Stores
) -> list[Outcome]:
    """Mixtures of the models of single contributors; each of these is loaded once."""
    start = load_model(stores, plans[0].start)
    parts = {part.key: checkpoints[part.key] for plan in plans for part in plan.parts}
    models = {key: None if digest is None else load_model(stores, digest) for key, digest in parts.items()}
    outcomes = []
    for plan in plans:
        (mask,) = masks_of([plan.providers], data.contributors)
        alone = {name: models[part.key] for part in plan.parts for name in part.members}
        outcomes.append(pooled_outcome(start, data, mask, alone, plan.seed))
    return outcomes


def _amortized(
    plans: Sequence[CoalitionPlan], data: ImageSet, checkpoints: Mapping[str, str | None], stores: Stores
) -> list[Outcome]:
    """Train the models of all coalitions, or tell them coalitions; each of them is loaded once."""
    start = load_model(stores, plans[0].start)
    digests = {part.key: checkpoints[part.key] for plan in plans for part in plan.parts}
    wholes = {key: None if digest is None else load_conditioned(stores, digest) for key, digest in digests.items()}
    outcomes = []
    for plan in plans:
        mask, public = masks_of([plan.providers, plan.public], data.contributors)
        if plan.providers and not plan.parts:
            outcomes.append(whole_outcome(start, data, public, plan.training, plan.seed))
        else:
            whole = next((wholes[part.key] for part in plan.parts), None)
            outcomes.append(told_outcome(start, data, mask, whole, plan.seed))
    return outcomes


def _stored(
    plans: Sequence[CoalitionPlan],
    data: ImageSet,
    masks: np.ndarray,
    outcomes: Sequence[Outcome],
    seconds: float,
    stores: Stores,
    report: Callable[[TrainedModel], object],
) -> dict[str, Outcome]:
    """Store the checkpoint of each model, and report it with an equal part of the seconds."""
    for plan, mask, outcome in zip(plans, masks, outcomes, strict=True):
        report(
            TrainedModel(
                key=plan.key,
                seed=outcome.seed,
                items=len(data.of_coalition(mask)),
                seconds=seconds / len(plans),
                device=device_name(),
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
