"""Valuation methods by name, with the settings of a detection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.data.planting import share_values
from royalty.models.valuation.detector import detect_items
from royalty.models.valuation.item_baselines import (
    confidence_values,
    el2n_values,
    influence_values,
    prototype_values,
    tracin_values,
)
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.kairos import kairos_values
from royalty.models.valuation.knn_shapley import knn_shapley_values
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.pruning_baselines import cluster_centre_values, el2n_window_values
from royalty.models.valuation.sava import batchwise_lava_values, sava_values
from royalty.models.valuation.training_baselines import confident_learning_values, out_of_bag_values
from royalty.tasks.config.detection import DetectionSettings, Looking

BY_DISTANCE: tuple[Looking, ...] = ("lava", "sava", "batchwise-lava", "knn-shapley", "prototype")
"""Methods that compare items in the configured representation. The others use the features of the encoder."""

ValuationMethod = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], ItemValues]
"""Takes training features, `(items, dimensions)`, and labels, `(items,)`, then those of validation."""


def method_of(settings: DetectionSettings, name: Looking) -> ValuationMethod:
    """Return a method with its settings bound."""
    valuing, seed = settings.valuing, settings.seed
    weights = {name: getattr(valuing, name) for name in ("label_weight", "feature_weight", "epsilon", "tolerance")}
    methods: dict[Looking, ValuationMethod] = {
        "detector": lambda *sides: ItemValues(detect_items(*sides, seed=seed).scores, {}),
        "class-shares": lambda *sides: ItemValues(share_values(sides[1], sides[3]), {}),
        "lava": lambda *sides: lava_values(
            *sides, **weights, max_iterations=valuing.max_iterations, solver=valuing.solver
        ),
        "sava": lambda *sides: sava_values(
            *sides,
            **weights,
            max_iterations=valuing.max_iterations,
            batch_size=valuing.batch_size,
            stratify=valuing.stratify,
            form=valuing.form,
            seed=seed,
        ),
        "batchwise-lava": lambda *sides: batchwise_lava_values(
            *sides, **weights, batch_size=valuing.batch_size, seed=seed
        ),
        "knn-shapley": lambda *sides: knn_shapley_values(*sides, k=valuing.neighbours),
        "confidence": lambda *sides: confidence_values(*sides, seed=seed),
        "prototype": lambda *sides: prototype_values(*sides),
        "cluster-centre": lambda *sides: cluster_centre_values(*sides, seed=seed),
        "el2n": lambda *sides: el2n_values(*sides, seed=seed),
        "el2n-window": lambda *sides: el2n_window_values(*sides, seed=seed),
        "tracin": lambda *sides: tracin_values(*sides, seed=seed),
        "influence": lambda *sides: influence_values(*sides),
        "data-oob": lambda *sides: out_of_bag_values(*sides, seed=seed),
        "confident-learning": lambda *sides: confident_learning_values(*sides, seed=seed),
        "kairos": lambda *sides: kairos_values(*sides),
        "random": lambda *sides: ItemValues(np.random.default_rng(seed).random(len(sides[0])), {}),
    }
    return methods[name]
