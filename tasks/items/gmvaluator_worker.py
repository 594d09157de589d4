"""Worker code: match generated images with training images. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.models.base.checks import check_features
from royalty.models.base.choices import Division
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.judging.memorization import Memorization, memorization_test, views_of
from royalty.models.judging.sets import images_of
from royalty.models.quality.by_features import BY_FEATURES
from royalty.models.quality.quality import Quality
from royalty.models.quality.registry import build_quality
from royalty.models.valuation.centring import centred
from royalty.models.valuation.copies import earliest_members, earliest_of_each
from royalty.models.valuation.gmvaluator import GMValues, gmvaluator_values
from royalty.models.valuation.items import contributor_values
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.near_copies import near_copy_groups
from royalty.models.valuation.sampled_values import contributor_errors
from royalty.tasks.config.matching import Matching
from royalty.tasks.items.copied_images import CopiedImage
from royalty.tasks.items.days import days_of
from royalty.tasks.items.embeddings import embed_missing, embedding_key, features_of, shape_of
from royalty.tasks.items.stages import MatchInputs, MatchOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

SAME_NETWORK = ("efficientnet-lite0", "encoder")
"""The encoder and the distance that are the same network."""

BLEND = 1.0
"""Weight of the embedding in the distance by layers of its own network: the embedding knows objects, the layers know
shapes (`tests.benchmarks.attribution`)."""

FEWEST = 3
"""Training images that the memorization test takes at least; realism takes more."""

COPIED = 12
"""Generated images that were flagged as copies and are kept for the report."""

SCORED_TOGETHER = 256
"""Images in a shard of qualities; at most this many are scored again after a crash."""


def match(inputs: MatchInputs, context: StageContext) -> MatchOutputs:
    """Value training items by the generated images that they are matched with."""
    if inputs.generated is None or inputs.encoder is None:
        raise ValueError(
            "a match needs the digest of generated items and the key of embeddings; one of them is missing"
        )
    torch.set_num_threads(cores())
    began, matching = time.perf_counter(), inputs.matching
    items, made = (load_items(context.artifacts, digest) for digest in (inputs.train, inputs.generated))
    train, generated = (features_of(context.embeddings, side, inputs.encoder) for side in (items, made))
    groups, since = np.arange(len(items)), days_of(items)
    if matching.copies == "grouped" and items.images is not None:
        groups = near_copy_groups(items.images, train).groups
    first = earliest_members(groups, since)
    quality = _quality(context, matching.quality, made, _without_copies(train, first), generated)
    tested, copied = dict[str, float](), list[CopiedImage]()
    if items.images is not None:
        held_out = load_items(context.artifacts, inputs.held_out) if inputs.held_out else None
        if held_out is not None and len(first) >= FEWEST:
            unseen = features_of(context.embeddings, held_out, inputs.encoder)
            held = (unseen, images_of(held_out))
            found = memorization_test(
                *views_of((train[first], items.images[first]), (generated, images_of(made)), held)
            )
            tested = {"memorized": int(found.flagged.sum()), "memorization_smallest_p": found.smallest}
            copied = _copied(found, first)
        train, generated = centred(train, generated, first)
    values = gmvaluator_values(
        train,
        generated,
        k=matching.k,
        recall_k=matching.recall_k,
        distances=_rerank_distances(context, matching, items, made),
        blend=BLEND if (matching.encoder, matching.rerank) == SAME_NETWORK else 0.0,
        quality=quality,
        temperature=matching.temperature,
        groups=groups,
        since=since,
        division=matching.division,
        device=torch.device(best_device()),
        progress=context.advance,
    )
    values.diagnostics.update(tested)
    earliest = earliest_of_each(groups, since)
    return replace(_outputs(context.artifacts, items, made, values, earliest, matching.division, began), copied=copied)


def _without_copies(train: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Features of the earliest of each group, since copies would shrink the radii of realism; all of them if realism
    has too few others."""
    return train[first] if FEWEST < len(first) < len(train) else train


def _copied(found: Memorization, rows: np.ndarray) -> list[CopiedImage]:
    """The flagged images of lowest p-value, and of equal ones the closest, with the nearest item of each.

    Args:
        rows: of the items that the test compared with.
    """
    flagged = np.flatnonzero(found.flagged)
    order = flagged[np.lexsort((found.closeness[flagged], found.p_values[flagged]))][:COPIED]
    return [CopiedImage(int(row), int(rows[found.nearest[row]]), float(found.p_values[row])) for row in order]


def _rerank_distances(context: StageContext, matching: Matching, items: Items, made: Items) -> _PairDistances | None:
    """Distances for re-ranking the recalled items; None keeps the order of the embedding."""
    if matching.rerank == "none" or items.images is None or made.images is None:
        return None
    shape = shape_of(items.images)
    distance = build_distance(
        matching.rerank,
        shape=shape,
        device=best_device(),
        weights=context.weights.locate,
        resolution=matching.seen_at(shape),
    )
    return _PairDistances(context.embeddings, distance, items, made)


@dataclass
class _PairDistances:
    """Distances of generated images from their recalled items. Encodings are stored, so each image is encoded once."""

    embeddings: EmbeddingStore
    distance: Distance
    items: Items
    made: Items
    _features: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __call__(self, generated: np.ndarray, rows: np.ndarray) -> np.ndarray:
        left, right = self._known(self.made, generated), self._known(self.items, np.unique(rows))
        apart = np.empty(rows.shape)
        for place, (image, recalled) in enumerate(zip(generated, rows, strict=True)):
            others = right[recalled]  # (recalled, dimensions)
            apart[place] = self.distance.between(np.broadcast_to(left[image], others.shape), others)
        return apart

    def _known(self, of: Items, rows: np.ndarray) -> np.ndarray:
        """An array with the features of all rows asked for so far; what was never asked for takes no memory."""
        if of.images is None:
            raise InputError("images are compared with images, and one side has features; give both as images")
        net = self.distance.encoder
        check_fits(
            "features of images for re-ranking",
            len(of),
            net.dimensions,
            bytes_each=4,
            remedy="Set `matching.rerank: none`, or a smaller `matching.resolution`",
        )
        array, known = self._features.setdefault(
            id(of), (np.empty((len(of), net.dimensions), np.float32), np.zeros(len(of), dtype=bool))
        )
        fresh = rows[~known[rows]]
        if len(fresh):
            ids = [of.ids[row] for row in fresh]
            embed_missing(self.embeddings, net, of.images[fresh], ids, unseen)
            array[fresh] = self.embeddings.lookup(embedding_key(net, of.images), ids)[1]
            known[fresh] = True
        return array


def _quality(
    context: StageContext, name: str, made: Items, train: np.ndarray, generated: np.ndarray
) -> np.ndarray | None:
    """Qualities of generated images, `(generated,)`, in [0, 1]. Scores of a quality model are stored."""
    if name == "none":
        return None
    if name in BY_FEATURES:
        check_features(train, generated, title="generated")
        return BY_FEATURES[name](train)(generated)
    if made.images is None:
        raise InputError(
            f"the quality {name} needs images, and features are given; use {', '.join(BY_FEATURES)} or none"
        )
    judge: Quality = build_quality(name, device=best_device(), weights=context.weights.locate)
    key = embedding_key(judge, made.images)
    known, _ = context.embeddings.lookup(key, made.ids)
    missing = np.flatnonzero(~known)
    for start in range(0, len(missing), SCORED_TOGETHER):
        rows = missing[start : start + SCORED_TOGETHER]
        context.embeddings.add(key, [made.ids[row] for row in rows], judge.scores(made.images[rows])[:, None])
    return context.embeddings.lookup(key, made.ids)[1][:, 0].astype(np.float64)


def _outputs(
    artifacts: ArtifactStore,
    items: Items,
    made: Items,
    values: GMValues,
    earliest: np.ndarray,
    division: Division,
    began: float,
) -> MatchOutputs:
    """Store the tables of values and of contributions.

    Args:
        earliest: for each item, the row of the earliest of its near copies.
    """
    contributors, errors = None, {}
    if items.contributors is not None:
        errors = contributor_errors(
            values.contributions, items.contributors, generated=len(made), earliest=earliest, division=division
        )
        shares = contributor_values(values.values, items.contributors)
        contributors = {name: float(value) for name, value in sorted(shares.items(), key=lambda share: -share[1])}
    rows = values.contributions
    columns = {
        "generated": rows.generated,
        "generated_id": np.array(made.ids)[rows.generated],
        "item": rows.item,
        "id": np.array(items.ids)[rows.item],
        "distance": rows.distance,
        "score": rows.score,
    }
    if made.file_names is not None:
        columns["generated_file_name"] = np.array(made.file_names)[rows.generated]
    if items.file_names is not None:
        columns["file_name"] = np.array(items.file_names)[rows.item]
    contributions = pd.DataFrame(columns)
    table = {**items.columns(), "copy_of": _names_of_earliest(items, earliest), "value": values.values}
    return MatchOutputs(
        table=artifacts.put(pd.DataFrame(table).to_parquet(index=False)),
        contributions=artifacts.put(contributions.to_parquet(index=False)),
        contributors=contributors,
        contributor_errors=errors,
        items=len(items),
        generated=len(made),
        diagnostics=values.diagnostics,
        busy_seconds=time.perf_counter() - began,
    )


def _names_of_earliest(items: Items, earliest: np.ndarray) -> list[str]:
    """File name, or else id, of the earliest of an item's near copies; empty for the earliest itself."""
    names = items.ids if items.file_names is None else items.file_names
    return [names[row] or items.ids[row] if row != place else "" for place, row in enumerate(earliest)]


def unseen(_images: int) -> None:
    """Progress callback that shows nothing."""
