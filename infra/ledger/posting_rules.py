"""Checks of a posting: it repeats earlier amounts, and pays no more money than there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from royalty.infra.ledger.change import AnyEntry, Entry, Money, PersonChange, TakesBack, money_by_contributor
from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import HOUSE, LedgerConflict, OthersPool, Posting
from royalty.infra.ledger.verification import Book
from royalty.infra.stores.tables import PoolRow, StatementRow
from royalty.infra.wording import counted

Amounts = Mapping[tuple[str, str], int]

AGREE = "Agree with `royalty payout --replace` (`replace=True`; in a configuration, `payout.take_back: true`)"
NAMED = 10
"""Contributors that a message names."""


def label(pool: PoolRow) -> str:
    """Quoted name of a pool, with its period."""
    return repr(pool.name) + (f" of {pool.period}" if pool.period else "")


def check_covered(posting: Posting, accounts: Mapping[str, int]) -> None:
    """Check that a posting pays, holds and keeps no more than the pool and the contributors' accounts contain.

    Args:
        accounts: minor units by contributor, from verified statements; negative balances are owed and add nothing.

    Raises:
        LedgerConflict: the posting spends more, or contains a negative amount.
    """
    for kind, amounts in {
        "a payment": posting.amounts,
        "an amount held": posting.held,
        "a tax": posting.withheld,
    }.items():
        if negative := next((name for name, amount in amounts.items() if amount < 0), None):
            raise LedgerConflict(
                f"a pool pays no negative amounts: {negative!r} would have {kind} of "
                f"{formatted(amounts[negative], posting.currency)}. Nothing was posted; divide the pool again"
            )
    spent = sum(map(sum, (posting.amounts.values(), posting.held.values(), posting.withheld.values()))) + max(
        posting.reserve, 0
    )
    pool, brought = posting.gross, sum(max(amount, 0) for amount in accounts.values())
    if spent > pool + brought:
        money = [formatted(amount, posting.currency) for amount in (spent, pool, brought)]
        raise LedgerConflict(
            f"a pool pays no more than it and its contributors' accounts contain: {money[0]} would be paid, held or "
            f"kept, of a pool of {money[1]} and accounts of {money[2]}. Nothing was posted; divide the pool again"
        )


def check_source(pool: PoolRow, current: StatementRow, posting: Posting) -> None:
    """Check that a pool is divided by the credit of the same run as before.

    Raises:
        OthersPool: it was divided by the credit of another run.
    """
    if None not in (current.source, posting.source) and current.source != posting.source:
        raise OthersPool(
            f"a pool is divided by one run's credit: {label(pool)} was divided by the credit of {current.source!r}, "
            f"got that of {posting.source!r}. Name another pool, or replace the earlier payment (`royalty payout "
            "--replace`)"
        )


def check_takes_nothing_back(pool: PoolRow, current: StatementRow, people: Iterable[PersonChange]) -> None:
    """Check that a posting to a pool that was divided before takes nothing back.

    Raises:
        TakesBack: a contributor would have less than before, paid or due.
    """
    losers = sorted((row for row in people if row.loses), key=lambda row: -row.loses)
    if not losers:
        return
    named = [f"{row.contributor} {formatted(row.loses, pool.currency)}" for row in losers[:NAMED]]
    more = f" and {len(losers) - NAMED} more" if len(losers) > NAMED else ""
    raise TakesBack(
        f"a posting takes money back only if that is agreed to: {label(pool)} was divided by statement "
        f"{current.id} on {current.created_at[:10]}, and this division takes "
        f"{formatted(sum(row.loses for row in losers), pool.currency)} from {counted(len(losers), 'contributor')}: "
        f"{', '.join(named)}{more}. Nothing was posted. {AGREE}, or pay another period"
    )


def check_returns(pool: PoolRow, book: Book, posting: Posting) -> None:
    """Check that a posting does not return to a credit table that the pool has replaced, as a late retry would.

    Raises:
        TakesBack: it does.
    """
    earlier, current = book.replaced(posting.valuation), book.current
    if earlier is not None and current is not None:
        raise TakesBack(
            f"a pool returns to an earlier credit table only if that is agreed to: {label(pool)} paid valuation "
            f"{earlier.valuation[:12]} and has since replaced it by {current.valuation[:12]} (statement {current.id}). "
            f"Nothing was posted. {AGREE}, or name another pool (`payout.name`)"
        )


def check_same(pool: PoolRow, book: Book, known: StatementRow, posting: Posting) -> None:
    """Check that a posting repeats the amounts of its valuation, with or without the releases since then.

    Args:
        known: result of `Book.by`.

    Raises:
        LedgerConflict: the amounts differ.
    """
    requested = _by_kind(_entries(posting))
    if known.kind == "correction":  # it moved what was due, whatever had been paid before
        posted: Amounts = {("payment", name): money.paid for name, money in book.money.items()}
        same = _due(book.divided) == _due(money_by_contributor(_entries(posting)))
    else:
        posted = _by_kind(book.posted(known))
        same = requested in _forms(posted)
    if not same:
        raise LedgerConflict(
            f"a pool pays a valuation once; {label(pool)} has paid valuation {known.valuation[:12]} a total of "
            f"{formatted(_total(posted), pool.currency)}, but this posting pays "
            f"{formatted(_total(requested), posting.currency)}, or holds or carries over another amount. Name another "
            "pool (`payout.name`), or release held money (`royalty payout --release`)."
        )


def check_no_case(open_cases: Mapping[str, Iterable[str]], contributors: Iterable[str]) -> None:
    """Check that no open case holds the money of these contributors.

    Raises:
        LedgerConflict: one does.
    """
    for name in contributors:
        for case in open_cases.get(name, ()):
            raise LedgerConflict(
                f"money in an open case waits for its decision: case {case} holds that of {name!r}. Nothing was "
                f"posted; decide it (`royalty case decide {case}`)"
            )


def _entries(posting: Posting) -> list[Entry]:
    return [Entry(kind, name, posting.valuation, amount) for kind, name, amount in posting.entries]


def _by_kind(entries: Iterable[AnyEntry]) -> Amounts:
    """Minor units by kind and contributor, without the pool's own."""
    return {(entry.kind, entry.contributor): entry.amount_minor for entry in entries if entry.contributor != HOUSE}


def _forms(posted: Amounts) -> tuple[Amounts, Amounts]:
    """A division as it was posted; and as dividing again after releases gives it: who was released is paid."""
    released = {name: amount for (kind, name), amount in posted.items() if kind == "release"}
    taxed = {(kind, name): amount for (kind, name), amount in posted.items() if kind == "withheld" and name in released}
    original = {
        key: amount for key, amount in posted.items() if key[0] not in ("release", "held-release") and key not in taxed
    }
    held = {key: amount for key, amount in original.items() if key[0] != "held" or key[1] not in released}
    return original, held | taxed | {("payment", name): amount for name, amount in released.items()}


def _due(money: Mapping[str, Money]) -> dict[str, int]:
    return {name: amounts.due for name, amounts in money.items() if name != HOUSE and amounts.due}


def _total(entries: Amounts) -> int:
    return sum(amount for (kind, _), amount in entries.items() if kind == "payment")
