"""What runs in a process of its own: the baseline attributions, aggregated to contributors."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.workspace import open_workspace
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.gradients import journey_gradients, loss_gradients
from royalty.models.valuation.influence import relative_influence, renormalized_influence, trak
from royalty.models.valuation.similarity import (
    aggregate,
    embedding_distance,
    feature_similarity,
    gradient_similarity,
    pixel_similarity,
)
from royalty.tasks.credit.training_worker import load_classifier, load_images, load_model, load_property


def attribute(
    train: str,
    base: str,
    judge: str,
    reference: str,
    measured: str,
    sampling: dict[str, Any],
    gradients: dict[str, Any],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Scores of contributors by each baseline, higher being more valuable, and the seconds that each took.

    Scores are of images that the base model makes, averaged over them (section 4.3). Similarities are
    aggregated by average and by maximum, influences by sum, as in the paper. The property of a contributor's own
    images is left out where it is not defined for as few images as some have.

    Args:
        gradients: `images` that the model makes for the gradient methods, `timesteps`, `projection`, `damping`.
    """
    torch.set_num_threads(1)  # gradients of one image at a time are too small to share out
    space = open_workspace(settings)
    data, classifier = load_images(space, train), load_classifier(space, judge)
    model = load_model(space, base, settings)
    began = time.perf_counter()
    generated = model.sample(sampling.pop("images"), **sampling, seed=seed)
    scores: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}

    def keep(method: str, items: np.ndarray, spent: float, *ways: Any) -> None:
        for how in ways:
            title = f"{method} ({how})"
            scores[title] = aggregate(items, data.membership, how).tolist()
            seconds[title] = spent
        advance(1)

    def keep_contributors(method: str, values: list[float]) -> None:
        scores[method], seconds[method] = values, 0.0

    keep("pixel similarity", pixel_similarity(data.images, generated), 0.0, "average", "maximum")
    own, made = classifier.features(data.images), classifier.features(generated)
    keep("encoder similarity", feature_similarity(own, made), 0.0, "average", "maximum")
    cluster = classifier.probabilities(generated).argmax(axis=1)
    keep("embedding distance", embedding_distance(own, made, cluster), 0.0, "average", "maximum")
    common = {key: gradients[key] for key in ("timesteps", "projection")} | {"seed": seed}
    some = generated[: gradients["images"]]

    if isinstance(model, Denoiser):  # gradients are known of these kinds
        clock = time.perf_counter()
        simple = loss_gradients(model, data.images, loss="simple", **common)
        query = loss_gradients(model, some, loss="simple", **common)
        spent, damping = time.perf_counter() - clock, gradients["damping"]
        keep("gradient similarity", gradient_similarity(simple, query), spent, "average", "maximum")
        scores["relative influence (sum)"] = _summed(
            relative_influence(simple, query, damping=damping), data.membership
        )
        scores["renormalized influence (sum)"] = _summed(
            renormalized_influence(simple, query, damping=damping), data.membership
        )
        keep("TRAK", trak(simple, query, damping=damping), spent, "sum")
        clock = time.perf_counter()
        journey = journey_gradients(
            model,
            n=gradients["images"],
            seed=seed,
            **sampling,
            projection=gradients["projection"],
            projection_seed=seed,
        )
        keep("Journey-TRAK", trak(simple, journey, damping=damping), spent + time.perf_counter() - clock, "sum")
        clock = time.perf_counter()
        square = loss_gradients(model, data.images, loss="square", **common)
        asked = loss_gradients(model, some, loss="square", **common)
        keep("D-TRAK", trak(square, asked, damping=damping), time.perf_counter() - clock, "sum")
        seconds |= {f"{name} influence (sum)": spent for name in ("relative", "renormalized")}
    else:
        advance(4)

    credited = load_property(space, measured, judge, reference, settings=settings)
    brought = [data.images[data.membership[:, member]] for member, _ in enumerate(data.contributors)]
    if min(map(len, brought)) >= credited.least:
        keep_contributors("property of own images", [credited.of(images) for images in brought])
    keep_contributors("number of images", [float(len(images)) for images in brought])
    return {"scores": scores, "seconds": seconds, "busy_seconds": time.perf_counter() - began}


def _summed(items: np.ndarray, membership: np.ndarray) -> list[float]:
    return list(map(float, aggregate(items, membership, "sum")))
