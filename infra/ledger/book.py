"""Reading the ledger: its statements in order, each with its pool and all its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.change import money_by_contributor
from royalty.infra.ledger.postings import HOUSE, REVERSALS, Posted
from royalty.infra.stores.tables import EntryRow, PolicyRow, PoolRow, StatementRow

ROWS_AT_ONCE = 10_000
KEYS_AT_ONCE = 5_000
REVERSED = (REVERSALS["payment"], REVERSALS["release"])
CASH = ("payment", "release", *REVERSED)
"""Kinds of entries that pay money out, or take it back."""


class Line(NamedTuple):
    """An entry of a statement; its fields are columns of `royalty.infra.stores.tables.EntryRow`."""

    statement: str
    id: int
    pool: str
    contributor: str
    kind: str
    valuation: str
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class Page:
    """A statement with its pool, its policy, and its entries in the order of writing.

    Attributes:
        pool, policy: None if the row is missing.
    """

    statement: StatementRow
    pool: PoolRow | None
    policy: PolicyRow | None
    lines: Sequence[Line]


def pages(session: Session, *conditions: ColumnElement[bool], entries_after: int = 0) -> Iterator[Page]:
    """Yield the statements in the order of their positions, as stored, without verification.

    Args:
        conditions: on statements.
        entries_after: position up to which pages have no lines, except those of statements of version 1.

    Statements posted while this reads are left out, so no transaction is needed: the rows that a statement refers to
    are written before it, and read after it.
    """
    statements = list(
        session.scalars(select(StatementRow).where(*conditions).order_by(StatementRow.position, StatementRow.id))
    )
    pools = {pool.id: pool for pool in session.scalars(select(PoolRow))}
    policies = {policy.digest: policy for policy in session.scalars(select(PolicyRow))}
    last = statements[-1].position if statements else 0
    entry, statement = EntryRow.__table__.c, StatementRow.__table__.c
    rows = session.connection().execute(  # without the session, which would take as long again for each row
        select(*(entry[part] for part in Line._fields))
        .join(StatementRow.__table__, statement.id == entry.statement)
        .where(*conditions, statement.position <= last)
        .where(or_(statement.position > entries_after, statement.version == 1))
        .order_by(statement.position, entry.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    groups = groupby(rows, key=itemgetter(0))
    identity, group = next(groups, ("", iter(())))
    for page in statements:
        lines: list[Line] = []
        if identity == page.id:
            lines = list(map(Line._make, group))
            identity, group = next(groups, ("", iter(())))
        yield Page(page, pools.get(page.pool), policies.get(page.policy or ""), lines)


class Movement(NamedTuple):
    """An entry of a contributor, with its statement and pool."""

    position: int
    statement: str
    date: str
    pool: str
    period: str
    kind: str
    amount_minor: int
    currency: str


def movements(session: Session, contributor: str) -> list[Movement]:
    """Entries of a contributor, in the order of posting."""
    pools = {pool.id: pool for pool in session.scalars(select(PoolRow))}
    entry, statement = EntryRow.__table__.c, StatementRow.__table__.c
    found, keys = list[tuple[int, Movement]](), list(pools)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        # Pools are named, because the index of entries begins with them.
        own = (entry.pool.in_(keys[start : start + KEYS_AT_ONCE]), entry.contributor == contributor)
        columns = (entry.id, statement.position, statement.id, statement.created_at, entry.pool)
        query = select(*columns, entry.kind, entry.amount_minor, entry.currency).join(
            StatementRow.__table__, statement.id == entry.statement
        )
        for number, position, identity, at, pool, *rest in session.connection().execute(query.where(*own)):
            place = pools[pool]
            found.append((number, Movement(position, identity, at[:10], place.name, place.period, *rest)))
    return [movement for _, movement in sorted(found)]


def last_divisions(rows: Iterable[StatementRow]) -> dict[str, int]:
    """Position of the last division of each pool, by its key; earlier statements of the pool were reversed."""
    return {row.pool: row.position for row in sorted(rows, key=lambda row: row.position) if row.kind == "division"}


def listing(ledger_pages: Iterable[Page]) -> list[Posted]:
    """All statements, in their order."""
    all_pages = list(ledger_pages)
    last = last_divisions(page.statement for page in all_pages)
    return [as_posted(page, last) for page in all_pages]


def as_posted(page: Page, last: Mapping[str, int]) -> Posted:
    """The statement of a page, with the amounts that contributors are paid by it.

    Args:
        last: result of `last_divisions`.
    """
    row, pool = page.statement, page.pool
    paid = {line.contributor: line.amount_minor for line in page.lines if line.kind in ("payment", "release")}
    money = money_by_contributor(page.lines)
    people = {name: amounts for name, amounts in money.items() if name != HOUSE}
    cash = {line.contributor for line in page.lines if line.kind in CASH}
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
        moved={name: amounts.paid for name, amounts in people.items() if name in cash},
        active=row.position >= last.get(row.pool, 0),
        held={name: amounts.held for name, amounts in people.items() if amounts.held},
        accounts={name: amounts.account for name, amounts in people.items() if amounts.account},
        reversed=-sum(line.amount_minor for line in page.lines if line.kind in REVERSED),
        evidence=row.evidence,
        withheld={name: amounts.withheld for name, amounts in people.items() if amounts.withheld},
    )
