"""CelebA-HQ by identity: whose face it is provided the image."""

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
    """The images of some identities, drawn from those that have enough of them.

    The folder is CelebAMask-HQ as it is distributed, `CelebA-HQ-img/0.jpg` and so on with the mapping of their numbers
    to files of CelebA, and beside it CelebA's `identity_CelebA.txt`. Contributor and label are the identity.

    Args:
        identities: how many are drawn; in the paper 50, of 895 images.
        least: fewest images of an identity that is drawn from.
        seed: of the draw.

    Raises:
        InputError: a file is missing or damaged, or too few identities have as many images.
    """
    identity_of = dict(_pairs(folder / IDENTITIES, 2))
    numbers: dict[str, list[str]] = defaultdict(list)
    for where, (number, original) in _numbered(folder / MAPPING):
        if original not in identity_of:
            raise InputError(f"{where}: {IDENTITIES} says nothing of {original}; fetch both files anew")
        numbers[identity_of[original]].append(number)
    enough = sorted((name for name, own in numbers.items() if len(own) >= least), key=int)
    if len(enough) < identities:
        raise InputError(
            f"{folder}: {len(enough)} identities have {least} images or more, and {identities} are asked for; lower "
            "`identities` or `least`"
        )
    drawn = sorted(random.Random(seed).sample(enough, identities), key=int)
    entries, files = [], []
    for name in drawn:
        for number in numbers[name]:
            where = f"{folder / MAPPING}, image {number}"
            files.append(inside(folder, f"{IMAGES}/{number}.jpg", where))
            entries.append(Entry(where, (f"identity-{name}",), f"identity-{name}", file_name=f"{IMAGES}/{number}.jpg"))
    return Listing(str(folder), tuple(entries), Files(tuple(files)))


def _numbered(path: Path) -> list[tuple[str, tuple[str, str]]]:
    """Where it says so, and number in CelebA-HQ and file in CelebA of each image; below a header."""
    rows = _rows(path, 3)
    if rows and rows[0][1][0] == "idx":
        rows = rows[1:]
    for where, (number, *_) in rows:
        if not number.isdigit():
            raise InputError(f"{where}: an image is a number, got {number!r}; fetch the file anew")
    return [(where, (row[0], row[2])) for where, row in rows]


def _pairs(path: Path, fields: int) -> list[tuple[str, str]]:
    rows = _rows(path, fields)
    for where, (_, identity) in rows:
        if not identity.isdigit():
            raise InputError(f"{where}: an identity is a number, got {identity!r}; fetch the file anew")
    return [(file, identity) for _, (file, identity) in rows]


def _rows(path: Path, fields: int) -> list[tuple[str, list[str]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); put the file that is published with CelebA there") from None
    rows = [(f"{path}, row {line}", written.split()) for line, written in enumerate(lines, start=1) if written.strip()]
    for where, row in rows:
        if len(row) != fields:
            raise InputError(f"{where}: {len(row)} fields where {fields} are; fetch the file anew")
    return rows
