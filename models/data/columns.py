"""Images in a column of Parquet files, or of a Hugging Face dataset on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from royalty.models.base.errors import InputError
from royalty.models.base.reading import check_table
from royalty.models.data.consent import consent_of
from royalty.models.data.listing import (
    STATED,
    Cell,
    Entry,
    Listing,
    as_text,
    check_columns,
    contributors_of,
    digest_of_files,
    first_of_each,
    inside,
)
from royalty.models.data.parquet import open_parquet, readable, whole
from royalty.models.data.rsl import terms_beside


@dataclass(frozen=True)
class Columns:
    """Names of columns; one column may have two roles, such as a label that is also the contributor.

    Attributes:
        image: None selects the only column of encoded images.
        label, text, license: columns with default names may be missing.
        names: names of integer labels, for files that do not store them as Hugging Face does.
    """

    image: str | None = None
    contributor: str = "contributor"
    label: str = "label"
    text: str = "text"
    license: str = "license"
    names: tuple[str, ...] = ()

    def named(self) -> set[str]:
        """The columns that must be present: those whose name is not the default."""
        defaults = Columns()
        return {str(name) for kind, name in self.texts().items() if name != getattr(defaults, kind)} | (
            {self.image} if self.image else set()
        )

    def texts(self) -> dict[str, str]:
        """Names of the metadata columns, by kind."""
        return {kind: getattr(self, kind) for kind in ("contributor", "label", "text", "license")}

    def read(self) -> dict[str, str]:
        """Names of all columns that are read beside the images, by kind."""
        return self.texts() | {name: name for name in STATED}


@dataclass(frozen=True)
class Cells:
    """A reader of a column of images in one or more files.

    Attributes:
        arrow: whether the files are Arrow streams, as written by Hugging Face's `save_to_disk`; otherwise Parquet.
        rows: the rows of the listing, ascending, counted over all files.
    """

    files: tuple[Path, ...]
    arrow: bool
    column: str
    rows: np.ndarray

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        selected = self.rows[start:stop]
        for first, length, read in pieces(self.files, self.arrow):
            rows = selected[np.searchsorted(selected, first) : np.searchsorted(selected, first + length)]
            if len(rows):
                column = read([self.column]).column(self.column)
                column = column if len(rows) == length else column.take(pa.array(rows - first))
                for chunk in column.chunks:
                    yield from payloads(chunk).to_pylist()

    def digest(self) -> str:
        described = f"{digest_of_files(self.files)} {self.column} {hashlib.sha256(self.rows.tobytes()).hexdigest()}"
        return hashlib.sha256(described.encode()).hexdigest()

    def take(self, places: np.ndarray) -> Cells:
        return replace(self, rows=self.rows[places])


def parquet_images(path: Path, columns: Columns, *, per_label: int | None = None) -> Listing:
    """The images of a Parquet file, or of all Parquet files in a folder, in the order of their names.

    Args:
        per_label: number of images to take of each label, from the first; None: all.

    Raises:
        InputError: no file, an unreadable file, a missing column, or several columns of images.
    """
    files = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"there is no Parquet file at {path}; name one, or a folder with Parquet files")
    return _listed(path, files, False, columns, per_label)


def dataset_images(folder: Path, columns: Columns, *, split: str = "train", per_label: int | None = None) -> Listing:
    """The images of a dataset written by `save_to_disk` of Hugging Face `datasets`; of a dataset dictionary, one split.

    Raises:
        InputError: as `parquet_images`; a folder of another kind, or an unknown split.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        if split not in splits:
            raise InputError(f"{folder} has no split {split!r}; `split` is one of {', '.join(map(str, splits))}")
        inside(folder, f"{split}/state.json", str(folder / "dataset_dict.json"))
        folder = folder / split
    state = folder / "state.json"
    if not state.is_file():
        raise InputError(f"{folder} has no state.json, so it is not a dataset on disk; write it with `save_to_disk`")
    description = _json(state)
    if description.get("_indices_data_files"):
        raise InputError(f"{state}: its rows are selected by an index; call `flatten_indices` before `save_to_disk`")
    names = [str(file.get("filename")) for file in description.get("_data_files", [])]
    files = tuple(inside(folder, name, str(state)) for name in names)
    if not files:
        raise InputError(f"{state} lists no data files; write the dataset again with `save_to_disk`")
    return _listed(folder, files, True, columns, per_label)


def pieces(files: Sequence[Path], arrow: bool) -> Iterator[tuple[int, int, Callable[[list[str]], pa.Table]]]:
    """First row, number of rows and reader of each piece of the files: a row group, or a record batch of an Arrow file.

    Raises:
        InputError: a file cannot be read.
    """
    first = 0
    for path in files:
        with readable(path, arrow=arrow):
            if arrow:
                for batch in pa.ipc.open_stream(pa.memory_map(str(path))):
                    table = pa.Table.from_batches([whole(batch)])
                    yield first, batch.num_rows, table.select
                    first += batch.num_rows
                continue
            file = open_parquet(path)
            for group in range(file.num_row_groups):
                length = file.metadata.row_group(group).num_rows

                def read(names: list[str], group: int = group, file: pq.ParquetFile = file, path: Path = path) -> Any:
                    with readable(path):
                        table = whole(file.read_row_group(group, columns=names, use_threads=False))
                        if names and table.num_rows != file.metadata.row_group(group).num_rows:
                            raise pa.ArrowInvalid(f"row group {group} has {table.num_rows} rows, and states others")
                        return table

                yield first, length, read
                first += length


def schema_of(path: Path, arrow: bool) -> pa.Schema:
    """The columns of a file.

    Raises:
        InputError: it cannot be read.
    """
    with readable(path, arrow=arrow):
        if arrow:
            with pa.memory_map(str(path)) as source:
                schema = pa.ipc.open_stream(source).schema
        else:
            schema = pq.read_schema(path)
        _ = schema.names  # which are decoded when they are asked for, and of a damaged file may be no UTF-8
        return schema


def image_column(where: str, schema: pa.Schema) -> str:
    """The only column of encoded images: binary, or a struct with `bytes` as written by Hugging Face.

    Raises:
        InputError: there is none, or several.
    """
    candidates = [field.name for field in schema if holds_images(field.type)]
    if len(candidates) != 1:
        raise InputError(
            f"{where} has {len(candidates)} columns of encoded images ({', '.join(schema.names)}); keep one, binary or "
            "a struct with `bytes`"
        )
    return str(candidates[0])


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of a type can hold encoded images."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
        if pa.types.is_null(kind):  # every image is missing, which its reader says
            return True
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def payloads(column: Any) -> Any:
    """The bytes of a column of images."""
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def file_names(column: Any) -> list[str]:
    """The file names that Hugging Face stores with the images of a column; empty where there are none."""
    if not has_names(column.type):
        return [""] * len(column)
    return [as_text(name) for name in pc.struct_field(column, "path").to_pylist()]


def has_names(kind: pa.DataType) -> bool:
    """Whether a column of images of a type can hold their file names."""
    return bool(pa.types.is_struct(kind) and kind.get_field_index("path") >= 0)


def label_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names that Hugging Face stores for the integer labels of a column, or None."""
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = described["info"]["features"][column].get("names")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):  # it says nothing of this column
        return None
    return names if isinstance(names, list) else None


def _listed(path: Path, files: tuple[Path, ...], arrow: bool, columns: Columns, per_label: int | None) -> Listing:
    schemas = [schema_of(file, arrow) for file in files]
    schema = schemas[0]
    for file, other in zip(files, schemas, strict=True):
        if other.names != schema.names:
            raise InputError(
                f"{file} has other columns ({', '.join(other.names)}) than {files[0]}; name files with the same columns"
            )
    check_columns(str(path), schema.names, columns.named() | {columns.contributor})
    image = columns.image or image_column(str(path), schema)
    if not holds_images(schema.field(image).type):
        raise InputError(f"{path}: column {image!r} holds {schema.field(image).type}; images are binary, or a struct")
    present = {kind: name for kind, name in columns.read().items() if name in schema.names}
    texts: dict[str, list[Any]] = {name: [] for name in present.values()}
    # Of a Parquet file only the names are read, not the bytes of the images; an Arrow file is mapped.
    named = ([image] if arrow else [f"{image}.path"]) if has_names(schema.field(image).type) else []
    listed: list[str] = []
    for _, _, read in pieces(files, arrow):
        table = read([*sorted(texts), *named])
        listed += file_names(table.column(image)) if named else [""] * table.num_rows
        for name, values in texts.items():
            names = label_names(schema, name) or (columns.names if name == columns.label else ())
            values += _named(table.column(name).to_pylist(), names)
    count = len(texts[columns.contributor])
    if not count:
        raise InputError(f"{path} has no rows; give a file with at least one image")
    if per_label is not None and "label" not in present:
        raise InputError(f"{path}: `per_label` needs a column of labels, and {columns.label!r} is missing; set `label`")
    rows = first_of_each(
        [as_text(value) for value in texts[columns.label]] if "label" in present else [""] * count, per_label
    )
    with_terms = terms_beside(path if path.is_dir() else path.parent)
    described = (
        _entry(f"{path}, row {row}", {kind: texts[name][row] for kind, name in present.items()}, listed[row])
        for row in rows
    )
    entries = tuple(map(with_terms, described))
    return Listing(str(path), entries, Cells(files, arrow, image, rows))


def _named(values: list[Any], names: Sequence[str]) -> list[Any]:
    if not names:
        return values
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else v for v in values]


def _entry(where: str, present: Mapping[str, Any], file_name: str) -> Entry:
    label, text, license_ = (as_text(present.get(kind)) for kind in ("label", "text", "license"))
    return Entry(
        where,
        contributors_of(where, present.get("contributor")),
        label,
        text,
        license_,
        file_name,
        **consent_of(where, present),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        check_table(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); write the dataset again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}; write the dataset again")
    return content
