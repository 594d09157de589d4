"""Images that refuse training, by their Content Credentials or otherwise, and who brought them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.credentials import credentials_of
from royalty.models.data.listing import Entry, Listing
from royalty.models.data.names import shortened
from royalty.models.data.teams import people


@dataclass(frozen=True)
class Kept:
    """The images of a listing that may be trained on.

    Attributes:
        refused: number of images that may not, by contributor; they are left out, or counted only.
        without: contributors of whose images none is left, sorted.
    """

    listing: Listing
    refused: dict[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()


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
        yield refusal_note("Images whose Content Credentials refuse training", read.refused, read.refused_left_out)
    if read.tampered:
        yield (
            f"Images that do not fit their Content Credentials, because one of the two was changed "
            f"({len(read.tampered)}): {shortened(read.tampered)}."
        )


def refusal_note(images: str, refused: Mapping[str, int], left_out: bool) -> str:
    """A sentence on images that refuse training, with their number by contributor."""
    counts = [f"{name} ({count})" for name, count in refused.items()]
    return f"{images} {'are left out' if left_out else 'are trained on all the same'}: {shortened(counts)}."


def by_contributor(entries: Iterable[Entry]) -> dict[str, int]:
    """Number of images by contributor, sorted by name. An image of several counts for each, as one of a team does."""
    return dict(sorted(Counter(name for entry in entries for name in people(entry.contributors)).items()))


def keep_allowed(listing: Listing, allowed: np.ndarray, refusing: Refusing, why: str, setting: str) -> Kept:
    """Count, leave out or refuse the images that are not allowed.

    Args:
        allowed: bool, `(images,)`.
        why: what the other images have, in plural, for the error.
        setting: section of the configuration with the policy.

    Raises:
        InputError: an image is not allowed, and `refusing` is `error`; or no image is left.
    """
    others = [entry for entry, allows in zip(listing.entries, allowed, strict=True) if not allows]
    if refusing == "ignore" or not others:
        return Kept(listing)
    refused = by_contributor(others)
    if refusing == "count":
        return Kept(listing, refused)
    rule = f"{listing.origin}: {len(others)} of {len(listing)} images {why}"
    if refusing == "error":
        counts = shortened([f"{name} ({count})" for name, count in refused.items()])
        raise InputError(
            f"{rule}, such as {others[0].where}; by contributor: {counts}. Leave them out with `{setting}: "
            "{refused: leave-out}`, or ask their creators"
        )
    if not allowed.any():
        raise InputError(f"{rule}, and no image is left; ask their creators")
    kept, gone = listing.keeping(allowed)
    return Kept(kept, refused, gone)


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
    kept = keep_allowed(read, allowed, refusing, "have Content Credentials that refuse training", "credentials")
    return Credentialed(kept.listing, manifests, kept.refused, kept.without, tuple(tampered))
