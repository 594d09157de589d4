"""Worker code: time GMValuator, VAE-TracIn and IF4GAN for generated images, in one process.

No stored results are used, so that all work is timed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.resolution import resolution_of
from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.encoders.registry import build_encoder
from royalty.models.generators.dcgan import DCGAN
from royalty.models.judging.sets import images_of
from royalty.models.quality.by_features import BY_FEATURES
from royalty.models.quality.quality import Quality
from royalty.models.quality.registry import build_quality
from royalty.models.valuation.gmvaluator import RECALLED, Distances, build_index, gmvaluator_values
from royalty.models.valuation.vae_tracin import VAECheckpoint, vae_tracin_scores
from royalty.tasks.benchmarks.criterion_stages import EfficiencyInputs, EfficiencyOutputs, TimedGAN
from royalty.tasks.benchmarks.influence_worker import gan_values
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
    """C4: measure the seconds per generated image of each method, and the speed relative to VAE-TracIn or IF4GAN.

    `alone` values one image after another; work that depends on the training images only is `prepared` before.
    VAE-TracIn and IF4GAN go through all training images for each generated image: the gradients of VAE-TracIn are too
    large to store, and IF4GAN carries the score of the generated images back. `together` values all images at once,
    including the preparation, and `total` is that for all images.
    """
    torch.set_num_threads(cores())
    config, (items, made, models), gan = inputs.config, inputs.digests, inputs.gan
    images = _images(context, items)
    sets = {"beta-vae": _images(context, made)} | ({"dcgan": _images(context, gan.made)} if gan else {})
    tables: dict[str, list[TableRow]] = {generator: [] for generator in sets}
    for rerank in config.rerank:
        method = _TimedMethod(config, rerank, images, context.weights)
        for generator, generated in sets.items():
            tables[generator].append(_timed(method, rerank, generated))
            context.advance(1)
    if config.tracin is not None:
        checkpoints = load_checkpoints(context.artifacts, models)
        found = _timed_tracin(checkpoints, images, sets["beta-vae"], config.tracin.draws, inputs.seed, context)
        _compare(tables["beta-vae"], "vae-tracin", *found)
    if gan is not None:
        _compare(tables["dcgan"], "if4gan", *_timed_gan(gan, images, len(sets["dcgan"]), inputs.seed, context))
    rows = []
    for generator, table in tables.items():
        sizes = {"items": len(images), "images": len(sets[generator]), "threads": torch.get_num_threads()}
        rows += [{"generator": generator} | row | {"total": row["together"] * sizes["images"]} | sizes for row in table]
    return EfficiencyOutputs(rows)


def _images(context: StageContext, digest: str) -> np.ndarray:
    return images_of(load_items(context.artifacts, digest))


def _compare(table: list[TableRow], method: str, alone: float, together: float) -> None:
    """Add a method to the rows of GMValuator, and its seconds as multiples of theirs."""
    for row in table:
        row |= {"alone_ratio": alone / row["alone"], "together_ratio": together / row["together"]}
    table.append({"method": method, "prepared": 0.0, "alone": alone, "together": together})


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

    def value(count: int) -> None:
        vae_tracin_scores(checkpoints, images, generated[:count], draws=draws, seed=seed)

    return _alone_and_together(value, len(generated), context)


def _timed_gan(gan: TimedGAN, images: np.ndarray, count: int, seed: int, context: StageContext) -> tuple[float, float]:
    """Time IF4GAN for an image that a DCGAN generates: alone, and together with as many as `count`."""
    net = DCGAN.from_bytes(context.artifacts.get(gan.model)).to(torch.device(best_device()))
    shortest = gan.settings.model_copy(update={"epochs": 1, "batch_size": 1})
    gan_values(net, images[:1], 1, shortest, seed=seed)  # warm-up, as above

    def value(generated: int) -> None:
        gan_values(net, images, generated, gan.settings, seed=seed)

    return _alone_and_together(value, count, context)


def _alone_and_together(value: Callable[[int], None], count: int, context: StageContext) -> tuple[float, float]:
    """Seconds per image of valuing by the first image, and by all."""
    seconds = []
    for images in (1, count):
        began = time.perf_counter()
        value(images)
        seconds.append((time.perf_counter() - began) / images)
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
        if config.quality != "none" and config.quality not in BY_FEATURES:
            self.judge = build_quality(config.quality, device=device, weights=locate)
        began = time.perf_counter()
        self.features = self.encoder.features(images)
        self.index = build_index(self.features)
        self.by_features = BY_FEATURES[config.quality](self.features) if config.quality in BY_FEATURES else None
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
        if self.by_features is not None:
            return self.by_features(features)
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
