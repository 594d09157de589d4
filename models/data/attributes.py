"""Read attributes of images, such as CelebA's `Smiling`, from columns of the table that lists the images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.columns import schema_of
from royalty.models.data.folder import metadata_of, read_records
from royalty.models.data.parquet import open_parquet, read_columns

WORDS = {"1": True, "true": True, "yes": True, "0": False, "-1": False, "false": False, "no": False}
"""The values that a cell may have, in upper or lower case; CelebA uses 1 and -1."""


def read_attributes(path: Path, names: Sequence[str], *, needed: bool) -> dict[str, np.ndarray] | None:
    """Read whether each image of a source has each attribute: bool, `(items,)` each, in the order of `read_items`.

    Args:
        path: a folder with `metadata.csv`, `.jsonl` or `.parquet`, or a Parquet file of images.
        names: columns with the cells 1 or 0, 1 or -1, true or false, yes or no.
        needed: whether the columns must exist; if False, the result for a source with none of them is None.

    Raises:
        InputError: a column is missing although it is needed or others exist; a cell has another value. The message
            names the row.
    """
    source, columns = table_of(path), _columns(path)
    missing = [name for name in names if name not in columns]
    if not needed and len(missing) == len(names):
        return None
    if missing:
        raise InputError(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. Add a column for "
            "each attribute, with 1 or 0 for each image"
        )
    if path.is_dir():
        records = read_records(source, {"file_name", *names})
        return {name: _booleans(source, name, [(line, record[name]) for line, record in records]) for name in names}
    table = read_columns(source, open_parquet(source), names)
    return {name: _booleans(source, name, enumerate(table[name].to_pylist())) for name in names}


def table_of(path: Path) -> Path:
    """The file that holds the columns of a source: the metadata of a folder, or the source itself.

    Raises:
        InputError: a folder has several metadata files.
    """
    return metadata_of(path) if path.is_dir() else path


def _columns(path: Path) -> list[str]:
    """The names of the columns of a source; empty if it has no table."""
    source = table_of(path)
    if not source.is_file():
        return []
    if path.is_dir():
        return list(dict.fromkeys(name for _, record in read_records(source, {"file_name"}) for name in record))
    return list(schema_of(source, arrow=False).names) if source.suffix == ".parquet" else []


def _booleans(source: Path, name: str, cells: Iterable[tuple[int, object]]) -> np.ndarray:
    booleans = []
    for row, cell in cells:
        boolean = WORDS.get(str(cell).strip().lower())
        if boolean is None:
            raise InputError(
                f"{source}, row {row}: the attribute {name!r} is {cell!r}; write 1, true or yes for an image that has "
                "it, and 0, -1, false or no for one that does not"
            )
        booleans.append(boolean)
    return np.array(booleans, dtype=bool)
