"""Reading the ledger: its statements in order, each with its pool and all its entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.change import money_by_contributor
from royalty.infra.ledger.postings import HOUSE, REVERSALS, Posted
from royalty.infra.stores.tables import EntryRow, PolicyRow, PoolRow, StatementRow

ROWS_AT_ONCE = 10_000
REVERSED = (REVERSALS["payment"], REVERSALS["release"])
CASH = ("payment", "release", *REVERSED)
"""Kinds of entries that pay money out, or take it back."""


class Line(NamedTuple):
    """An entry of a statement; its fields are columns of `royalty.infra.stores.tables.EntryRow`."""

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


def pages(session: Session, *conditions: ColumnElement[bool]) -> Iterator[Page]:
    """Yield the statements in the order of their positions, as stored, without verification.

    Statements posted while this reads are left out, so no transaction is needed: the rows that a statement refers to
    are written before it, and read after it.
    """
    statements = list(
        session.scalars(select(StatementRow).where(*conditions).order_by(StatementRow.position, StatementRow.id))
    )
    pools = {pool.id: pool for pool in session.scalars(select(PoolRow))}
    policies = {policy.digest: policy for policy in session.scalars(select(PolicyRow))}
    last = statements[-1].position if statements else 0
    rows = session.execute(
        select(EntryRow.statement, *(getattr(EntryRow, part) for part in Line._fields))
        .join(StatementRow, StatementRow.id == EntryRow.statement)
        .where(*conditions, StatementRow.position <= last)
        .order_by(StatementRow.position, StatementRow.id, EntryRow.id)
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
