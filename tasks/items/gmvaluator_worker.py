"""What runs in a process of its own: generated images are matched with training images. Imports no orchestration."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.data.stored import open_set
from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.quality.quality import Quality
from royalty.models.quality.realism import quality_of, realism_scores
from royalty.models.quality.registry import build_quality
from royalty.models.valuation.gmvaluator import GMValues, build_index, gmvaluator_values
from royalty.models.valuation.items import contributor_values
from royalty.tasks.config.credit import Matching
from royalty.tasks.credit.training_worker import load_model
from royalty.tasks.items.valuing_worker import embed, embed_missing, embedding_key, features_of, shape_of
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stored_items import keep_items, load_items

SCORED_TOGETHER = 256
"""Images to a shard of qualities: what a kill costs at most."""


def match_model(
    train: str,
    model: str,
    images: int,
    sampling: dict[str, Any],
    seed: int,
    matching: Matching,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Generate images by a model, and value the images that trained it by them."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    began = time.perf_counter()
    data = open_set(space.artifacts.verified(train))
    made = load_model(space, model, settings).sample(images, seed=seed, **sampling)
    sides = [keep_items(space, items)["items"] for items in (Items.of_set(data), Items.of_images(made))]
    for side in sides:
        found = embed(side, matching.encoder, "", settings, _unseen)
    train, generated = sides
    matched = match(train, generated, found["encoder"], matching, settings, advance)
    return {**matched, "sides": {"train": train, "generated": generated}, **_busy(began)}


def match(
    train: str, generated: str, encoder: str, matching: Matching, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Value training items by the generated images that they stand behind.

    Args:
        train, generated: digests of items.
        encoder: key of the embeddings of both, "" where items are features.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    space, weights = open_workspace(settings), WeightsStore(settings.weights_root)
    began = time.perf_counter()
    items, made = load_items(space, train), load_items(space, generated)
    features = features_of(space, items, encoder), features_of(space, made, encoder)
    if matching.rerank != "none" and items.images is not None and made.images is not None:
        distance = build_distance(
            matching.rerank, shape=shape_of(items.images), device=best_device(), weights=weights.locate
        )
        pairs: _Pairs | None = _Pairs(space, distance, items, made)
    else:
        pairs = None
    found = gmvaluator_values(
        *features,
        k=matching.k,
        recall_k=matching.recall_k,
        distances=pairs,
        quality=_quality(space, matching.quality, made, *features, weights=weights),
        temperature=matching.temperature,
        index=build_index(features[0], device=torch.device(best_device())),
        progress=advance,
    )
    return {**_store(space, items, made, found), **_busy(began)}


@dataclass
class _Pairs:
    """Distances of generated images from the items that were recalled for them; each image is encoded once, ever."""

    space: Workspace
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
        array, known = self._features.setdefault(
            id(of), (np.empty((len(of), net.dimensions), np.float32), np.zeros(len(of), dtype=bool))
        )
        fresh = rows[~known[rows]]
        if len(fresh):
            ids = [of.ids[row] for row in fresh]
            embed_missing(self.space, net, of.images[fresh], ids, _unseen)
            array[fresh] = self.space.embeddings.lookup(embedding_key(net, of.images), ids)[1]
            known[fresh] = True
        return array


def _quality(
    space: Workspace, name: str, made: Items, train: np.ndarray, generated: np.ndarray, *, weights: WeightsStore
) -> np.ndarray | None:
    """Qualities of generated images, `(generated,)`, in [0, 1]; those of a metric are kept."""
    if name == "none":
        return None
    if name == "realism":
        return quality_of(realism_scores(train, generated))
    if made.images is None:
        raise InputError(f"the quality {name} looks at images, and features are given; take `realism` or `none`")
    judge: Quality = build_quality(name, device=best_device(), weights=weights.locate)
    key = embedding_key(judge, made.images)
    found, _ = space.embeddings.lookup(key, made.ids)
    missing = np.flatnonzero(~found)
    for start in range(0, len(missing), SCORED_TOGETHER):
        rows = missing[start : start + SCORED_TOGETHER]
        space.embeddings.add(key, [made.ids[row] for row in rows], judge.scores(made.images[rows])[:, None])
    return space.embeddings.lookup(key, made.ids)[1][:, 0].astype(np.float64)


def _store(space: Workspace, items: Items, made: Items, found: GMValues) -> dict[str, Any]:
    """Keep the tables of values, of contributors, and of who stands behind which image."""
    columns: dict[str, Any] = {"id": items.ids}
    if items.labels is not None:
        columns["label"] = items.labels
    outputs: dict[str, Any] = {"contributors": None}
    if items.contributors is not None:
        columns["contributor"] = items.contributors
        shared = contributor_values(found.values, items.contributors)
        outputs["contributors"] = dict(sorted(shared.items(), key=lambda pair: -pair[1]))
    rows = found.contributions
    behind = pd.DataFrame(
        {
            "generated": rows.generated,
            "generated_id": np.array(made.ids)[rows.generated],
            "item": rows.item,
            "id": np.array(items.ids)[rows.item],
            "distance": rows.distance,
            "score": rows.score,
        }
    )
    tables = {"table": pd.DataFrame({**columns, "value": found.values}), "contributions": behind}
    stored = {name: space.artifacts.put(table.to_parquet(index=False)) for name, table in tables.items()}
    return {**outputs, **stored, "items": len(items), "generated": len(made), "diagnostics": found.diagnostics}


def _busy(began: float) -> dict[str, float]:
    return {"busy_seconds": time.perf_counter() - began}


_unseen: Callable[[int], None] = lambda _images: None  # noqa: E731  # progress that nobody watches
