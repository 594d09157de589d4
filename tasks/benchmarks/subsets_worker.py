"""Worker code: judge values of training images by beta-VAEs of random subsets of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.judging.image_lds import ImageScores, SubsetRanking
from royalty.models.judging.ranking import Lead, lead
from royalty.models.judging.sets import images_of
from royalty.models.judging.subsets import random_subsets
from royalty.tasks.benchmarks.causes_worker import losses_of
from royalty.tasks.benchmarks.subset_stages import SubsetsInputs, SubsetsOutputs
from royalty.tasks.items.stored_items import load_contributions, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.stage import TableRow

RANDOM, RETRAINED = "random", "another retraining"
"""Rows of the table that no method is: random values, and the noise ceiling."""


def judge_subsets(inputs: SubsetsInputs, context: StageContext) -> SubsetsOutputs:
    """Compare sums of values in subsets with the losses of generated images by models of the subsets."""
    torch.set_num_threads(cores())
    made = images_of(load_items(context.artifacts, inputs.made))
    masks = random_subsets(inputs.items, inputs.kept, inputs.seeds)
    losses = np.stack([losses_of(context.artifacts, models, made) for models in inputs.models])
    ranking = SubsetRanking(losses.mean(axis=1), seed=inputs.seed)  # losses: (subsets, trainings, images)
    trained = losses.shape[1]
    found = {}
    for method, contributions in inputs.values.items():
        values = _values(context.artifacts, contributions, (inputs.items, len(made)))
        found[method] = ranking.score(masks.astype(np.float64) @ values)
        context.advance(1)
    scored = {method: _columns(score) for method, score in found.items()} | {RANDOM: vars(ranking.chance(masks))}
    if trained > 1:
        half, other_half = np.split(losses, [trained // 2], axis=1)
        ceiling = SubsetRanking(other_half.mean(axis=1), seed=inputs.seed)
        scored[RETRAINED] = _columns(ceiling.score(-half.mean(axis=1)))
    rows: list[TableRow] = [
        {"generator": "beta-vae", "method": method, "images": len(made), "subsets": len(masks), "seeds": trained}
        | columns
        for method, columns in scored.items()
    ]
    differences: list[TableRow] = [
        {"generator": "beta-vae", "first": first, "second": second}
        | _difference(lead(mine.over_images, other.over_images), lead(mine.over_both, other.over_both))
        for (first, mine), (second, other) in combinations(found.items(), 2)
    ]
    images: list[TableRow] = [
        {"generator": "beta-vae", "method": method, "image": image, "lds": float(lds)}
        for method, score in found.items()
        for image, lds in enumerate(score.images)
    ]
    return SubsetsOutputs(rows, differences, images)


def _values(artifacts: ArtifactStore, contributions: str, shape: tuple[int, int]) -> np.ndarray:
    """Values of all training items for each generated image, `(items, images)`."""
    table, values = load_contributions(artifacts, contributions), np.zeros(shape)
    values[table["item"], table["generated"]] = table["score"]
    return values


def _columns(scores: ImageScores) -> TableRow:
    """Columns of a score: the interval by images, the wide one by images and subsets, and p."""
    narrow, wide = scores.over_images, scores.over_both
    intervals = {"low": narrow.low, "high": narrow.high, "wide_low": wide.low, "wide_high": wide.high}
    return {"lds": narrow.lds, **intervals, "p": scores.p}


def _difference(over_images: Lead, over_both: Lead) -> TableRow:
    return vars(over_images) | {f"wide_{column}": vars(over_both)[column] for column in ("low", "high", "p")}
