"""Lineage: edges between digests, recorded with the rows that created them, and traversal of these edges.

A node is the SHA-256 of an artifact, or the key of a row of the run store: a stage, a coalition's model or a
measurement. The inputs of a row are its parents, and the row is the parent of its outputs, so that every path between
two artifacts goes through the row that connects them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, select
from sqlalchemy.orm import Session

from royalty.infra.stores import tables
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.stores.tables import now

DIGEST = re.compile(r"[0-9a-f]{64}")
AT_ONCE = 5_000
"""Nodes in one query; databases limit the number of parameters."""


@dataclass(frozen=True)
class Edge:
    """`child` was made from `parent`.

    Attributes:
        role: dotted name of the digest in the row's inputs, for a parent of the row, or in its outputs, for a child.
        run: key of the row that recorded the edge.
    """

    child: str
    parent: str
    role: str
    run: str


@dataclass(frozen=True)
class Origin:
    """The flow run, code and time that created a row.

    Attributes:
        content: digest of the row as it was written.
        flow_run: Prefect's ID of the flow run; None outside a flow run.
        commit: git commit of the code, or its version.
    """

    run: str
    content: str
    flow_run: str | None
    commit: str
    created_at: str


def digests_in(value: Any, role: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and value of every SHA-256 in a nested value; elements of a list share one name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from digests_in(inner, f"{role}.{key}" if role else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from digests_in(inner, role)
    elif isinstance(value, str) and DIGEST.fullmatch(value):
        yield role, value


def stage_edges(
    key: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    known: Callable[[Collection[str]], Collection[str]],
) -> list[Edge]:
    """The edges of a stage.

    Args:
        known: returns the digests that name a stored artifact or row; others, such as those of users' files, are not
            nodes.
    """
    used, made = list(digests_in(inputs)), list(digests_in(outputs))
    nodes = set(known({digest for _, digest in (*used, *made)}))
    parents = {digest for _, digest in used}
    edges = [Edge(key, digest, role, key) for role, digest in used if digest in nodes]
    edges += [Edge(digest, key, role, key) for role, digest in made if digest in nodes and digest not in parents]
    return list(dict.fromkeys(edges))


Recorded = (
    tables.StageRow
    | tables.CoalitionRow
    | tables.MeasurementRow
    | tables.RunRow
    | tables.AnchorRow
    | tables.CreditTableRow
)
"""Rows whose content is recorded when they are written."""


def origin_key(row: Recorded) -> str:
    """What an origin calls a row: its key, or else its table and name or number."""
    if isinstance(row, tables.StageRow | tables.CoalitionRow | tables.MeasurementRow):
        return row.key
    return f"{row.__tablename__} {row.name if isinstance(row, tables.RunRow) else row.id}"


def origin_of(row: Recorded, flow_run: str | None = None) -> tables.OriginRow:
    """The record of a row that was just written; its number is known."""
    return tables.OriginRow(
        run=origin_key(row), content=content_of(row), flow_run=flow_run, commit=code_commit(), created_at=now()
    )


def content_of(row: Recorded) -> str:
    """Digest of all columns of a row except `created_at`."""
    return digest_of(row_content(row))


def row_content(row: Recorded) -> dict[str, Any]:
    """All columns of a row except `created_at`, as a database returns them: every key is a string."""
    columns = [column.name for column in row.__table__.columns if column.name != "created_at"]
    content: dict[str, Any] = json.loads(json.dumps({name: getattr(row, name) for name in columns}))
    return content


def closure(starts: Iterable[str], step: Callable[[Collection[str]], Iterable[Edge]], up: bool) -> dict[str, Edge]:
    """Breadth-first traversal: all nodes that can be reached, each with the first edge that reached it.

    Args:
        step: returns the edges from nodes to their parents, or, if not `up`, to their children.
    """
    seen = dict.fromkeys(starts)
    reached: dict[str, Edge] = {}
    frontier = list(seen)
    while frontier:
        fresh: dict[str, Edge] = {}
        for edge in step(frontier):
            node = edge.parent if up else edge.child
            if node not in seen and node not in fresh:
                fresh[node] = edge
        seen |= dict.fromkeys(fresh)
        reached |= fresh
        frontier = list(fresh)
    return reached


class Lineage:
    """The edges and origins in the run store's database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def parents(self, nodes: Collection[str]) -> list[Edge]:
        return self._edges(tables.EdgeRow.child, nodes)

    def children(self, nodes: Collection[str]) -> list[Edge]:
        return self._edges(tables.EdgeRow.parent, nodes)

    def upstream(self, nodes: Iterable[str]) -> dict[str, Edge]:
        """All ancestors of these nodes."""
        return closure(nodes, self.parents, up=True)

    def downstream(self, nodes: Iterable[str]) -> dict[str, Edge]:
        """All descendants of these nodes."""
        return closure(nodes, self.children, up=False)

    def origins(self, keys: Collection[str]) -> dict[str, Origin]:
        """Origins of rows by key; rows written by an earlier version of this package have none."""
        rows = self._rows(tables.OriginRow, tables.OriginRow.run, keys)
        return {row.run: Origin(row.run, row.content, row.flow_run, row.commit, row.created_at) for row in rows}

    def known_rows(self, digests: Collection[str]) -> set[str]:
        """The digests that are keys of rows."""
        kinds = (tables.StageRow, tables.CoalitionRow, tables.MeasurementRow)
        return {row.key for kind in kinds for row in self._rows(kind, kind.key, digests)}

    def _edges(self, column: Any, nodes: Collection[str]) -> list[Edge]:
        rows = self._rows(tables.EdgeRow, column, nodes)
        return [Edge(row.child, row.parent, row.role, row.run) for row in rows]

    def _rows(self, table: type[Any], column: Any, values: Collection[str]) -> list[Any]:
        keys = list(values)
        rows: list[Any] = []
        with Session(self.engine) as session:
            for start in range(0, len(keys), AT_ONCE):
                condition: ColumnElement[bool] = column.in_(keys[start : start + AT_ONCE])
                rows += session.scalars(select(table).where(condition)).all()
        return rows
