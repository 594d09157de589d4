"""How far apart the images that a model makes are from each other, by a perceptual distance."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.properties.property import Context, Property

PARTNERS = 32
"""Places ahead up to which an image is paired, so with 64 others; all pairs of 65 images or fewer."""


def build(context: Context, network: str) -> Property:
    """Mean distance of pairs of generated images, by the distance of a name."""
    channels, height, width = context.reference.shape[1:]
    distance = build_distance(network, shape=(channels, height, width), device=context.device, weights=context.weights)
    return Property(
        distance.encoder.features,
        lambda features: float(distances_from_others(features, distance).mean()),
        lambda features: diversity_error(features, distance),
    )


def distances_from_others(features: np.ndarray, distance: Distance, *, partners: int = PARTNERS) -> np.ndarray:
    """Mean distance of each image to its partners: the `partners` before and behind it, in a circle, or all others.

    Every image is in as many pairs as any other, which leaves the mean nearly as sure as that of all pairs (Blom 1976).

    Args:
        features: of the distance's encoder, `(images, dimensions)`, two images at least.

    Returns:
        float64, `(images,)`; their mean is the diversity.
    """
    images = len(features)
    sums, pairs = np.zeros(images), 0
    for ahead in range(1, min(partners, images // 2) + 1):
        apart = distance.between(features, np.roll(features, -ahead, axis=0)).astype(np.float64)
        opposite = 2 * ahead == images  # each such pair is met from both its ends
        sums += apart if opposite else apart + np.roll(apart, ahead)
        pairs += 1 if opposite else 2
    return sums / pairs


def diversity_error(features: np.ndarray, distance: Distance) -> float:
    """Standard error of the diversity: twice that of the mean of each image's own distance, as for a U-statistic."""
    return 2 * float(distances_from_others(features, distance).std(ddof=1)) / math.sqrt(len(features))
