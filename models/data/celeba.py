"""CelebA-HQ by identity; the contributor of an image is the person whom it shows."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

from royalty.models.base.errors import InputError
from royalty.models.data.listing import Entry, Files, Listing, inside

IMAGES = "CelebA-HQ-img"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
IDENTITIES = "identity_CelebA.txt"


def celeba_images(folder: Path, *, identities: int = 50, least: int = 15, seed: int = 0) -> Listing:
    """List the images of some identities, drawn from the identities that have enough images.

    The folder is CelebAMask-HQ as distributed: the images `CelebA-HQ-img/0.jpg` and so on, and the mapping of their
    numbers to files of CelebA. It also holds `identity_CelebA.txt` of CelebA. Contributor and label are the identity.

    Args:
        identities: number of identities drawn; 50 in the paper, with 895 images.
        least: smallest number of images of an identity that may be drawn.
        seed: of the draw.

    Raises:
        InputError: a file is missing or damaged, or too few identities have enough images.
    """
    identity_of = dict(_pairs(folder / IDENTITIES, 2))
    numbers: dict[str, list[str]] = defaultdict(list)
    for where, (number, original) in _numbered(folder / MAPPING):
        if original not in identity_of:
            raise InputError(f"{where}: {IDENTITIES} has no identity for {original}; download both files again")
        numbers[identity_of[original]].append(number)
    eligible = sorted((name for name, images in numbers.items() if len(images) >= least), key=int)
    if len(eligible) < identities:
        raise InputError(
            f"{folder}: {identities} identities of at least {least} images are needed, and there are {len(eligible)}. "
            "Lower `identities` or `least`"
        )
    drawn = sorted(random.Random(seed).sample(eligible, identities), key=int)
    entries, files = [], []
    for name in drawn:
        for number in numbers[name]:
            where = f"{folder / MAPPING}, image {number}"
            files.append(inside(folder, f"{IMAGES}/{number}.jpg", where))
            entries.append(Entry(where, (f"identity-{name}",), f"identity-{name}", file_name=f"{IMAGES}/{number}.jpg"))
    return Listing(str(folder), tuple(entries), Files(tuple(files)))


def _numbered(path: Path) -> list[tuple[str, tuple[str, str]]]:
    """For each image, the row of the mapping, its number in CelebA-HQ and its file in CelebA; a header is skipped."""
    rows = _rows(path, 3)
    if rows and rows[0][1][0] == "idx":
        rows = rows[1:]
    for where, (number, *_) in rows:
        if not number.isdigit():
            raise InputError(f"{where}: an image is a number, got {number!r}; download the file again")
    return [(where, (row[0], row[2])) for where, row in rows]


def _pairs(path: Path, fields: int) -> list[tuple[str, str]]:
    rows = _rows(path, fields)
    for where, (_, identity) in rows:
        if not identity.isdigit():
            raise InputError(f"{where}: an identity is a number, got {identity!r}; download the file again")
    return [(file, identity) for _, (file, identity) in rows]


def _rows(path: Path, fields: int) -> list[tuple[str, list[str]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); copy the file published with CelebA there") from None
    rows = [(f"{path}, row {number}", line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    for where, row in rows:
        if len(row) != fields:
            raise InputError(f"{where}: expected {fields} fields, got {len(row)}; download the file again")
    return rows
