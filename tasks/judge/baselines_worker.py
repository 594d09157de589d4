"""Worker code: baseline attributions, aggregated to contributors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from royalty.models.data.items import ImageSet
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.registry import build_encoder
from royalty.models.generators.differentiable import Differentiable, differentiable
from royalty.models.generators.gradients import Loss, journey_gradients, loss_gradients, prediction_errors
from royalty.models.properties.cluster_entropy import CLUSTERED, CLUSTERS, cluster_members
from royalty.models.properties.property import Property
from royalty.models.valuation.influence import diffusion_attribution, relative_influence, renormalized_influence, trak
from royalty.models.valuation.patches import patch_attribution
from royalty.models.valuation.similarity import (
    aggregate,
    embedding_distance,
    feature_similarity,
    gradient_similarity,
    pixel_similarity,
)
from royalty.tasks.judge.stages import AttributeInputs, AttributeOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import load_images, load_model, load_property

GRADIENT_METHODS = 5
"""Progress steps of the methods that compare gradients."""


def attribute(inputs: AttributeInputs, context: StageContext) -> AttributeOutputs:
    """Score contributors by each baseline, and time it. Higher is more valuable.

    Scores are averages over images that the base model generates (section 4.3). Similarities are aggregated by average
    and by maximum, influences by sum, as in the paper, and shares of patches by sum. The property of a contributor's
    images is left out if it is not defined for as few images as some contributor has.
    """
    torch.set_num_threads(1)  # gradients of one image at a time are too small to share out
    began = time.perf_counter()
    data = load_images(context, inputs.train)
    channels, height, width = data.images.shape[1:]
    encoder = build_encoder(
        inputs.encoder, shape=(channels, height, width), device=best_device(), weights=context.weights.locate
    )
    model = load_model(context, inputs.base)
    sampling = {name: value for name, value in inputs.sampling.items() if name != "images"}
    generated = model.sample(inputs.sampling["images"], **sampling, seed=inputs.seed)
    scores = _Scores(data.membership, context.advance)
    _compare_images(scores, encoder, data.images, generated)
    _compare_patches(scores, data.images, generated[: inputs.gradients.images], inputs.seed)
    learner = differentiable(model)
    if learner is None:
        context.advance(GRADIENT_METHODS)
    else:
        _compare_gradients(scores, learner, data, generated, inputs, sampling)
    _judge_contributors(scores, data, load_property(context, inputs.property, inputs.classifier, inputs.reference))
    return AttributeOutputs(scores.values, scores.seconds, time.perf_counter() - began)


@dataclass(frozen=True)
class _Scores:
    """Scores by method, collected as methods finish.

    Attributes:
        membership: bool, `(items, contributors)`.
        values: scores, `(contributors,)`, by method.
        seconds: time by method.
    """

    membership: np.ndarray
    advance: Callable[[int], object]
    values: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(
        self, method: str, items: np.ndarray, seconds: float, *aggregations: Literal["average", "maximum", "sum"]
    ) -> None:
        """Add scores of items, `(items,)`, to contributors; each aggregation counts as a method."""
        for aggregation in aggregations:
            title = f"{method} ({aggregation})"
            self.values[title] = [float(value) for value in aggregate(items, self.membership, aggregation)]
            self.seconds[title] = seconds


def _compare_images(scores: _Scores, encoder: Encoder, images: np.ndarray, generated: np.ndarray) -> None:
    """Add similarities of pixels and features, and distances to clusters of generated images in these features."""
    began = time.perf_counter()
    pixels = pixel_similarity(images, generated)
    scores.add("pixel similarity", pixels, time.perf_counter() - began, "average", "maximum")
    scores.advance(1)

    began = time.perf_counter()
    features, made = encoder.features(images), encoder.features(generated)
    seconds = time.perf_counter() - began
    similarity = feature_similarity(features, made)
    scores.add("encoder similarity", similarity, time.perf_counter() - began, "average", "maximum")
    scores.advance(1)

    began = time.perf_counter()
    clustered = made[:CLUSTERED]
    distance = embedding_distance(features, clustered, cluster_members(clustered, CLUSTERS))
    scores.add("embedding distance", distance, seconds + time.perf_counter() - began, "average", "maximum")
    scores.advance(1)


def _compare_patches(scores: _Scores, images: np.ndarray, queries: np.ndarray, seed: int) -> None:
    """Add patch attribution of as many generated images as the gradients have; it works for every kind of model."""
    began = time.perf_counter()
    shares = patch_attribution(images, queries, seed=seed)
    scores.add("patches", shares, time.perf_counter() - began, "sum")
    scores.advance(1)


def _compare_gradients(
    scores: _Scores,
    model: Differentiable,
    data: ImageSet,
    generated: np.ndarray,
    inputs: AttributeInputs,
    sampling: dict[str, Any],
) -> None:
    """Add similarities and influences from gradients of the loss at training and at generated images."""
    settings, seed = inputs.gradients, inputs.seed
    damping, queries = settings.damping, generated[: settings.images]
    given, asked = model.given(data.labels, data.texts, len(data.images)), model.asked(len(queries))
    options: dict[str, Any] = {"timesteps": settings.timesteps, "projection": settings.projection, "seed": seed}

    def gradients(loss: Loss) -> tuple[np.ndarray, np.ndarray]:
        """Of the loss at training and at generated images."""
        return (
            loss_gradients(model, data.images, given, loss=loss, **options),
            loss_gradients(model, queries, asked, loss=loss, **options),
        )

    began = time.perf_counter()
    simple, query = gradients("simple")
    seconds = time.perf_counter() - began
    scores.add("gradient similarity", gradient_similarity(simple, query), seconds, "average", "maximum")
    scores.advance(1)
    scores.add("relative influence", relative_influence(simple, query, damping=damping), seconds, "sum")
    scores.add("renormalized influence", renormalized_influence(simple, query, damping=damping), seconds, "sum")
    scores.add("TRAK", trak(simple, query, damping=damping), seconds, "sum")
    scores.advance(1)

    began = time.perf_counter()
    journey = journey_gradients(
        model, n=settings.images, seed=seed, **sampling, projection=settings.projection, projection_seed=seed
    )
    journey_scores = trak(simple, journey, damping=damping)
    scores.add("Journey-TRAK", journey_scores, seconds + time.perf_counter() - began, "sum")
    scores.advance(1)

    began = time.perf_counter()
    square, square_query = gradients("square")
    scores.add("D-TRAK", trak(square, square_query, damping=damping), time.perf_counter() - began, "sum")
    scores.advance(1)

    began = time.perf_counter()
    absolute, absolute_query = gradients("absolute")
    errors = prediction_errors(model, data.images, given, timesteps=settings.timesteps, seed=seed)
    das = diffusion_attribution(absolute, absolute_query, errors, damping=damping)
    scores.add("DAS", das, time.perf_counter() - began, "sum")
    scores.advance(1)


def _judge_contributors(scores: _Scores, data: ImageSet, credited: Property) -> None:
    """Add the property and the number of each contributor's images."""
    began = time.perf_counter()
    contributed = [data.images[data.membership[:, member]] for member, _ in enumerate(data.contributors)]
    if min(map(len, contributed)) >= credited.least:
        scores.values["property of own images"] = [float(credited.of(images)) for images in contributed]
        scores.seconds["property of own images"] = time.perf_counter() - began
    scores.values["number of images"] = [float(len(images)) for images in contributed]
    scores.seconds["number of images"] = 0.0
