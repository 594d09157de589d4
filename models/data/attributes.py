"""Attributes of images, from columns of the table that lists them, as CelebA says of a face that it smiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from models.data.folder import METADATA
from models.errors import InputError

WORDS = {"1": True, "true": True, "yes": True, "0": False, "-1": False, "false": False, "no": False}
"""What a cell may say, in any case; CelebA writes 1 and -1."""


def read_attributes(path: Path, names: Sequence[str], *, needed: bool) -> dict[str, np.ndarray] | None:
    """Whether each image of a source has each attribute: bool, `(items,)` each, in the order of `read_items`.

    Args:
        path: a folder with `metadata.csv`, or a Parquet file.
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
    table = _read(source, names)
    return {name: _answers(source, name, table[name].to_pylist()) for name in names}


def table_of(path: Path) -> Path:
    """The file with the columns of a source."""
    return path / METADATA if path.is_dir() else path


def _columns(path: Path) -> list[str]:
    """What the columns of a source are called; none where there is no table."""
    source = table_of(path)
    if not source.is_file() or source.suffix not in (".csv", ".parquet"):
        return []
    names: list[str] = (pq.read_schema(source) if source.suffix == ".parquet" else _read(source, None).schema).names
    return names


def _read(source: Path, names: Sequence[str] | None) -> pa.Table:
    if source.suffix == ".parquet":
        return pq.read_table(source, columns=None if names is None else list(names))
    options = pv.ConvertOptions(
        include_columns=None if names is None else list(names), column_types=dict.fromkeys(names or (), pa.string())
    )
    return pv.read_csv(source, parse_options=pv.ParseOptions(newlines_in_values=True), convert_options=options)


def _answers(source: Path, name: str, cells: Sequence[object]) -> np.ndarray:
    found = [WORDS.get(str(cell).strip().lower()) for cell in cells]
    if None in found:
        row = found.index(None)
        raise InputError(
            f"{source}, image {row}: the attribute {name!r} says {cells[row]!r}; an image has it (1, true, yes) or not "
            "(0, -1, false, no)"
        )
    return np.array(found, dtype=bool)
