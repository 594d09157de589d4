"""Worker code: images of a class, poor images and what their quality changes, and contributors by attributes."""

from __future__ import annotations

import numpy as np

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.judging.contributors import attribute_distance, contributor_distances
from royalty.models.judging.criteria import noise_rank
from royalty.models.judging.poor_images import spoil
from royalty.models.judging.sets import images_of, labels_of, select_items
from royalty.tasks.benchmarks.contributor_stages import (
    DistancesInputs,
    DistancesOutputs,
    OfClassInputs,
    PoorInputs,
    PoorOutputs,
    SpoiledOutputs,
    SpoilInputs,
)
from royalty.tasks.benchmarks.criteria_worker import attributes_in
from royalty.tasks.benchmarks.criterion_stages import ALL
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import keep_items, load_contributions, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.stage import TableRow


def of_class(inputs: OfClassInputs, context: StageContext) -> ItemsOutputs:
    """Store the images with a label, at least two of them, which a standard error needs."""
    whole = load_items(context.artifacts, inputs.images)
    names = labels_of(whole).astype(str)
    rows = np.flatnonzero(names == inputs.label)
    if len(rows) < 2:
        raise InputError(
            f"a class is judged by at least two images with its label; got `label` = {inputs.label!r}, which "
            f"{len(rows)} of {len(names)} images have, and the labels {', '.join(np.unique(names))}. Name one of "
            "these, or generate more `images`"
        )
    return keep_items(context.artifacts, select_items(whole, rows))


def spoil_images(inputs: SpoilInputs, context: StageContext) -> SpoiledOutputs:
    """Store generated images of which some are poor."""
    images = images_of(load_items(context.artifacts, inputs.made))
    poor = images_of(load_items(context.artifacts, inputs.poor)) if inputs.poor else None
    spoiled, rows = spoil(images, share=inputs.share, seed=inputs.seed, poor=poor)
    kept = keep_items(context.artifacts, Items.of_images(spoiled))
    return SpoiledOutputs(**vars(kept), poor=rows.tolist())


def judge_poor(inputs: PoorInputs, context: StageContext) -> PoorOutputs:
    """Fig. 9: rank training items with noise, with and without the quality of images."""
    noisy = np.zeros(inputs.items, dtype=bool)
    noisy[inputs.planted] = True
    rows: list[TableRow] = []
    for judged in inputs.judged:
        values, quality = _summed(context.artifacts, judged.contributions, inputs.items)
        plain, _ = _summed(context.artifacts, judged.uncalibrated, inputs.items)
        weighted, unweighted = noise_rank(values, noisy), noise_rank(plain, noisy)
        poor = np.isin(np.arange(len(quality)), inputs.poor.get(judged.made, []))
        rows.append(
            {"generator": judged.generator, "method": judged.method, "poor": float(poor.mean())}
            | {"good_quality": float(quality[~poor].mean())}
            | {"poor_quality": float(quality[poor].mean()) if poor.any() else None}
            | {"with": weighted.percentile, "without": unweighted.percentile}
            | {"auroc_with": weighted.auroc, "auroc_without": unweighted.auroc}
            | {"noisy_value_with": _share(values, noisy), "noisy_value_without": _share(plain, noisy)}
        )
        context.advance(1)
    return PoorOutputs(rows)


def judge_distances(inputs: DistancesInputs, context: StageContext) -> DistancesOutputs:
    """Theorem 2.4: the distance of contributors from generated images, by attributes."""
    attributes = inputs.attributes.attributes
    trained = load_items(context.artifacts, inputs.attributes.items)
    item_attributes, names = attributes_in(trained, attributes), list(trained.attributes or attributes)
    rows: list[TableRow] = []
    for judged in inputs.attributes.judged:
        made = attributes_in(load_items(context.artifacts, judged.made), attributes)
        table = load_contributions(context.artifacts, judged.contributions)
        having = {ALL: np.ones(len(made), dtype=bool)} | {name: made[:, at] for at, name in enumerate(names)}
        for name, chosen in having.items():
            mine = table[chosen[table["generated"].to_numpy()]]
            if not mine["score"].sum() > 0:
                continue  # no generated image has this attribute, or all that have it are worthless
            values = np.bincount(mine["item"], weights=mine["score"], minlength=len(trained))
            source: TableRow = {"generator": judged.generator, "method": judged.method}
            source |= {"attributes": name, "images": int(chosen.sum())}
            training = attribute_distance(item_attributes, made[chosen])
            rows += [
                source | vars(found) | {"training": training}
                for found in contributor_distances(values, item_attributes, made[chosen], seed=inputs.seed)
            ]
        context.advance(1)
    return DistancesOutputs(rows)


def _share(values: np.ndarray, noisy: np.ndarray) -> float | None:
    """Fraction of all value that noisy items have; None if there is no value."""
    return float(values[noisy].sum() / values.sum()) if values.any() else None


def _summed(artifacts: ArtifactStore, contributions: str, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of the training items, `(items,)`, and qualities of the generated images, `(generated,)`."""
    table = load_contributions(artifacts, contributions)
    values = np.bincount(table["item"], weights=table["score"], minlength=items)
    return values, np.bincount(table["generated"], weights=table["score"])
