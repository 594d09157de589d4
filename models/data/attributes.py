"""Attributes of images, from columns of the table that lists them, as CelebA says of a face that it smiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from royalty.models.base.errors import InputError
from royalty.models.data.columns import schema_of
from royalty.models.data.folder import metadata_of, read_records

WORDS = {"1": True, "true": True, "yes": True, "0": False, "-1": False, "false": False, "no": False}
"""What a cell may say, in any case; CelebA writes 1 and -1."""


def read_attributes(path: Path, names: Sequence[str], *, needed: bool) -> dict[str, np.ndarray] | None:
    """Whether each image of a source has each attribute: bool, `(items,)` each, in the order of `read_items`.

    Args:
        path: a folder with `metadata.csv`, `.jsonl` or `.parquet`, or a Parquet file of images.
        names: columns, whose cells say 1 or 0, 1 or -1, true or false, yes or no.
        needed: the columns have to be there. Otherwise a source with none of them gives None.

    Raises:
        InputError: columns that are missing, or some of them; a cell that says something else, whose row is named.
    """
    source, columns = table_of(path), _columns(path)
    missing = [name for name in names if name not in columns]
    if not needed and len(missing) == len(names):
        return None
    if missing:
        raise InputError(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. Attributes are "
            "columns that say 1 or 0 of each image"
        )
    if path.is_dir():
        records = read_records(source, {"file_name", *names})
        return {name: _answers(source, name, [(line, record[name]) for line, record in records]) for name in names}
    table = pq.read_table(source, columns=list(names))
    return {name: _answers(source, name, enumerate(table[name].to_pylist())) for name in names}


def table_of(path: Path) -> Path:
    """The file with the columns of a source; a folder has one of three.

    Raises:
        InputError: a folder with several.
    """
    return metadata_of(path) if path.is_dir() else path


def _columns(path: Path) -> list[str]:
    """What the columns of a source are called; none where there is no table."""
    source = table_of(path)
    if not source.is_file():
        return []
    if path.is_dir():
        return list(dict.fromkeys(name for _, record in read_records(source, {"file_name"}) for name in record))
    return list(schema_of(source, arrow=False).names) if source.suffix == ".parquet" else []


def _answers(source: Path, name: str, cells: Iterable[tuple[int, object]]) -> np.ndarray:
    found = []
    for row, cell in cells:
        answer = WORDS.get(str(cell).strip().lower())
        if answer is None:
            raise InputError(
                f"{source}, row {row}: the attribute {name!r} says {cell!r}; an image has it (1, true, yes) or not "
                "(0, -1, false, no)"
            )
        found.append(answer)
    return np.array(found, dtype=bool)
