"""What the ledger asks of a posting: the amounts it posted before, and no more money than there is."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import HOUSE, LedgerConflict, Posting
from royalty.infra.ledger.verification import Book
from royalty.infra.stores.tables import Pool, Statement


def named(pool: Pool) -> str:
    return repr(pool.name) + (f" of {pool.period}" if pool.period else "")


def check_covered(posting: Posting, accounts: Mapping[str, int]) -> None:
    """Check that a posting pays, holds and keeps no more than the pool and what contributors have on accounts.

    Args:
        accounts: minor units by contributor, from verified statements; negative is owed, and pays nobody.

    Raises:
        LedgerConflict: it gives more, or a negative amount.
    """
    for kind, amounts in {"a payment": posting.amounts, "an amount held": posting.held}.items():
        if negative := next((name for name, amount in amounts.items() if amount < 0), None):
            raise LedgerConflict(
                f"a pool pays nothing negative, and {negative!r} is to have {kind} of "
                f"{formatted(amounts[negative], posting.currency)}. Nothing was posted; divide the pool again"
            )
    out = sum(posting.amounts.values()) + sum(posting.held.values()) + max(posting.reserve, 0)
    pool, brought = posting.given, sum(max(amount, 0) for amount in accounts.values())
    if out > pool + brought:
        money = [formatted(amount, posting.currency) for amount in (out, pool, brought)]
        raise LedgerConflict(
            f"a pool pays no more than it holds and its contributors have on accounts: {money[0]} is to be paid, held "
            f"or kept, of a pool of {money[1]} and accounts of {money[2]}. Nothing was posted; divide the pool again"
        )


def check_same(pool: Pool, book: Book, known: Statement, posting: Posting) -> None:
    """Check that a valuation is asked to pay what it paid, what was released since included or not.

    Raises:
        LedgerConflict: it is not, or another one has replaced it.
    """
    posted = {
        (entry.kind, entry.contributor): entry.amount_minor
        for entry in book.posted(known.valuation)
        if entry.contributor != HOUSE
    }
    since = {name: posted.pop(("release", name)) for kind, name in list(posted) if kind == "release"}
    then = {key: amount for key, amount in posted.items() if key[0] != "held-release"}
    now_held = {key: amount for key, amount in then.items() if key[0] != "held" or key[1] not in since}
    effective = now_held | {("payment", name): amount for name, amount in since.items()}
    asked = {(kind, name): amount for kind, name, amount in posting.entries if name != HOUSE}
    if asked not in (then, effective):
        raise LedgerConflict(
            f"a pool pays a valuation once; {named(pool)} has paid valuation {known.valuation[:12]} a total of "
            f"{formatted(_total(then), pool.currency)}, and is asked to pay it "
            f"{formatted(_total(asked), posting.currency)}, or to hold or carry over another amount. Name another pool "
            "(`payout.name`), or release what is held (`royalty payout --release`)."
        )
    latest = book.latest
    if latest is not None and latest.id != known.id:
        raise LedgerConflict(
            f"pool {named(pool)} paid valuation {known.valuation[:12]} and has since replaced it by "
            f"{latest.valuation[:12]}; to pay the earlier one again, name another pool (`payout.name`)."
        )


def _total(entries: Mapping[tuple[str, str], int]) -> int:
    return sum(amount for (kind, _), amount in entries.items() if kind == "payment")
