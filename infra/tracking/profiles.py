"""What a stored artifact holds: rows, columns, and counts over contributors, for events and catalogs.

Profiles have no names of contributors, unless asked, and no values of text columns: these can be personal data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

PARQUET = b"PAR1"
CONTRIBUTOR = "contributor"
"""Column of tables by contributor."""
MEMBERSHIP = "membership"
"""Array of a set of images: whether an item is of a contributor, `(items, contributors)`."""
AT_ONCE = 65_536
"""Rows of a membership that are read at once."""


@dataclass(frozen=True)
class Column:
    """Counts and range of the numbers in a column; None where unknown or not numeric."""

    count: int | None = None
    nulls: int | None = None
    distinct: int | None = None
    total: float | None = None
    smallest: float | None = None
    largest: float | None = None


@dataclass(frozen=True)
class Profile:
    """What a file holds.

    Attributes:
        layout: `images` is a set of images with its membership; `other` has no rows that are known.
        size: in bytes.
        rows: number of rows of a table, or of items.
        fields: type of each column or array, by name.
        columns: counts of columns. For images, `items of a contributor` has a number for each contributor.
    """

    layout: Literal["table", "images", "other"]
    size: int
    rows: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def profile(path: Path) -> Profile:
    """The profile of an artifact, whose content never changes."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if head.startswith(PARQUET):
        return _profile_of_table(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return _profile_of_arrays(path)
    return Profile("other", path.stat().st_size)


def contributors_in(path: Path) -> list[str]:
    """Names of the contributors in a table or a set of images, sorted; empty for other files."""
    layout = profile(path).layout
    if layout == "table" and CONTRIBUTOR in profile(path).fields:
        return sorted({str(name) for name in _column(path, CONTRIBUTOR).to_pylist() if name is not None})
    if layout == "images":
        import json

        from safetensors import safe_open

        with safe_open(path, framework="numpy") as arrays:
            description = json.loads((arrays.metadata() or {}).get("description", "{}"))
        return sorted(str(name) for name in description.get("contributors") or ())
    return []


def _profile_of_table(path: Path) -> Profile:
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
        fields = {name: str(schema.field(name).type) for name in schema.names}
        columns = {name: _column_of(metadata, name) for name in schema.names if _is_number(schema.field(name).type)}
    if CONTRIBUTOR in fields:
        names = _column(path, CONTRIBUTOR)
        distinct = compute.count_distinct(names).as_py()
        columns[CONTRIBUTOR] = Column(count=len(names), nulls=names.null_count, distinct=distinct)
    return Profile("table", path.stat().st_size, metadata.num_rows, fields, columns)


def _column_of(metadata: Any, name: str) -> Column:
    """Counts and range of a column, from the statistics of the row groups; reads no rows."""
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    position = paths.index(name)
    groups = [metadata.row_group(index).column(position).statistics for index in range(metadata.num_row_groups)]
    if not groups or any(group is None for group in groups):
        return Column(count=metadata.num_rows)
    ranges = [group for group in groups if group.has_min_max]
    return Column(
        count=metadata.num_rows,
        nulls=sum(group.null_count for group in groups) if all(group.has_null_count for group in groups) else None,
        smallest=_finite(min((float(group.min) for group in ranges), default=None)),
        largest=_finite(max((float(group.max) for group in ranges), default=None)),
    )


def _finite(number: float | None) -> float | None:
    """The number, if JSON can represent it."""
    return number if number is not None and math.isfinite(number) else None


def _profile_of_arrays(path: Path) -> Profile:
    from safetensors import safe_open

    size = path.stat().st_size
    with safe_open(path, framework="numpy") as arrays:
        if MEMBERSHIP not in arrays.keys():  # noqa: SIM118  it is no mapping
            return Profile("other", size)
        slices = {name: arrays.get_slice(name) for name in arrays.keys()}  # noqa: SIM118
        fields = {name: f"{part.get_dtype()}{list(part.get_shape())}" for name, part in slices.items()}
        items, contributors = slices[MEMBERSHIP].get_shape()
        counts = [0] * contributors
        for start in range(0, items, AT_ONCE):
            block = slices[MEMBERSHIP][start : min(start + AT_ONCE, items)].sum(axis=0)
            counts = [count + int(more) for count, more in zip(counts, block, strict=True)]
    column = Column(
        count=contributors,
        total=float(sum(counts)),
        smallest=float(min(counts)) if counts else None,
        largest=float(max(counts)) if counts else None,
    )
    return Profile("images", size, items, fields, {"items of a contributor": column})


def _column(path: Path, name: str) -> Any:
    import pyarrow.parquet as parquet

    return parquet.read_table(path, columns=[name])[name]


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind))
