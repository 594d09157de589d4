"""Entropy of the clusters of generated images (sparsified fine-tuning paper, eq. 8): how diverse are they?"""

from __future__ import annotations

import math

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from royalty.models.properties.class_entropy import entropy, entropy_error
from royalty.models.properties.comparing import reader
from royalty.models.properties.property import Context, Property

CLUSTERS = 20
"""Of the reference images, as in the paper."""


def build(context: Context, network: str) -> Property:
    """Entropy in bits of the reference clusters of generated images, in an encoder's features."""
    read = reader(context, network, least=CLUSTERS)
    centres = cluster_centres(read(context.reference), CLUSTERS)
    return Property(
        lambda images: nearest_centre(read(images), centres),
        lambda clusters: entropy(clusters) / math.log(2),
        lambda clusters: entropy_error(clusters) / math.log(2),
    )


def cluster_centres(features: np.ndarray, clusters: int) -> np.ndarray:
    """Means of the clusters of features, `(images, dimensions)`, by Ward's linkage (Ward 1963).

    Returns:
        `(at most clusters, dimensions)`: fewer where copies leave fewer distinct images.
    """
    member = fcluster(linkage(features, method="ward"), clusters, criterion="maxclust")
    return np.stack([features[member == cluster].mean(axis=0) for cluster in np.unique(member)])


def nearest_centre(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cluster of each image by the nearest mean, int64, `(images,)`."""
    squared = np.square(centres).sum(axis=1) - 2 * features @ centres.T  # (images, clusters), less |x|^2
    nearest: np.ndarray = squared.argmin(axis=1)
    return nearest
