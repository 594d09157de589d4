"""Leave out images that their contributors have withdrawn from training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.listing import Listing
from royalty.models.data.teams import people

Covers = Callable[[Sequence[str], str], bool]
"""Whether an image of these contributors, with this file name, is withdrawn."""


def withdrawn_images(owners: Iterable[Sequence[str]], files: Iterable[str], optouts: Sequence[Covers]) -> np.ndarray:
    """Whether each image is withdrawn, by one of its contributors: bool, `(images,)`.

    Args:
        owners: the people who provided each image.
        files: its file name, as its source lists it.
    """
    images = zip(owners, files, strict=True)
    return np.array([any(covers(*image) for covers in optouts) for image in images], dtype=bool)


def without_withdrawn(listing: Listing, optouts: Sequence[Covers]) -> tuple[Listing, dict[str, int]]:
    """The images that nobody withdrew. An image of several contributors is left out if one of them withdrew it.

    Returns:
        The listing, and the number of images left out by contributor.

    Raises:
        InputError: no image is left.
    """
    if not optouts:
        return listing, {}
    owners = [people(entry.contributors) for entry in listing.entries]
    withdrawn = withdrawn_images(owners, [entry.file_name for entry in listing.entries], optouts)
    if not withdrawn.any():
        return listing, {}
    counts = Counter(name for names, gone in zip(owners, withdrawn, strict=True) if gone for name in names)
    if withdrawn.all():
        raise InputError(
            f"{listing.origin}: images that were withdrawn are not trained on, and all {len(listing)} are; add images "
            "of others (`royalty optout list` lists what was withdrawn)"
        )
    return listing.take(np.flatnonzero(~withdrawn)), dict(sorted(counts.items()))
