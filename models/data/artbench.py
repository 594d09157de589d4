"""ArtBench-10 with its table; the contributor of an image is its artist."""

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
"""Possible folders of the images of a style: of the archive with splits, of the one without, and of the contents of
either unpacked directly into the folder of the table."""


def artbench_images(
    folder: Path, *, style: str | None = "post_impressionism", split: Literal["train", "test"] = "train"
) -> Listing:
    """List the images of one style or of all styles, from the table next to the unpacked folder of 256x256 images.

    The label is the style. The license is `public domain` if the table says so, and unknown otherwise.

    Args:
        style: name of a style, as in the folders; None: all ten.
        split: part of the data set.

    Raises:
        InputError: the table or an image is missing, or the style is unknown.
    """
    table = folder / TABLE
    rows = read_csv(table, {"name", "artist", "label", "split"})
    styles = sorted({row["label"].strip() for _, row in rows})
    if style is not None and style not in styles:
        raise InputError(f"{table}: `style` is one of {', '.join(styles)}; got {style!r}. Choose one, or null for all")
    entries, files = [], []
    for line, row in rows:
        name, image_style, where = row["name"].strip(), row["label"].strip(), f"{table}, row {line}"
        if row["split"].strip() != split or style not in (None, image_style):
            continue
        artist = row["artist"].strip()
        if not artist:
            raise InputError(f"{where}: {name!r} has no artist; fill in the column `artist`, or drop the row")
        places = [pattern.format(split=split, style=image_style) for pattern in FOLDERS]
        place = next((existing for existing in places if (folder / existing).is_dir()), places[0])
        files.append(inside(folder, f"{place}/{name}", where))
        public = row.get("is_public_domain", "").strip().lower() == "true"
        entries.append(
            Entry(
                f"{where}: {name!r}",
                (artist,),
                image_style,
                license="public domain" if public else "",
                file_name=name,
            )
        )
    if not entries:
        raise InputError(f"{table} lists no image of the split {split!r}; choose the other split")
    return Listing(str(folder), tuple(entries), Files(tuple(files)))
