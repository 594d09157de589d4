"""Keep the images whose license is on a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.listing import Listing
from royalty.models.data.refusals import by_contributor

UNKNOWN = "unknown"
"""How the messages name the license of images that state none."""


@dataclass(frozen=True)
class Licensed:
    """The images of a listing whose license is allowed, and what was left out.

    Attributes:
        left_out: number of images left out, by license; "" stands for an unknown license.
        left_out_of: the same by contributor.
        without: contributors of whose images none is left, sorted.
        withdrawn: number of images left out by contributor, because one of their contributors withdrew them.
        manifests, refused, tampered: see `royalty.models.data.refusals.Credentialed`.
        not_consented: number of images that their contributors do not allow to train on, by contributor.
    """

    listing: Listing
    left_out: dict[str, int] = field(default_factory=dict)
    left_out_of: dict[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    withdrawn: dict[str, int] = field(default_factory=dict)
    manifests: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    tampered: tuple[str, ...] = ()
    not_consented: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> dict[str, Any]:
        """What their Content Credentials say, as JSON can hold it."""
        return {"manifests": self.manifests, "refused": self.refused, "tampered": list(self.tampered)}


def licensed(listing: Listing, allow: Collection[str] | None, *, leave_out: bool) -> Licensed:
    """The images with an allowed license or terms. Case does not matter, and what is not stated is not allowed.

    Args:
        allow: names of licenses or of terms, as the images state them; None allows every license, and an unknown one.
        leave_out: whether other images are left out; otherwise they are an error.

    Raises:
        InputError: there are other images; the message counts them by license. Or no image is left.
    """
    if allow is None:
        return Licensed(listing)
    allowed = {name.strip().casefold() for name in allow}
    stated = [{entry.license.casefold(), entry.license_terms.casefold()} - {""} for entry in listing.entries]
    fits = np.array([not allowed.isdisjoint(names) for names in stated], bool)
    if fits.all():
        return Licensed(listing)
    others = [entry for entry, fit in zip(listing.entries, fits, strict=True) if not fit]
    counts = dict(Counter(entry.license for entry in others).most_common())
    written = ", ".join(f"{name or UNKNOWN} ({count})" for name, count in counts.items())
    rule = f"{listing.origin}: `licences.allow` lists the licenses that images may have, {', '.join(allow) or 'none'}"
    if not leave_out:
        raise InputError(
            f"{rule}; {len(others)} of {len(listing)} images have another: {written}. The first is {others[0].where}. "
            "Allow these licenses, or leave such images out with `licences: {others: leave-out}`"
        )
    if not fits.any():
        raise InputError(f"{rule}; no image has one of these, but {written}. Allow a license that images have")
    kept, gone = listing.keeping(fits)
    return Licensed(kept, counts, by_contributor(others), gone)
