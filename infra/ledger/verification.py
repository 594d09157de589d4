"""Whether the ledger holds, every statement hashed again and no entry outside of one; all money is counted by this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from royalty.infra.ledger.book import Line, Page, pages
from royalty.infra.ledger.postings import REVERSALS, LedgerBroken, Verified
from royalty.infra.stores.chain import ENTRY_PARTS, GENESIS, PARTS, pool_key, statement_hash
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.tables import Entry, Statement

ACCOUNT_KINDS = ("account", REVERSALS["account"])


def verified_pages(session: Session) -> Iterator[Page]:
    """All statements in order, each of them verified before it is given.

    Raises:
        LedgerBroken: one does not hold; or, after the last, there is an entry of none of them. What was read until
            then counts for nothing.
    """
    head, held = GENESIS, 0
    for page in pages(session):
        why = fault(page, position=held + 1, previous=head)
        if why is not None:
            raise LedgerBroken(Verified(held, head, broken=page.statement.id, why=why))
        yield page
        head, held = page.statement.hash, held + 1
    stray = session.execute(
        select(Entry.id, Entry.statement, Entry.kind, Entry.contributor, Entry.amount_minor, Entry.currency)
        .outerjoin(Statement, Statement.id == Entry.statement)
        .where(Statement.id.is_(None))
        .order_by(Entry.id)
        .limit(1)
    ).first()
    if stray is not None:
        number, statement, kind, contributor, amount, currency = stray
        why = (
            f"entry {number} names it (kind {kind!r}, contributor {contributor!r}, {amount} minor units of {currency})"
            ", and there is no such statement"
        )
        raise LedgerBroken(Verified(held, head, broken=str(statement), why=why, entry=number))


def verify(session: Session) -> Verified:
    """What walking the ledger to its end finds."""
    head, held = GENESIS, 0
    try:
        for page in verified_pages(session):
            head, held = page.statement.hash, page.statement.position
    except LedgerBroken as broken:
        return broken.verified
    return Verified(held, head, broken=None, why=None)


def verified_page(session: Session, identity: str) -> Page | None:
    """One statement, by its own hash; None if there is none of this id.

    Raises:
        LedgerBroken: it does not hold.
    """
    page = next(pages(session, Statement.id == identity), None)
    if page is not None:
        position, previous = page.statement.position, page.statement.previous
        why = fault(page, position=position, previous=previous)
        if why is not None:
            raise LedgerBroken(Verified(position - 1, previous, broken=identity, why=why))
    return page


@dataclass
class Book:
    """What verified statements say of one pool.

    Attributes:
        pages: the pool's statements.
        accounts: minor units by currency and contributor that pools before this one left on accounts.
        head, position: of the last statement of all pools.
    """

    pages: list[Page] = field(default_factory=list)
    accounts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    head: str = GENESIS
    position: int = 0

    @classmethod
    def read(cls, session: Session, pool: str) -> Book:
        """Of the pool of this key, by verifying the whole ledger.

        Every amount that is given later is of the rows that were hashed here, none is read again.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        book = cls()
        for page in verified_pages(session):
            book.head, book.position = page.statement.hash, page.statement.position
            if page.statement.pool == pool:
                book.pages.append(page)
            elif not book.pages:
                for line in page.lines:
                    if line.kind in ACCOUNT_KINDS:
                        book.accounts[line.currency, line.contributor] += line.amount_minor
        return book

    @property
    def latest(self) -> Statement | None:
        """The last division of the pool."""
        return next((page.statement for page in reversed(self.pages) if page.statement.kind == "division"), None)

    def division(self, valuation: str) -> Statement | None:
        """The one that paid this valuation."""
        own = (page.statement for page in self.pages if page.statement.kind == "division")
        return next((statement for statement in own if statement.valuation == valuation), None)

    def knows(self, identity: str) -> bool:
        return any(page.statement.id == identity for page in self.pages)

    def posted(self, valuation: str) -> list[Line]:
        """What was posted by a valuation, without what that took back."""
        lines = (line for page in self.pages for line in page.lines)
        return [line for line in lines if line.valuation == valuation and line.kind in REVERSALS]

    def sums(self, kinds: Collection[str]) -> dict[str, int]:
        """The pool's entries of these kinds, summed for each contributor."""
        sums: dict[str, int] = defaultdict(int)
        for page in self.pages:
            for line in page.lines:
                if line.kind in kinds:
                    sums[line.contributor] += line.amount_minor
        return dict(sorted(sums.items()))

    def brought(self, currency: str, contributors: Collection[str]) -> dict[str, int]:
        """What the pool brings forward of the accounts of these contributors, where that is not zero."""
        own = {name: amount for (unit, name), amount in self.accounts.items() if unit == currency}
        return {name: amount for name, amount in own.items() if amount and name in contributors}


def fault(page: Page, *, position: int, previous: str) -> str | None:
    """Why a statement does not hold; None if it does.

    Args:
        position, previous: what it must have by the statement before it.
    """
    row, pool = page.statement, page.pool
    if row.position != position:
        return f"it is number {row.position}, where {position} follows"
    if row.previous != previous:
        return "it does not hold the hash of the statement before it"
    if pool is None or pool.id != pool_key(pool.name, pool.period) or _hash(page, previous) != row.hash:
        return "its hash is not that of what it says: it, its pool or its entries have been changed"
    if stray := next((line for line in page.lines if line.pool != row.pool), None):
        return f"entry {stray.id} is of it, and of another pool than it"
    if sum(line.amount_minor for line in page.lines):
        return "its entries do not sum to zero"
    if row.policy is not None and (page.policy is None or digest_of(page.policy.terms) != row.policy):
        return "the terms it was divided by have been changed"
    return None


def _hash(page: Page, previous: str) -> str | None:
    """None where it holds what no statement does, as bytes, which SQLite takes in a column of any type."""
    lines = [_said(line, ENTRY_PARTS) for line in page.lines]
    try:
        return statement_hash(_said(page.statement, PARTS), vars(page.pool), lines, previous)
    except TypeError:
        return None


def _said(row: Any, parts: Iterable[str]) -> dict[str, Any]:
    return {part: getattr(row, part) for part in parts}
