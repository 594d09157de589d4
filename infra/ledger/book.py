"""The ledger as it is read: statement by statement, each with its pool and all its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.postings import Posted
from royalty.infra.stores.tables import Entry, Policy, Pool, Statement

ROWS_AT_ONCE = 10_000


class Line(NamedTuple):
    """An entry of a statement; its parts are those of `royalty.infra.stores.tables.Entry`."""

    id: int
    pool: str
    contributor: str
    kind: str
    valuation: str
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class Page:
    """A statement, with the rows that it names, and its entries in the order of writing.

    Attributes:
        pool, policy: None if there is no such row.
    """

    statement: Statement
    pool: Pool | None
    policy: Policy | None
    lines: Sequence[Line]


def pages(session: Session, *conditions: ColumnElement[bool]) -> Iterator[Page]:
    """Statements in the order of their positions, as they are stored: nothing is verified here.

    What is posted while this reads is left out, so that it needs no transaction of its own: rows that statements name
    are read after them, and were written before.
    """
    statements = list(session.scalars(select(Statement).where(*conditions).order_by(Statement.position, Statement.id)))
    pools = {pool.id: pool for pool in session.scalars(select(Pool))}
    policies = {policy.digest: policy for policy in session.scalars(select(Policy))}
    last = statements[-1].position if statements else 0
    rows = session.execute(
        select(Entry.statement, *(getattr(Entry, part) for part in Line._fields))
        .join(Statement, Statement.id == Entry.statement)
        .where(*conditions, Statement.position <= last)
        .order_by(Statement.position, Statement.id, Entry.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    groups = groupby(rows, key=_statement_of)
    identity, group = next(groups, ("", iter(())))
    for statement in statements:
        lines: list[Line] = []
        if identity == statement.id:
            lines = [Line(*row[1:]) for row in group]
            identity, group = next(groups, ("", iter(())))
        yield Page(statement, pools.get(statement.pool), policies.get(statement.policy or ""), lines)


def _statement_of(row: Row[Any]) -> Any:
    return row[0]


def replaced(session: Session) -> set[tuple[str, str]]:
    """Pool and valuation of the divisions that a later one has taken back."""
    back = select(Statement.replaces).where(Statement.replaces.is_not(None))
    divisions = select(Statement.pool, Statement.valuation).where(Statement.kind == "division", Statement.id.in_(back))
    return {(pool, valuation) for pool, valuation in session.execute(divisions)}


def listing(read: Iterable[Page]) -> list[Posted]:
    """What all statements say, in their order."""
    all_pages = list(read)
    rows = [page.statement for page in all_pages]
    back = {row.replaces for row in rows}
    past = {(row.pool, row.valuation) for row in rows if row.kind == "division" and row.id in back}
    return [as_posted(page, past) for page in all_pages]


def as_posted(page: Page, past: set[tuple[str, str]]) -> Posted:
    """What a page says, as those see it who are paid by it.

    Args:
        past: pool and valuation of the divisions that were taken back since.
    """
    row, pool = page.statement, page.pool
    paid: dict[str, int] = {}
    moved: dict[str, int] = {}
    for line in page.lines:
        if line.kind in ("payment", "release"):
            paid[line.contributor] = line.amount_minor
        if line.kind in ("payment", "release", "reversal", "release-reversal"):
            moved[line.contributor] = moved.get(line.contributor, 0) + line.amount_minor
    return Posted(
        id=row.id,
        pool=pool.name if pool else row.pool,
        period=pool.period if pool else "",
        kind=row.kind,
        valuation=row.valuation,
        source=row.source,
        policy=row.policy,
        sequence=row.position,
        created_at=row.created_at,
        currency=pool.currency if pool else "XXX",
        amount=row.amount_minor,
        hash=row.hash,
        paid=paid,
        moved=moved,
        active=(row.pool, row.valuation) not in past,
    )
