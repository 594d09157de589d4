"""Checks of a posting: it repeats earlier amounts, and pays no more money than there is."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import HOUSE, LedgerConflict, Posting
from royalty.infra.ledger.verification import Book
from royalty.infra.stores.tables import PoolRow, StatementRow


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
    for kind, amounts in {"a payment": posting.amounts, "an amount held": posting.held}.items():
        if negative := next((name for name, amount in amounts.items() if amount < 0), None):
            raise LedgerConflict(
                f"a pool pays no negative amounts: {negative!r} would have {kind} of "
                f"{formatted(amounts[negative], posting.currency)}. Nothing was posted; divide the pool again"
            )
    spent = sum(posting.amounts.values()) + sum(posting.held.values()) + max(posting.reserve, 0)
    pool, brought = posting.gross, sum(max(amount, 0) for amount in accounts.values())
    if spent > pool + brought:
        money = [formatted(amount, posting.currency) for amount in (spent, pool, brought)]
        raise LedgerConflict(
            f"a pool pays no more than it and its contributors' accounts contain: {money[0]} would be paid, held or "
            f"kept, of a pool of {money[1]} and accounts of {money[2]}. Nothing was posted; divide the pool again"
        )


def check_same(pool: PoolRow, book: Book, known: StatementRow, posting: Posting) -> None:
    """Check that a posting repeats the amounts of its valuation, with or without the releases since then.

    Raises:
        LedgerConflict: the amounts differ, or another valuation has replaced this one.
    """
    posted = {
        (entry.kind, entry.contributor): entry.amount_minor
        for entry in book.posted(known.valuation)
        if entry.contributor != HOUSE
    }
    released = {name: posted.pop(("release", name)) for kind, name in list(posted) if kind == "release"}
    original = {key: amount for key, amount in posted.items() if key[0] != "held-release"}
    # After a release, dividing the pool again pays the released contributors instead of holding their money.
    unreleased = {key: amount for key, amount in original.items() if key[0] != "held" or key[1] not in released}
    current = unreleased | {("payment", name): amount for name, amount in released.items()}
    requested = {(kind, name): amount for kind, name, amount in posting.entries if name != HOUSE}
    if requested not in (original, current):
        raise LedgerConflict(
            f"a pool pays a valuation once; {label(pool)} has paid valuation {known.valuation[:12]} a total of "
            f"{formatted(_total(original), pool.currency)}, but this posting pays "
            f"{formatted(_total(requested), posting.currency)}, or holds or carries over another amount. Name another "
            "pool (`payout.name`), or release held money (`royalty payout --release`)."
        )
    latest = book.latest
    if latest is not None and latest.id != known.id:
        raise LedgerConflict(
            f"pool {label(pool)} paid valuation {known.valuation[:12]} and has since replaced it by "
            f"{latest.valuation[:12]}; to pay the earlier one again, name another pool (`payout.name`)."
        )


def _total(entries: Mapping[tuple[str, str], int]) -> int:
    return sum(amount for (kind, _), amount in entries.items() if kind == "payment")
