"""What a posting changes, in words and tables: for the terminal, Prefect's pages and a scheduled run's log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from royalty.infra.ledger.change import TOTALS, PoolChange
from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import Posted
from royalty.infra.wording import counted

HEADINGS = ("Contributor", "Paid before", "Paid after", "Gets now", "Held", "On account")


def sentences(change: PoolChange) -> Iterator[str]:
    """What a posting replaces, repeats or corrects; who gets and who gives back how much; and totals by kind."""
    if change.repeats is not None:
        yield f"This division is posted: paid on {change.repeats.created_at[:10]} by statement {change.repeats.id}."
        yield "Posting it again changes nothing."
    if change.replaces is not None:
        yield _replaced(change, change.replaces)
    if change.returns:
        yield "The pool returns to a credit table that it was divided by before."
    for statement in change.elsewhere:
        amount = formatted(statement.amount, statement.currency) if statement.kind == "division" else "a correction"
        place = f"{_label(statement)}, statement {statement.id} of {statement.created_at[:10]}, {amount}."
        yield (
            f"The same credit was divided before: {place} Posting this pays it again."
            if change.repeats is None
            else f"The same credit was divided also: {place}"
        )
    if change.repeats is None:
        yield from _movements(change)


def changed_rows(change: PoolChange) -> list[tuple[str, ...]]:
    """A row for each contributor whose money changes, under `HEADINGS`; amounts as text with the currency's sign."""

    def money(amount: int, sign: str = "") -> str:
        return (sign if amount > 0 else "") + formatted(amount, change.currency)

    def pair(before: int, after: int) -> str:
        return money(after) if before == after else f"{money(before)} → {money(after)}"

    return [
        (
            row.contributor,
            money(row.before.paid),
            money(row.after.paid),
            money(row.gets, "+"),
            pair(row.before.held, row.after.held),
            pair(row.before.account, row.after.account),
        )
        for row in change.people
        if row.before != row.after
    ]


def _replaced(change: PoolChange, replaced: Posted) -> str:
    paid = f"statement {replaced.id} of {replaced.created_at[:10]}, by credit {replaced.valuation[:12]}"
    run = f" of run {replaced.source}" if replaced.source else ""
    if not changed_rows(change):
        verb = "Corrects" if change.kind == "correction" else "Replaces"
        return f"{verb} {paid}{run}. Nobody's amount changes."
    if change.kind == "correction":
        return f"Corrects {paid}{run}. What was paid stays; the next payouts pay or withhold the differences."
    return f"Replaces {paid}{run}: all that it moved is reversed, with its releases and corrections."


def _movements(change: PoolChange) -> Iterator[str]:
    getting = [row for row in change.people if row.gets > 0]
    losing = change.taken_back
    if getting:
        yield f"To be paid out: {_sum(change, [row.gets for row in getting], 'to')}."
    if losing and change.kind == "correction":
        yield f"Withheld by later payouts: {_sum(change, list(losing.values()), 'from')}."
    elif losing:
        yield f"Taken back: {_sum(change, list(losing.values()), 'from')}."
    before, after = change.totals
    parts = [
        f"{title} {_pair(change, then, now)}"
        for title, then, now in zip(TOTALS.values(), before.parts, after.parts, strict=True)
        if then or now
    ]
    yield f"Totals after posting: {', '.join(parts) or 'nothing is paid'}."


def _pair(change: PoolChange, before: int, after: int) -> str:
    now = formatted(after, change.currency)
    return now if before == after or change.replaces is None else f"{formatted(before, change.currency)} → {now}"


def _sum(change: PoolChange, amounts: Sequence[int], direction: str) -> str:
    """A sum, `to` or `from` so many contributors."""
    return f"{formatted(sum(amounts), change.currency)} {direction} {counted(len(amounts), 'contributor')}"


def _label(statement: Posted) -> str:
    return f"pool {statement.pool}" + (f" of {statement.period}" if statement.period else "")
