"""Worker code: time GMValuator and VAE-TracIn for a generated image, in one process.

No stored results are used, so that all work is timed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.resolution import resolution_of
from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.encoders.registry import build_encoder
from royalty.models.judging.sets import images_of
from royalty.models.quality.quality import Quality
from royalty.models.quality.realism import Manifold, quality_of
from royalty.models.quality.registry import build_quality
from royalty.models.valuation.gmvaluator import RECALLED, Distances, build_index, gmvaluator_values
from royalty.models.valuation.vae_tracin import VAECheckpoint, vae_tracin_scores
from royalty.tasks.benchmarks.criterion_stages import EfficiencyInputs, EfficiencyOutputs
from royalty.tasks.benchmarks.tracin_worker import load_checkpoints
from royalty.tasks.config.criteria import MethodsConfig
from royalty.tasks.items.embeddings import shape_of
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stage import TableRow

PARTS = ("embed", "quality", "recall", "rerank", "values")
"""Parts of GMValuator that are timed separately."""


def time_methods(inputs: EfficiencyInputs, context: StageContext) -> EfficiencyOutputs:
    """C4: measure the seconds per generated image of each method, and the speed relative to VAE-TracIn.

    `alone` values one image after another; work that depends on the training images only is `prepared` before.
    VAE-TracIn goes through all training images for each generated image, because their gradients are too large to
    store. `together` values all images at once, including the preparation.
    """
    torch.set_num_threads(cores())
    config, (items, made, models) = inputs.config, inputs.digests
    images, generated = (images_of(load_items(context.artifacts, digest)) for digest in (items, made))
    rows: list[TableRow] = []
    for rerank in config.rerank:
        rows.append(_timed(_TimedMethod(config, rerank, images, context.weights), rerank, generated))
        context.advance(1)
    if config.tracin is not None:
        alone, together = _timed_tracin(
            load_checkpoints(context.artifacts, models), images, generated, config.tracin.draws, inputs.seed, context
        )
        for row in rows:
            row |= {"alone_ratio": alone / row["alone"], "together_ratio": together / row["together"]}
        rows.append({"method": "vae-tracin", "prepared": 0.0, "alone": alone, "together": together})
    sizes = {"items": len(images), "images": len(generated), "threads": torch.get_num_threads()}
    return EfficiencyOutputs([row | sizes for row in rows])


def _timed(method: _TimedMethod, rerank: str, generated: np.ndarray) -> TableRow:
    """Time GMValuator for a generated image: by part, alone and together."""
    method.seconds(generated[:1])  # warm-up: the first call includes the setup of torch
    alone = [method.seconds(generated[[image]]) for image in range(len(generated))]
    parts = {part: float(np.mean([seconds[part] for seconds in alone])) for part in PARTS}
    together = (method.prepared + sum(method.seconds(generated).values())) / len(generated)
    title: TableRow = {"method": f"gmvaluator, {rerank}", "prepared": method.prepared}
    return title | parts | {"alone": sum(parts.values()), "together": together}


def _timed_tracin(
    checkpoints: Sequence[VAECheckpoint],
    images: np.ndarray,
    generated: np.ndarray,
    draws: int,
    seed: int,
    context: StageContext,
) -> tuple[float, float]:
    """Time VAE-TracIn for a generated image: alone, and together."""
    vae_tracin_scores(checkpoints[:1], images[:1], generated[:1], draws=draws, seed=seed)  # warm-up, as above
    seconds = []
    for images_made in (generated[:1], generated):
        began = time.perf_counter()
        vae_tracin_scores(checkpoints, images, images_made, draws=draws, seed=seed)
        seconds.append((time.perf_counter() - began) / len(images_made))
        context.advance(1)
    return seconds[0], seconds[1]


class _TimedMethod:
    """GMValuator with one re-ranking, ready for generated images.

    Attributes:
        prepared: seconds to embed all training images and to build the search index.
    """

    def __init__(self, config: MethodsConfig, rerank: str, images: np.ndarray, weights: WeightsStore) -> None:
        self.config, shape, device, locate = config, shape_of(images), best_device(), weights.locate
        seen_at = config.resolution or resolution_of(shape[-1])
        self.encoder = build_encoder(config.encoder, shape=shape, device=device, weights=locate, resolution=seen_at)
        self.distance = None
        if rerank != "none":
            self.distance = build_distance(rerank, shape=shape, device=device, weights=locate, resolution=seen_at)
        self.judge: Quality | None = None
        if config.quality not in ("none", "realism"):
            self.judge = build_quality(config.quality, device=device, weights=locate)
        began = time.perf_counter()
        self.features = self.encoder.features(images)
        self.index = build_index(self.features)
        self.manifold = Manifold(self.features) if config.quality == "realism" else None
        self.pairs = None if self.distance is None else _TimedDistances(self.distance, images)
        self.prepared = time.perf_counter() - began

    def seconds(self, generated: np.ndarray) -> dict[str, float]:
        """Value all training images by generated ones; returns the seconds of each part."""
        spent: dict[str, float] = defaultdict(float)
        distances = None if self.pairs is None else self.pairs.timed(generated, spent)
        with _clock(spent, "embed"):
            features = self.encoder.features(generated)
        with _clock(spent, "quality"):
            quality = self._quality(generated, features)
        k, factor = max(self.config.ks), RECALLED if distances else 1
        with _clock(spent, "recall"):
            self.index.search(features, min(factor * k, len(self.features)))
        with _clock(spent, "values"):
            gmvaluator_values(
                self.features,
                features,
                k=k,
                distances=distances,
                quality=quality,
                temperature=self.config.temperature,
                index=self.index,
            )
        spent["values"] -= spent["rerank"] + spent["recall"]  # `gmvaluator_values` includes recall and re-ranking
        return {part: spent[part] for part in PARTS}

    def _quality(self, generated: np.ndarray, features: np.ndarray) -> np.ndarray | None:
        if self.manifold is not None:
            return quality_of(self.manifold.realism(features))
        return None if self.judge is None else self.judge.scores(generated).astype(np.float64)


class _TimedDistances:
    """Distances from training images, which are encoded once, with their time."""

    def __init__(self, distance: Distance, images: np.ndarray) -> None:
        self.distance, self.known = distance, distance.encoder.features(images)

    def timed(self, generated: np.ndarray, spent: dict[str, float]) -> Distances:
        """Return a distance function for generated images that adds its time to `spent`."""

        def distances(rows: np.ndarray, recalled: np.ndarray) -> np.ndarray:
            with _clock(spent, "rerank"):
                encoded = self.distance.encoder.features(generated[rows])
                return np.stack(
                    [
                        self.distance.between(np.broadcast_to(image, self.known[items].shape), self.known[items])
                        for image, items in zip(encoded, recalled, strict=True)
                    ]
                )

        return distances


@contextmanager
def _clock(spent: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent[part] += time.perf_counter() - began
