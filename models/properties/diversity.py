"""Diversity: the mean perceptual distance between generated images."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.distances.distance import Distance
from royalty.models.distances.registry import build_distance
from royalty.models.properties.property import Context, Property

PARTNERS = 32
"""Number of images before and after an image that it is paired with: 64 partners; all pairs for up to 65 images."""


def build(context: Context, network: str) -> Property:
    """Mean distance between pairs of generated images, by the distance named `network`."""
    channels, height, width = context.reference.shape[1:]
    distance = build_distance(network, shape=(channels, height, width), device=context.device, weights=context.weights)
    return Property(
        distance.encoder.features,
        lambda features: float(distances_from_others(features, distance).mean()),
        lambda features: diversity_error(features, distance),
    )


def distances_from_others(features: np.ndarray, distance: Distance, *, partners: int = PARTNERS) -> np.ndarray:
    """Mean distance of each image to its partners: the `partners` images before and after it in circular order.

    With few images, all other images are partners. Every image is in the same number of pairs, so the variance of the
    mean is close to that over all pairs (Blom 1976).

    Args:
        features: features of the distance's encoder, `(images, dimensions)`, at least two images.

    Returns:
        float64, `(images,)`; their mean is the diversity.
    """
    images = len(features)
    sums, pairs = np.zeros(images), 0
    for ahead in range(1, min(partners, images // 2) + 1):
        distances = distance.between(features, np.roll(features, -ahead, axis=0)).astype(np.float64)
        opposite = 2 * ahead == images  # the partner ahead is then the partner behind, so a pair counts once per image
        sums += distances if opposite else distances + np.roll(distances, ahead)
        pairs += 1 if opposite else 2
    return sums / pairs


def diversity_error(features: np.ndarray, distance: Distance) -> float:
    """Standard error of the diversity: twice that of the mean over images of their distances, as for a U-statistic."""
    return 2 * float(distances_from_others(features, distance).std(ddof=1)) / math.sqrt(len(features))
