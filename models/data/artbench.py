"""ArtBench-10 with its table: the artist provided the image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from royalty.models.base.errors import InputError
from royalty.models.data.folder import read_csv
from royalty.models.data.listing import Entry, Files, Listing, inside

TABLE = "ArtBench-10.csv"
FOLDERS = (
    "artbench-10-imagefolder-split/{split}/{style}",
    "artbench-10-imagefolder/{style}",
    "{split}/{style}",
    "{style}",
)
"""Where images of a style lie: in the archive with splits, in the one without, and in either unpacked here."""


def artbench_images(
    folder: Path, *, style: str | None = "post_impressionism", split: Literal["train", "test"] = "train"
) -> Listing:
    """The images of one style or of all, by the table beside the unpacked 256x256 image folder.

    The label is the style. An artist's works are under the license `public domain` where the table says so.

    Args:
        style: as the folders are called; None: all ten.

    Raises:
        InputError: table or images are missing, or there is no such style.
    """
    table = folder / TABLE
    rows = read_csv(table, {"name", "artist", "label", "split"})
    styles = sorted({row["label"].strip() for _, row in rows})
    if style is not None and style not in styles:
        raise InputError(f"{table}: `style` is one of {', '.join(styles)}; got {style!r}")
    entries, files = [], []
    for line, row in rows:
        name, own, where = row["name"].strip(), row["label"].strip(), f"{table}, row {line}"
        if row["split"].strip() != split or style not in (None, own):
            continue
        artist = row["artist"].strip()
        if not artist:
            raise InputError(f"{where}: {name!r} has no artist; fill it in or drop the row")
        places = [pattern.format(split=split, style=own) for pattern in FOLDERS]
        place = next((found for found in places if (folder / found).is_dir()), places[0])
        files.append(inside(folder, f"{place}/{name}", where))
        public = row.get("is_public_domain", "").strip().lower() == "true"
        entries.append(
            Entry(f"{where}: {name!r}", (artist,), own, license="public domain" if public else "", file_name=name)
        )
    if not entries:
        raise InputError(f"{table} lists no image of the split {split!r}; choose the other")
    return Listing(str(folder), tuple(entries), Files(tuple(files)))
