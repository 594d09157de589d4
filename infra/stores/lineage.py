"""What came from what: edges between digests, recorded with the rows that made them, and the walk along them.

A node is the SHA-256 of an artifact, or the key of a row of the run store: a stage, a coalition's model or a
measurement. What a row used is its parent, and what it made has the row as its parent, so that every way between
two artifacts says by what it went.
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
from royalty.infra.stores.keys import digest_of

DIGEST = re.compile(r"[0-9a-f]{64}")
AT_ONCE = 5_000
"""Nodes in one query; databases bound the parameters of a statement."""


@dataclass(frozen=True)
class Edge:
    """`child` came from `parent`.

    Attributes:
        role: of what was used, where in the inputs it is named; of what was made, where in the outputs.
        run: key of the row that says so.
    """

    child: str
    parent: str
    role: str
    run: str


@dataclass(frozen=True)
class Origin:
    """Where and when a row was made.

    Attributes:
        content: digest of the row as it was written.
        flow_run: Prefect's id of the flow run; None outside one.
        commit: of the code.
    """

    run: str
    content: str
    flow_run: str | None
    commit: str
    created_at: str


def digests_in(value: Any, role: str = "") -> Iterator[tuple[str, str]]:
    """Every SHA-256 in a nested value, and the dotted name of its place; places in a list share one."""
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
        known: which digests name something that is kept; others, as of files that a user has, are not nodes.
    """
    used, made = list(digests_in(inputs)), list(digests_in(outputs))
    kept = set(known({digest for _, digest in (*used, *made)}))
    parents = {digest for _, digest in used}
    edges = [Edge(key, digest, role, key) for role, digest in used if digest in kept]
    edges += [Edge(digest, key, role, key) for role, digest in made if digest in kept and digest not in parents]
    return list(dict.fromkeys(edges))


def content_of(row: tables.Stage | tables.Coalition | tables.Measurement) -> str:
    """Digest of all that a row says, apart from when it was written."""
    columns = [column.name for column in row.__table__.columns if column.name != "created_at"]
    said = {name: getattr(row, name) for name in columns}
    return digest_of(json.loads(json.dumps(said)))  # as a database gives it back: every key a string


def closure(starts: Iterable[str], step: Callable[[Collection[str]], Iterable[Edge]], up: bool) -> dict[str, Edge]:
    """Breadth first along the edges: every node that can be reached, by the first edge that reached it.

    Args:
        step: edges of some nodes: to their parents, or, if not `up`, to their children.
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
        return self._edges(tables.Edge.child, nodes)

    def children(self, nodes: Collection[str]) -> list[Edge]:
        return self._edges(tables.Edge.parent, nodes)

    def upstream(self, nodes: Iterable[str]) -> dict[str, Edge]:
        """All that these nodes came from."""
        return closure(nodes, self.parents, up=True)

    def downstream(self, nodes: Iterable[str]) -> dict[str, Edge]:
        """All that came from these nodes."""
        return closure(nodes, self.children, up=False)

    def origins(self, keys: Collection[str]) -> dict[str, Origin]:
        """Origins of rows by key; rows of an earlier version of this package have none."""
        found = self._rows(tables.Origin, tables.Origin.run, keys)
        return {row.run: Origin(row.run, row.content, row.flow_run, row.commit, row.created_at) for row in found}

    def known_rows(self, digests: Collection[str]) -> set[str]:
        """Which of these are keys of rows."""
        kinds = (tables.Stage, tables.Coalition, tables.Measurement)
        return {row.key for kind in kinds for row in self._rows(kind, kind.key, digests)}

    def _edges(self, column: Any, nodes: Collection[str]) -> list[Edge]:
        rows = self._rows(tables.Edge, column, nodes)
        return [Edge(row.child, row.parent, row.role, row.run) for row in rows]

    def _rows(self, table: type[Any], column: Any, values: Collection[str]) -> list[Any]:
        wanted = list(values)
        rows: list[Any] = []
        with Session(self.engine) as session:
            for start in range(0, len(wanted), AT_ONCE):
                chosen: ColumnElement[bool] = column.in_(wanted[start : start + AT_ONCE])
                rows += session.scalars(select(table).where(chosen)).all()
        return rows
