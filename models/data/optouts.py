"""Leave out images that their contributors have withdrawn from training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.listing import Listing
from royalty.models.data.teams import people


@dataclass(frozen=True)
class Withdrawal:
    """Works that their contributor withdraws.

    Attributes:
        works: file names as the image source lists them; empty for all of the contributor.
    """

    contributor: str
    works: tuple[str, ...] = ()


def withdrawn_images(
    owners: Iterable[Sequence[str]], files: Iterable[str], withdrawals: Sequence[Withdrawal]
) -> np.ndarray:
    """Whether each image is withdrawn, by one of its contributors: bool, `(images,)`.

    Args:
        owners: the people who provided each image.
        files: its file name, as its source lists it.
    """
    everything = {withdrawal.contributor for withdrawal in withdrawals if not withdrawal.works}
    works = {(withdrawal.contributor, work) for withdrawal in withdrawals for work in withdrawal.works}
    images = zip(owners, files, strict=True)
    withdrawn = [any(name in everything or (name, file) in works for name in names) for names, file in images]
    return np.array(withdrawn, dtype=bool)


def without_withdrawn(listing: Listing, withdrawals: Sequence[Withdrawal]) -> tuple[Listing, dict[str, int]]:
    """The images that nobody withdrew. An image of several contributors is left out if one of them withdrew it.

    Returns:
        The listing, and the number of images left out by contributor.

    Raises:
        InputError: no image is left.
    """
    if not withdrawals:
        return listing, {}
    owners = [people(entry.contributors) for entry in listing.entries]
    files = [entry.file_name for entry in listing.entries]
    rows, counts = remaining(listing.origin, owners, files, withdrawals)
    return (listing.take(rows) if counts else listing), counts


def remaining(
    origin: str, owners: Sequence[Sequence[str]], files: Sequence[str], withdrawals: Sequence[Withdrawal]
) -> tuple[np.ndarray, dict[str, int]]:
    """The images that nobody withdrew, ascending, and the number of the others by contributor.

    Args:
        origin: name of the source in the error.
        owners, files: as for `withdrawn_images`.

    Raises:
        InputError: no image is left.
    """
    withdrawn = withdrawn_images(owners, files, withdrawals)
    if withdrawn.any() and withdrawn.all():
        raise InputError(
            f"{origin}: images that were withdrawn take no part, and all {len(files)} were; add images of others "
            "(`royalty optout list` lists what was withdrawn)"
        )
    counts = Counter(name for names, gone in zip(owners, withdrawn, strict=True) if gone for name in names)
    return np.flatnonzero(~withdrawn), dict(sorted(counts.items()))
