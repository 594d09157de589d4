"""Access to the images, labels and attributes that criteria need, and subsets of items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items


def images_of(items: Items) -> np.ndarray:
    """The images, uint8, `(items, channels, height, width)`.

    Raises:
        InputError: the items are features.
    """
    if items.images is None:
        raise InputError("criteria compare images, and one of the two sets has features; give both as images")
    return items.images


def labels_of(items: Items) -> np.ndarray:
    """The labels, names or integers, `(items,)`.

    Raises:
        InputError: the items have no labels.
    """
    if items.labels is None:
        raise InputError(
            "criteria compare the classes of training images, and these have no labels; add labels to the training set"
        )
    return items.labels


def attributes_of(items: Items) -> Mapping[str, np.ndarray]:
    """The attributes by name, bool, `(items,)`.

    Raises:
        InputError: the items were read without attributes.
    """
    if items.attributes is None:
        raise InputError(
            "criteria of attributes need them, and none were read; name their columns in `attribute_columns`"
        )
    return items.attributes


def select_items(items: Items, rows: np.ndarray) -> Items:
    """Select images with their labels and attributes.

    Args:
        rows: positions of the images, integers, `(selected,)`.
    """
    attributes = items.attributes
    return Items(
        ids=tuple(items.ids[row] for row in rows),
        images=images_of(items)[rows],
        features=None,
        labels=None if items.labels is None else items.labels[rows],
        contributors=None,
        attributes=None if attributes is None else {name: values[rows] for name, values in attributes.items()},
        file_names=None if items.file_names is None else tuple(items.file_names[row] for row in rows),
        sources=None if items.sources is None else tuple(items.sources[row] for row in rows),
    )


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order of all rows in which every prefix has each class in its overall share, up to one image.

    Args:
        labels: `(items,)`.

    Returns:
        int64, `(items,)`, a permutation of the rows.
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(ranks, kind="stable")


def by_cluster(features: np.ndarray, seed: int) -> np.ndarray:
    """Rows from one end of the set to the other: int64, `(items,)`, by how much nearer they are to the first of two
    centres of k-means than to the second.

    Args:
        features: `(items, dimensions)`.
    """
    from sklearn.cluster import KMeans  # takes a second to import, and few callers cluster

    centres = KMeans(2, n_init=3, random_state=seed).fit(features).cluster_centers_
    first, second = (np.square(features - centre).sum(axis=1) for centre in centres)
    order: np.ndarray = np.argsort(first - second, kind="stable")
    return order
