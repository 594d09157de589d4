"""Turn a listing into the splits of a credited image set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from royalty.models.base.progress import Progress
from royalty.models.data.decoding import decode_images
from royalty.models.data.items import ImageSet, Splits, split_items
from royalty.models.data.listing import Listing


@dataclass(frozen=True)
class Read:
    """A listing, decoded and split.

    Attributes:
        squares: uint8, `(listed images, channels, size, size)`, mapped from a file.
        splits: parts whose `images` are positions in `squares`, int64, `(items,)`.
        repeated: number of repetitions of an image by the same contributor.
        ids: the item id of each listed image.
    """

    squares: np.ndarray
    splits: Splits
    repeated: int
    ids: tuple[str, ...]

    def in_memory(self) -> Splits:
        """The parts with their images loaded."""
        parts = {name: replace(part, images=self.squares[part.images]) for name, part in vars(self.splits).items()}
        return Splits(**parts)


def read_images(
    listing: Listing,
    *,
    size: int,
    validation: float,
    classifier: float,
    seed: int,
    workers: int = 1,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Read:
    """Decode the images of a checked listing, merge copies, and split.

    Raises:
        InputError: see `decode_images` and `split_items`.
    """
    squares, ids = decode_images(listing, size=size, workers=workers, folder=folder, progress=progress)
    names = listing.label_names()
    number = {name: index for index, name in enumerate(names)}
    labels = np.array([number[entry.label] for entry in listing.entries])
    texts = [entry.text for entry in listing.entries]
    owners = [entry.contributors for entry in listing.entries]
    provided = Counter((identity, owner) for identity, names in zip(ids, owners, strict=True) for owner in names)
    places = np.arange(len(ids))
    whole = ImageSet.merge(places, ids, labels, names, owners, texts if any(texts) else None)
    splits = split_items(whole, validation=validation, classifier=classifier, seed=seed)
    return Read(squares, splits, sum(provided.values()) - len(provided), tuple(ids))


def copies(part: ImageSet) -> list[tuple[str, str, int]]:
    """Pairs of contributors who provided the same items, and the number of items, largest first."""
    both = part.membership.T.astype(np.int64) @ part.membership  # (contributors, contributors)
    first, second = np.nonzero(np.triu(both, k=1))
    pairs = [(part.contributors[i], part.contributors[j], int(both[i, j])) for i, j in zip(first, second, strict=True)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))
