"""The entries of a posting: a first division, one that reverses the last, or a correction of it by accounts."""

from __future__ import annotations

from collections.abc import Sequence

from royalty.infra.ledger.change import (
    Corrections,
    Entry,
    Money,
    PoolChange,
    money_by_contributor,
    people_of,
    total,
)
from royalty.infra.ledger.postings import HOUSE, REVERSALS, LedgerConflict, Posted, Posting
from royalty.infra.ledger.verification import Book


def plan_entries(book: Book, posting: Posting, corrections: Corrections) -> tuple[str, list[Entry]]:
    """The kind of the statement, and its entries.

    A pool that was not divided yet is divided. Otherwise `reverse` reverses all that the last division moved, with its
    releases and corrections, and divides anew. `carry` moves the differences of what is due to each contributor to
    their accounts: later payouts pay them on top of their pool, or withhold them.

    Raises:
        LedgerConflict: a division that the decision of a case moved money of would be reversed.
    """
    valuation = book.entry_valuation(posting.valuation)
    entries = [Entry(kind, name, valuation, amount) for kind, name, amount in posting.entries]
    if book.latest is None:
        return "division", entries
    if corrections == "carry":
        return "correction", _correction(book, entries, valuation)
    if book.decided:
        raise LedgerConflict(
            "what a decision of a case moved is not taken back: this pool is corrected by accounts. Set "
            "`payout.corrections: carry`"
        )
    reversals = [
        Entry(REVERSALS[line.kind], line.contributor, line.valuation, -line.amount_minor) for line in book.active
    ]
    return "division", entries + reversals


def _correction(book: Book, division: Sequence[Entry], valuation: str) -> list[Entry]:
    """Account entries that make what is due to each contributor what this division would make it.

    The pool advances what contributors get, and is owed what they lose: when a later payout withholds a debt, the
    advance is back.
    """
    before, wanted, none = book.divided, money_by_contributor(division), Money()
    names = [name for name in dict.fromkeys([*wanted, *before]) if name != HOUSE]
    differences = {name: wanted.get(name, none).due - before.get(name, none).due for name in names}
    gains = sum(amount for amount in differences.values() if amount > 0)
    debts = -sum(amount for amount in differences.values() if amount < 0)
    house = {"reserve": -gains, "claims": debts}
    return [Entry("account", name, valuation, amount) for name, amount in differences.items() if amount] + [
        Entry(kind, HOUSE, valuation, amount) for kind, amount in house.items() if amount
    ]


def change_of(
    book: Book, posting: Posting, corrections: Corrections, *, pool: str, period: str, statements: Sequence[Posted]
) -> PoolChange:
    """What a posting would change.

    Args:
        book: of the pool.
        statements: of all pools.
    """
    known, current = book.by(posting.valuation), book.current
    kind, entries = (known.kind, []) if known is not None else plan_entries(book, posting, corrections)
    by_id = {statement.id: statement for statement in statements}
    before = book.money
    return PoolChange(
        pool=pool,
        period=period,
        currency=posting.currency,
        kind=kind,
        repeats=None if known is None else by_id[known.id],
        replaces=None if current is None or known is not None else by_id[current.id],
        elsewhere=tuple(
            statement
            for statement in statements
            if statement.valuation == posting.valuation
            and statement.active
            and statement.kind not in ("release", "decision", "export")
            and (statement.pool, statement.period) != (pool, period)
        ),
        returns=book.replaced(posting.valuation) is not None,
        people=people_of(before, entries),
        totals=(total(before.values()), total([*before.values(), *money_by_contributor(entries).values()])),
    )
