"""The common form of every image source: contributors and metadata of each image, and a reader of the images."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from royalty.models.base.errors import InputError, Refusals
from royalty.models.base.reading import read_bytes
from royalty.models.data.names import person_name
from royalty.models.data.teams import team_of

SEPARATOR = ";"
WITHOUT_LABELS = "choose a `property` that no classifier judges and a generator that is not `conditional`"
STATED = {
    "training_mining": "training_mining",
    "license_terms": "license_terms",
    "consent": "consent",
    "consent_date": "consent_date",
    "source": "obtained_from",
}
"""Columns of consent, and the fields of an entry that hold them: in tables, `source` is where an image is listed."""
COLUMNS = ("file_name", "contributor", "label", "text", "license", *(name for name in STATED if name != "source"))
OTHER_WORDS = ("content", "contents")
"""Columns that look like misspelt ones, and are words of their own."""
LEAST_CONTRIBUTORS = 2

Cell = bytes | np.ndarray | None
"""An encoded image, its pixels as uint8 `(height, width)` or `(height, width, 3)`, or None for a missing image."""


class Reader(Protocol):
    """Reads images by their position in a listing. It is sent to other processes, so it should be small to pickle."""

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        """The images at positions `start` to `stop - 1`, one at a time."""

    def digest(self) -> str:
        """SHA-256 of the content, which changes if an image changes."""

    def take(self, places: np.ndarray) -> Reader:
        """A reader of the images at these positions, ascending."""


@dataclass(frozen=True)
class Entry:
    """The metadata of one image.

    Attributes:
        where: file and row, for error messages.
        contributors: who provided it; may be empty for images that are not credited.
        label, text, license: empty if unknown.
        file_name: path inside the folder, or the name that a table stores with the image; empty if it has none.
        style: of the face that a character is drawn in; empty for other images.
        date: day on which the image was made, such as `2018-12-31`; empty if unknown.
        author: who made it, if its contributor stands for several people, such as `others`; otherwise empty.
        creator: whom the Content Credentials of the image name; empty if they are not read, or name nobody.
        training_mining: `allowed`, `notAllowed` or `constrained`, as its contributor consents; empty if not stated.
        license_terms: address or name of the terms of its license, such as an RSL file; empty if not stated.
        consent: `given`, `refused`, `unknown`, or a reference to a consent; empty if not stated.
        consent_date: day of the consent, such as `2026-05-01`; empty if not stated.
        obtained_from: where the image was obtained; empty if not stated.
    """

    where: str
    contributors: tuple[str, ...] = ()
    label: str = ""
    text: str = ""
    license: str = ""
    file_name: str = ""
    style: str = ""
    date: str = ""
    creator: str = ""
    training_mining: str = ""
    license_terms: str = ""
    author: str = ""
    consent: str = ""
    consent_date: str = ""
    obtained_from: str = ""


DESCRIBED = ("label", "text", "author", "license", "style", "date", "creator", *STATED.values())
"""What people are shown of an image beside its contributors and its file."""
LATER = ("author", "creator", *STATED.values())
"""Those of them that are in the digest of a listing only if an image has them, so that others keep theirs."""


@dataclass(frozen=True)
class Listing:
    """The images of a source, not yet decoded.

    Attributes:
        origin: name of the source in error messages.
        entries: one for each image, in the order of the source.
        labels: labels that images of the source can have, if they are known; an image may come later. The numbers of
            labels do not change then.
    """

    origin: str
    entries: tuple[Entry, ...]
    reader: Reader
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def digest(self) -> str:
        """SHA-256 over the images and their metadata, independent of their location."""
        digest = hashlib.sha256(self.reader.digest().encode())
        for entry in self.entries:
            described = [getattr(entry, name) for name in DESCRIBED if name not in ("date", *LATER)]
            dated = [entry.date] if entry.date else []  # a listing without dates keeps its digest
            later = [{name: value} for name in LATER if (value := getattr(entry, name))]
            metadata = [entry.contributors, *described, *dated, *later]
            digest.update(json.dumps(metadata).encode() + b"\n")
        if self.labels:
            digest.update(json.dumps(self.labels).encode())
        return digest.hexdigest()

    def take(self, places: np.ndarray) -> Listing:
        """The images at these positions, ascending."""
        entries = tuple(self.entries[place] for place in places)
        return Listing(self.origin, entries, self.reader.take(places), self.labels)

    def keeping(self, fits: np.ndarray) -> tuple[Listing, tuple[str, ...]]:
        """The images that fit, and the contributors of other images of whom none is left, sorted.

        Args:
            fits: bool, `(images,)`.
        """
        kept = self.take(np.flatnonzero(fits))
        remaining = {name for entry in kept.entries for name in entry.contributors}
        others = (entry for entry, fit in zip(self.entries, fits, strict=True) if not fit)
        return kept, tuple(sorted({name for entry in others for name in entry.contributors} - remaining))

    def described(self) -> dict[str, tuple[str, ...]]:
        """What `DESCRIBED` names of each image, by name; without what no image has."""
        columns = {name: tuple(getattr(entry, name) for entry in self.entries) for name in DESCRIBED}
        return {name: column for name, column in columns.items() if any(column)}

    def label_names(self) -> list[str]:
        """The labels, sorted; an image's label is numbered by its place in them."""
        return sorted({*self.labels, *(entry.label for entry in self.entries)})

    def provenance(self, path: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """File name and source of each image, for people who look for it.

        Args:
            path: of the image set; None if the rows say nothing of where it lies.

        Returns:
            File names, empty where a source has none; and the row of each image, with the name of the set and without
            the folders above it, such as `photos/metadata.csv, row 2`.
        """
        above = "" if path is None else f"{path.parent}/"
        rows = (entry.where.removesuffix(f": {entry.file_name!r}") for entry in self.entries)
        return tuple(entry.file_name for entry in self.entries), tuple(row.removeprefix(above) for row in rows)

    def licenses(self) -> dict[str, int]:
        """Number of images by license; the empty name counts images whose license is unknown."""
        return dict(Counter(entry.license for entry in self.entries).most_common())

    def terms(self) -> dict[str, int]:
        """Number of images by the terms of their license; the empty name counts images that state none."""
        return dict(Counter(entry.license_terms for entry in self.entries).most_common())

    def sources(self) -> dict[str, int]:
        """Number of images by where they were obtained; the empty name counts images that do not state it."""
        return dict(Counter(entry.obtained_from for entry in self.entries).most_common())

    def years(self) -> dict[str, int]:
        """Number of images by the year of their date; the empty name counts images whose date is unknown."""
        return dict(sorted(Counter(entry.date[:4] for entry in self.entries).items()))


def check_credited(listing: Listing, *, labels: bool = True, texts: bool = False) -> Listing:
    """Check that the images of a listing can be credited: each has a contributor, and there are at least two.

    Args:
        labels: whether each image needs a label, with at least two distinct labels; if False, either all images have a
            label or none has.
        texts: whether each image needs a text.

    Returns:
        The listing.

    Raises:
        InputError: images lack something; the message has the number of them, and row and remedy of the first ten.
    """
    refused = Refusals()
    some_labels = any(entry.label for entry in listing.entries)
    for entry in listing.entries:
        with refused.collect():
            _check_entry(entry, labels=labels, some_labels=some_labels, texts=texts)
    refused.check(f"rows of {listing.origin} cannot be used")
    names = {entry.label for entry in listing.entries}
    if labels and len(names) < 2:
        raise InputError(
            f"{listing.origin}: the property or generator of this run needs at least two labels, and every image "
            f"has the label {next(iter(names), '')!r}; label what the images show, or {WITHOUT_LABELS}"
        )
    known = sorted({name for entry in listing.entries for name in entry.contributors})
    if len(known) < LEAST_CONTRIBUTORS:
        raise InputError(
            f"{listing.origin}: credit is shared between at least {LEAST_CONTRIBUTORS} contributors, and there is "
            f"{len(known)} ({', '.join(known)}); add images of another contributor"
        )
    return listing


def _check_entry(entry: Entry, *, labels: bool, some_labels: bool, texts: bool) -> None:
    if not entry.contributors:
        raise InputError(
            f"{entry.where}: every image has a contributor, and this one has none; name one, or drop the row"
        )
    if texts and not entry.text:
        raise InputError(
            f"{entry.where}: no text, and the generator needs a caption for each image; fill in the column `text`, "
            "or set one `prompt` for all images"
        )
    if (labels or some_labels) and not entry.label:
        raise InputError(
            f"{entry.where}: no label, and "
            + ("the property or generator of this run needs a label for each image" if labels else "others have one")
            + "; fill it in"
            + (f", or {WITHOUT_LABELS}" if labels else ", or drop all labels")
        )


def contributors_of(where: str, written: object) -> tuple[str, ...]:
    """The contributors in a cell: a text with names separated by `;`, or a list; with weights, one team.

    Raises:
        InputError: a name occurs twice, or has a character that is not seen.
    """
    parts = written if isinstance(written, list | tuple) else [written] if isinstance(written, dict) else None
    if parts is None:
        parts = as_text(written).split(SEPARATOR)
    if any(isinstance(part, dict | list | tuple) for part in parts):
        raise InputError(
            f"{where}: a contributor is a name, and {str(written)[:80]!r} has other things in it; correct it"
        )
    names = tuple(name for part in parts if (name := person_name(where, as_text(part))))
    if (team := team_of(where, names)) is not None:
        return (team,)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: contributor listed twice in {as_text(written)!r}; list each once")
    return names


def as_text(value: object) -> str:
    """A cell as text without surrounding whitespace; None becomes the empty text."""
    return "" if value is None else str(value).strip()


def check_columns(
    where: str, present: Sequence[str], needed: Collection[str], known: Collection[str] = COLUMNS
) -> None:
    """Check that every needed column is present, once, and no known column is misspelt; other columns are ignored.

    Raises:
        InputError: the message names the column and the nearest known one.
    """
    for name in present:
        if (plain := name.strip().lower()) != name and plain in needed and plain in present:
            raise InputError(f"{where}: {name!r} and {plain!r} look like one column, and one is read; drop one")
        meant = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=0.8)
        if name in known or name in needed or name.strip().lower() in OTHER_WORDS:
            continue
        if meant and meant[0] not in present:
            raise InputError(f"{where}: unknown column {name!r}; did you mean {meant[0]!r}? Rename it, or drop it")
    missing = sorted(set(needed) - set(present))
    if missing:
        raise InputError(
            f"{where}: no column {', '.join(missing)}; add it, or name another. There are {', '.join(present)}"
        )


def inside(folder: Path, name: str, where: str) -> Path:
    """Resolve a file name in a folder, following links.

    Raises:
        InputError: the file is outside the folder, missing, or cannot be opened.
    """
    root = folder.resolve()
    try:
        file = _resolved(root / name, name, where)
        if not file.is_relative_to(root):
            raise InputError(f"{where}: {name!r} is outside the folder {folder}; copy the file into it")
        if not file.is_file():
            raise InputError(f"{where}: there is no file {name!r} in {folder}; add it or drop the row")
        with file.open("rb"):
            pass
    except OSError as error:
        raise InputError(
            f"{where}: cannot open {name[:80]!r} ({error.strerror}); check the file, or drop the row"
        ) from None
    return file


def _resolved(path: Path, name: str, where: str) -> Path:
    try:
        return path.resolve()
    except (RuntimeError, ValueError) as error:  # links in a circle; a zero or half a character, which no name has
        raise InputError(
            f"{where}: {name[:80]!a} cannot be the name of a file ({error}); correct it, or drop the row"
        ) from None


def digest_of_files(files: Iterable[Path]) -> str:
    """SHA-256 over the content of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def first_of_each(labels: Sequence[str], most: int | None) -> np.ndarray:
    """Positions of the first `most` images of each label, in order, int64; all positions if `most` is None."""
    if most is None:
        return np.arange(len(labels))
    counts: Counter[str] = Counter()
    positions = []
    for position, label in enumerate(labels):
        counts[label] += 1
        if counts[label] <= most:
            positions.append(position)
    return np.array(positions, dtype=np.int64)


@dataclass(frozen=True)
class Files:
    """A reader of images in separate files."""

    files: tuple[Path, ...]

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        for file in self.files[start:stop]:
            yield read_bytes(file, "image")

    def digest(self) -> str:
        return digest_of_files(self.files)

    def take(self, places: np.ndarray) -> Files:
        return Files(tuple(self.files[place] for place in places))


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """A reader of decoded images, uint8 `(images, height, width)` or with a last axis of three."""

    images: np.ndarray

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        yield from self.images[start:stop]

    def digest(self) -> str:
        digest = hashlib.sha256(str(self.images.shape).encode())
        for image in self.images:
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def take(self, places: np.ndarray) -> DecodedImages:
        return DecodedImages(self.images[places])
