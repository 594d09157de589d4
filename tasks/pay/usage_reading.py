"""Read what a model generated in a period: the log of the service, or a file of generations."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from royalty.infra.attribution.usage_log import Logged, LogHead
from royalty.models.base.errors import InputError, Refusals
from royalty.models.base.reading import check_table, read_bytes
from royalty.models.data.listing import SEPARATOR
from royalty.models.data.parquet import read_table

if TYPE_CHECKING:
    from royalty.tasks.attribution.attributing import Attributor

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "at": pa.string(),
        "weight": pa.string(),
        "contributors": pa.list_(pa.string()),
        "shares": pa.list_(pa.float64()),
        "items": pa.list_(pa.string()),
        "item_shares": pa.list_(pa.float64()),
        "item_contributors": pa.list_(pa.string()),
    }
)
"""Columns of a table of use."""

SUM = 1e-6
"""Largest difference of the shares of a generation from 1."""


@dataclass(frozen=True)
class Used:
    """A generation and what is behind it; a row of the table of use."""

    id: str
    at: str
    revenue: Decimal | None
    shares: Mapping[str, float]
    items: Sequence[tuple[str, float, str]]


def of_log(rows: Iterator[Logged]) -> tuple[list[Used], str, LogHead]:
    """Generations of the service's log, a digest of its rows, and the last of them."""
    digest, used, last = hashlib.sha256(), [], LogHead(0, "")
    for row in rows:
        digest.update(row.hash.encode())
        items = [(item["id"], item["share"], SEPARATOR.join(item["contributors"])) for item in row.answer["items"]]
        revenue = None if row.revenue is None else Decimal(row.revenue)
        used.append(Used(f"{row.client}/{row.caller}", row.at, revenue, row.shares, items))
        last = LogHead(row.position, row.hash)
    return used, digest.hexdigest(), last


def of_file(path: Path, first: date, after: date, known: Sequence[str], attributor: ByImage) -> list[Used]:
    """Generations of a CSV or Parquet file.

    Columns: `id` and `time`; `revenue`, a decimal number, if it is known; and who stands behind each: either
    `contributor` and `share`, with a row for each contributor, or `image`, the path of an image file from the folder of
    the table, which is attributed as the service would.

    Args:
        first, after: first day of the period, and the day after its last (UTC).
        known: names of contributors.

    Raises:
        InputError: columns are missing; ids that stand twice, unknown contributors, negative revenue, or times outside
            the period. Up to ten rows are named, and nothing is paid.
    """
    table = _table(path)
    refused, used = Refusals(), []
    shared = "share" in table.columns
    if shared == ("image" in table.columns) or {"id", "time"} - {*table.columns}:
        raise InputError(
            f"{path} has the columns `id` and `time`, and either `contributor` and `share`, or `image`; got "
            f"{', '.join(map(str, table.columns))}"
        )
    if shared and "contributor" not in table.columns:
        raise InputError(f"{path} has a share of each contributor, and no column `contributor`; add it")
    names, seen = set(known), set[str]()
    for identity, rows in table.groupby("id", sort=False) if shared else _single_rows(table):
        where = f"{path}, generation {identity!r}"
        with refused.collect():
            row = rows.iloc[0]
            once = [column for column in ("time", "revenue") if column in rows.columns]
            if identity in seen or len(rows[once].drop_duplicates()) > 1:
                raise InputError(f"{where} stands twice; an id is of one generation, with one time and one revenue")
            seen.add(str(identity))
            at = _time(where, row["time"], first, after)
            revenue = _revenue(where, row["revenue"]) if "revenue" in table.columns else None
            if shared:
                used.append(Used(str(identity), at, revenue, _shares(where, rows, names), ()))
            else:
                shares, items = attributor.of(path.parent / str(row["image"]), where)
                used.append(Used(str(identity), at, revenue, shares, items))
    refused.check(f"generations of {path} cannot be paid for")
    if not used:
        raise InputError(f"{path} has no generations; there is nothing to pay for")
    return used


@dataclass
class ByImage:
    """Attributes image files by one index."""

    attributor: Attributor | None
    model: str
    version: str

    def of(self, path: Path, where: str) -> tuple[Mapping[str, float], list[tuple[str, float, str]]]:
        from royalty.tasks.attribution.from_files import answer_of

        if self.attributor is None:
            raise InputError(f"{where} has an image, which is attributed by an index, and {self.model} has none here")
        payload = read_bytes(path, f"image of {where}")
        answer = answer_of(self.attributor, payload, where, self.model, self.version)
        return answer.contributors, [(item.id, item.share, SEPARATOR.join(item.contributors)) for item in answer.items]


def packed(used: Sequence[Used]) -> bytes:
    """The table of use as Parquet.

    If nothing is said of revenue, every generation weighs 1.

    Raises:
        InputError: some generations have a revenue and others none.
    """
    without = [row.id for row in used if row.revenue is None]
    if without and len(without) < len(used):
        raise InputError(
            f"the revenue of all generations is known, or of none; {len(without)} of {len(used)} have none, such as "
            f"{without[0]!r}. Fill it in, with 0 where nothing was earned"
        )
    columns = {
        "id": [row.id for row in used],
        "at": [row.at for row in used],
        "weight": ["1" if row.revenue is None else f"{row.revenue:f}" for row in used],
        "contributors": [list(row.shares) for row in used],
        "shares": [list(row.shares.values()) for row in used],
        "items": [[item for item, _, _ in row.items] for row in used],
        "item_shares": [[share for _, share, _ in row.items] for row in used],
        "item_contributors": [[names for _, _, names in row.items] for row in used],
    }
    stream = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), stream)
    return stream.getvalue()


def _table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        table: pd.DataFrame = read_table(path).to_pandas()
        return table
    try:
        if path.suffix == ".csv":
            check_table(path)
            return pd.read_csv(path, dtype=str, keep_default_na=False)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of generations ({error}); write it again") from error
    raise InputError(f"generations are read from a .csv or .parquet file, or from the `log`; got {str(path)!r}")


def _single_rows(table: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    for place, identity in enumerate(table["id"]):
        yield identity, table.iloc[[place]]


def _time(where: str, value: Any, first: date, after: date) -> str:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise InputError(f"{where}: a time is ISO 8601, such as 2026-05-03T12:00:00Z; got {value!r}") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    begin, end = (datetime.combine(day, time(), UTC) for day in (first, after))
    if not begin <= at < end:
        raise InputError(f"{where}: {at.isoformat()} is not in the period from {first} to the day before {after} (UTC)")
    return at.isoformat()


def _revenue(where: str, value: Any) -> Decimal:
    try:
        revenue = Decimal(str(value))
    except InvalidOperation:
        raise InputError(f"{where}: a revenue is a decimal number, such as 0.05; got {value!r}") from None
    if not revenue.is_finite() or revenue < 0:
        raise InputError(f"{where}: a revenue is at least 0; got {value!r}")
    return revenue


def _shares(where: str, rows: pd.DataFrame, known: set[str]) -> dict[str, float]:
    """Shares by contributor; none if the one row names nobody."""
    shares: dict[str, float] = {}
    for name, value in zip(rows["contributor"].fillna("").astype(str), rows["share"], strict=True):
        if not name and len(rows) == 1:
            return {}
        if name in shares:
            raise InputError(f"{where} names {name!r} twice; sum the shares")
        if name not in known:
            raise InputError(f"{where} names {name!r}, an unknown contributor; there are {', '.join(sorted(known))}")
        try:
            shares[name] = float(value)
        except ValueError:
            raise InputError(f"{where}: a share is a number from 0 to 1; got {value!r}") from None
        if not 0 <= shares[name] <= 1:
            raise InputError(f"{where}: a share is a number from 0 to 1; got {value!r}")
    if abs(sum(shares.values()) - 1) > SUM:
        raise InputError(f"{where}: the shares of a generation sum to 1; got {sum(shares.values()):.6g}")
    return shares
