"""What runs in a process of its own: a corruption is planted, looked for by each method, and taken out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.corruptions import CORRUPTIONS, Corrupted, CorruptionName
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items, numbered
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.head import fit_head
from royalty.models.encoders.registry import build_encoder
from royalty.models.encoders.representation import represent
from royalty.models.judging.detection import detection
from royalty.models.valuation.item_baselines import (
    confidence_values,
    el2n_values,
    influence_values,
    prototype_values,
    tracin_values,
)
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.knn_shapley import knn_shapley_values
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.sava import batchwise_lava_values, sava_values
from royalty.tasks.config.detection import DetectionConfig, Looking
from royalty.tasks.items.valuing_worker import embed_missing, embedding_key, shape_of, trained_encoder
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stored_items import keep_items, load_items

BY_DISTANCE: tuple[Looking, ...] = ("lava", "sava", "batchwise-lava", "knn-shapley", "prototype")
"""They see the representation that is asked for; those that train a classifier see the encoder's features."""

CURVE = 200
"""Points of a detection curve that are kept."""


def read_digits(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep scikit-learn's digits as training and validation items, two to one."""
    from sklearn.datasets import load_digits  # takes seconds to import

    space = open_workspace(settings)
    scans = load_digits()
    images = (scans.images * 15).astype(np.uint8)[:, None]  # (items, 1, 8, 8)
    for_val = np.arange(len(images)) % 3 == 2
    kept = {}
    for side, rows in (("train", np.flatnonzero(~for_val)), ("val", np.flatnonzero(for_val))):
        ids = tuple(item_id(images[row, 0]) for row in rows)
        kept[side] = keep_items(space, Items(ids, images[rows], None, scans.target[rows].astype(np.int64), None))
    advance(1)
    return kept


def detect(
    config: DetectionConfig, corruption: CorruptionName, sides: dict[str, str], settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Detection by each method, and the accuracy of a classifier trained without what it values least.

    The classifier is linear, on principal components of the encoder's features; it is judged by validation images
    that no method saw.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    space, weights = open_workspace(settings), WeightsStore(settings.weights_root)
    began = time.perf_counter()
    images, labels, val_images, val_labels = _drawn(space, config, sides)
    clean = np.random.default_rng(config.seed).random(len(val_images)) >= config.test
    net: Encoder = (
        trained_encoder(config.encoding, val_images[clean], val_labels[clean], config.seed, lambda _steps: None)
        if config.encoding.encoder == "preact-resnet18"
        else build_encoder(
            config.encoding.encoder, shape=shape_of(images), device=best_device(), weights=weights.locate
        )
    )
    planted = _plant(config, corruption, net, images, labels, val_images, val_labels)
    keep = np.isin(val_labels, planted.labels)  # a class that was removed is in neither side
    val_images, val_labels, clean = val_images[keep], val_labels[keep], clean[keep]
    features, val_features = (_embedded(space, net, each) for each in (planted.images, val_images))
    shown, val_shown = represent(features, val_features[clean], val_labels[clean], config.encoding.representation)
    components, _ = represent(np.concatenate([features, val_features[~clean]]), val_features[clean], None, "principal")
    own, test, test_labels = components[: len(features)], components[len(features) :], val_labels[~clean]

    def accuracy_without(gone: np.ndarray) -> float:
        left = np.delete(np.arange(len(own)), gone)
        head = fit_head(own[left], planted.labels[left])
        return float((head.classes[head.logits(test).argmax(axis=1)] == test_labels).mean())

    whole = accuracy_without(np.empty(0, dtype=int))
    advance(1)
    rows, curves, accuracy = [], {}, []
    for method in config.methods:
        clock = time.perf_counter()
        sides_of = (shown, val_shown) if method in BY_DISTANCE else (features, val_features[clean])
        values = _looking(config, method)(sides_of[0], planted.labels, sides_of[1], val_labels[clean]).values
        seconds = time.perf_counter() - clock
        found = detection(values, planted.planted)
        rows.append(
            {
                "corruption": corruption,
                "method": method,
                "first_fifth": found.first_fifth,
                "auroc": found.auroc,
                "planted": int(planted.planted.sum()),
                "items": len(values),
                "seconds": seconds,
            }
        )
        curves[method] = found.rates[np.linspace(0, len(values) - 1, min(CURVE, len(values))).astype(int)].tolist()
        order = np.argsort(values, kind="stable")
        for removed in (0.0, *config.removed):
            gone = order[: round(removed * len(order))]
            reached = accuracy_without(gone) if len(gone) else whole
            accuracy.append({"corruption": corruption, "method": method, "removed": removed, "accuracy": reached})
        advance(1)
    return {"rows": rows, "curves": curves, "accuracy": accuracy, "busy_seconds": time.perf_counter() - began}


def _drawn(
    space: Workspace, config: DetectionConfig, sides: dict[str, str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels of both sides, as many as are wanted."""
    train, val = load_items(space, sides["train"]), load_items(space, sides["val"])
    labels, val_labels = numbered(train.labels, val.labels)
    if train.images is None or val.images is None or labels is None or val_labels is None:
        raise InputError("corruptions are planted in images with labels; give both, for training and validation")
    generator = np.random.default_rng(config.seed)
    own = np.sort(generator.permutation(len(labels))[: config.items])
    others = np.sort(generator.permutation(len(val_labels))[: config.val_items])
    return train.images[own], labels[own], val.images[others], val_labels[others]


def _plant(
    config: DetectionConfig,
    corruption: CorruptionName,
    net: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    val_images: np.ndarray,
    val_labels: np.ndarray,
) -> Corrupted:
    """Target, base and removed class are the first, second and third label."""
    amount, classes = config.planting, np.unique(labels)
    settled: dict[str, Any]
    if corruption == "flipped-labels":
        settled = {"share": amount.flipped}
    elif corruption == "noise":
        settled = {"share": amount.noise}
    elif corruption == "irrelevant-class":
        settled = {"removed": int(classes[2 % len(classes)])}
    elif corruption == "poison-frogs":
        settled = {
            "target": val_images[np.flatnonzero(val_labels == classes[0])[0]],
            "poison_class": int(classes[1]),
            "count": amount.poisoned,
            "features": net.embed,
        }
    else:
        settled = {"share": amount.backdoor, "target_label": int(classes[0])}
    return CORRUPTIONS[corruption](images, labels, seed=config.seed, **settled)


def _embedded(space: Workspace, net: Encoder, images: np.ndarray) -> np.ndarray:
    ids = [item_id(image) for image in images]
    embed_missing(space, net, images, ids, lambda _steps: None)
    return space.embeddings.lookup(embedding_key(net, images), ids)[1]


Method = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], ItemValues]


def _looking(config: DetectionConfig, method: Looking) -> Method:
    """A method with its settings."""
    valuing, seed = config.valuing, config.seed
    weights = {name: getattr(valuing, name) for name in ("label_weight", "feature_weight", "epsilon", "tolerance")}
    methods: dict[Looking, Method] = {
        "lava": lambda *sides: lava_values(*sides, **weights, max_iterations=valuing.max_iterations),
        "sava": lambda *sides: sava_values(
            *sides,
            **weights,
            max_iterations=valuing.max_iterations,
            batch_size=valuing.batch_size,
            stratify=valuing.stratify,
            seed=seed,
        ),
        "batchwise-lava": lambda *sides: batchwise_lava_values(
            *sides, **weights, batch_size=valuing.batch_size, seed=seed
        ),
        "knn-shapley": lambda *sides: knn_shapley_values(*sides, k=valuing.neighbours),
        "confidence": lambda *sides: confidence_values(*sides, seed=seed),
        "prototype": lambda *sides: prototype_values(*sides),
        "el2n": lambda *sides: el2n_values(*sides, seed=seed),
        "tracin": lambda *sides: tracin_values(*sides, seed=seed),
        "influence": lambda *sides: influence_values(*sides),
        "random": lambda *sides: ItemValues(np.random.default_rng(seed).random(len(sides[0])), {}),
    }
    return methods[method]
