"""Images whose Content Credentials refuse training, or do not fit the image any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.credentials import credentials_of
from royalty.models.data.listing import Listing
from royalty.models.data.names import shortened


@dataclass(frozen=True)
class Credentialed:
    """The images of a listing, with the creators that their manifests name.

    Attributes:
        manifests: number of images with a manifest.
        refused: number of images whose manifest refuses training, by contributor; they are left out, or counted only.
        without: contributors of whose images none is left, sorted.
        tampered: names, or places, of the images whose manifest does not fit them.
    """

    listing: Listing
    manifests: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    tampered: tuple[str, ...] = ()


class WithManifests(Protocol):
    """What a stage keeps of the manifests that were read; the names are those of `Credentialed`.

    Attributes:
        refused_left_out: whether images that refuse training were left out.
    """

    @property
    def manifests(self) -> int: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def refused_left_out(self) -> bool: ...
    @property
    def tampered(self) -> Sequence[str]: ...


def manifest_notes(read: WithManifests) -> Iterator[str]:
    """Sentences on the manifests of images, for reports."""
    if read.manifests:
        yield f"Images with Content Credentials: {read.manifests}."
    if read.refused:
        counts = [f"{name} ({count})" for name, count in read.refused.items()]
        done = "are left out" if read.refused_left_out else "are trained on all the same"
        yield f"Images whose Content Credentials refuse training {done}: {shortened(counts)}."
    if read.tampered:
        yield (
            f"Images that do not fit their Content Credentials, because one of the two was changed "
            f"({len(read.tampered)}): {shortened(read.tampered)}."
        )


def credentialed(listing: Listing, refusing: Refusing, *, progress: Progress | None = None) -> Credentialed:
    """Read the manifests of images.

    A manifest that was tampered with names no creator; if it refuses training, that still counts.

    Args:
        progress: called with the number of images read since the last call.

    Raises:
        InputError: images refuse training and `refusing` is `error`; no image is left; or a manifest cannot be read
            without its package.
    """
    if refusing == "ignore":
        return Credentialed(listing)
    entries, allowed, manifests, tampered = list(listing.entries), np.ones(len(listing), dtype=bool), 0, []
    for place, cell in enumerate(listing.reader.cells(0, len(listing))):
        credentials = credentials_of(cell) if isinstance(cell, bytes) else None
        if progress is not None:
            progress(1)
        if credentials is None:
            continue
        manifests += 1
        allowed[place] = not credentials.refuses_training
        if credentials.state == "tampered":
            tampered.append(entries[place].file_name or f"image {place}")
        elif credentials.creators:
            entries[place] = replace(entries[place], creator=", ".join(credentials.creators))
    read = replace(listing, entries=tuple(entries))
    others = [entry for entry, allows in zip(entries, allowed, strict=True) if not allows]
    refused = dict(sorted(Counter(name for entry in others for name in entry.contributors).items()))
    if not others or refusing == "count":
        return Credentialed(read, manifests, refused, (), tuple(tampered))
    rule = f"{listing.origin}: {len(others)} of {len(listing)} images have Content Credentials that refuse training"
    if refusing == "error":
        raise InputError(
            f"{rule}, such as {others[0].where}. Leave them out with `credentials: {{refused: leave-out}}`, or ask "
            "their creators"
        )
    if not allowed.any():
        raise InputError(f"{rule}, and no image is left; ask their creators")
    kept, gone = read.keeping(allowed)
    return Credentialed(kept, manifests, refused, gone, tuple(tampered))
