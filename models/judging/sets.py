"""Items by which values are judged: what a criterion needs of them, and parts of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items


def images_of(items: Items) -> np.ndarray:
    """uint8, `(items, channels, height, width)`.

    Raises:
        InputError: the items are features.
    """
    if items.images is None:
        raise InputError("criteria compare images, and one side has features; give both as images")
    return items.images


def labels_of(items: Items) -> np.ndarray:
    """Names or integers, `(items,)`.

    Raises:
        InputError: the items have no labels.
    """
    if items.labels is None:
        raise InputError("criteria compare the classes of training images; add labels to the training set")
    return items.labels


def attributes_of(items: Items) -> Mapping[str, np.ndarray]:
    """By name, bool, `(items,)`.

    Raises:
        InputError: the items were read without attributes.
    """
    if items.attributes is None:
        raise InputError("these images were read without attributes; name their columns in `attribute_columns`")
    return items.attributes


def rows_of(items: Items, rows: np.ndarray) -> Items:
    """Some of the images, with their labels and attributes.

    Args:
        rows: integers, `(chosen,)`, positions of the images.
    """
    return Items(
        ids=tuple(items.ids[row] for row in rows),
        images=images_of(items)[rows],
        features=None,
        labels=None if items.labels is None else items.labels[rows],
        contributors=None,
        attributes=None if items.attributes is None else {name: has[rows] for name, has in items.attributes.items()},
        file_names=None if items.file_names is None else tuple(items.file_names[row] for row in rows),
        sources=None if items.sources is None else tuple(items.sources[row] for row in rows),
    )


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of all rows in which every prefix has each class in its share of the whole, to within one image.

    Args:
        labels: `(items,)`.

    Returns:
        int64, `(items,)`, a permutation of the rows.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(position, kind="stable")
