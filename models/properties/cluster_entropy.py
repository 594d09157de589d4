"""Entropy of generated images over clusters (sparsified fine-tuning paper, eq. 8): how diverse are they?"""

from __future__ import annotations

import math

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from royalty.models.properties.class_entropy import entropy, entropy_error
from royalty.models.properties.comparing import feature_reader
from royalty.models.properties.property import Context, Property

CLUSTERS = 20
"""Number of clusters, as in the paper."""

CLUSTERED = 1024
"""Most images that are clustered, as in the paper: time and memory grow with their square."""


def build(context: Context, network: str) -> Property:
    """Entropy in bits of the shares of generated images in the clusters of the reference, in an encoder's features.

    The paper clusters images of the full model instead.
    """
    read = feature_reader(context, network, least=CLUSTERS)
    centres = cluster_centres(read(context.reference), CLUSTERS)
    return Property(
        lambda images: nearest_centre(read(images), centres),
        lambda clusters: entropy(clusters) / math.log(2),
        lambda clusters: entropy_error(clusters) / math.log(2),
    )


def cluster_centres(features: np.ndarray, clusters: int) -> np.ndarray:
    """Means of the clusters of features, `(images, dimensions)`, by Ward's linkage (Ward 1963).

    Returns:
        `(at most clusters, dimensions)`; fewer if there are fewer distinct images.
    """
    member = cluster_members(features, clusters)
    return np.stack([features[member == cluster].mean(axis=0) for cluster in np.unique(member)])


def cluster_members(features: np.ndarray, clusters: int) -> np.ndarray:
    """The cluster of each image by Ward's linkage, int, `(images,)`; one cluster of a single image."""
    if len(features) == 1:
        return np.ones(1, dtype=int)
    member: np.ndarray = fcluster(linkage(features, method="ward"), clusters, criterion="maxclust")
    return member


def nearest_centre(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cluster with the nearest mean for each image, int64, `(images,)`."""
    squared = np.square(centres).sum(axis=1) - 2 * features @ centres.T  # (images, clusters), without |x|^2
    nearest: np.ndarray = squared.argmin(axis=1)
    return nearest
