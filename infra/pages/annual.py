"""The annual statement of a contributor: a page to print, plain text, and a message with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from email.message import EmailMessage
from textwrap import fill

from royalty.infra.ledger.balances import Balance, Movement
from royalty.infra.ledger.change import Money
from royalty.infra.ledger.money import formatted
from royalty.infra.pages.report import environment

KINDS = {
    "division": "division",
    "replacement": "replacement of an earlier division",
    "correction": "correction",
    "release": "release of held money",
    "decision": "decision of a case",
}
"""How kinds of movements are called."""
PARTS = {
    "earned": "Earned",
    "paid": "Paid",
    "withheld": "Withheld as tax",
    "held": "Held",
    "unclaimed": "Unclaimed: no account to pay to",
    "carried": "Carried to the next payout",
    "owed": "Owed",
}
"""Parts of a balance, and how they are called."""
NO_ADVICE = "This statement lists payments and tax withheld. It is no tax advice, and no form of a tax authority."
WIDTH = 72


@dataclass(frozen=True)
class CurrencyYear:
    """A year in one currency.

    Attributes:
        opening, closing: balances at the beginning and the end of the year.
        movements: of the year, in the order of posting.
        converted: payments made in another currency: day, amount in it, and rate.
    """

    currency: str
    opening: Balance
    closing: Balance
    movements: tuple[Movement, ...]
    converted: tuple[tuple[str, Decimal, str, str], ...] = ()

    @property
    def total(self) -> Money:
        whole = Money()
        for move in self.movements:
            whole += move.money
        return whole

    def money(self, minor: int) -> str:
        return formatted(minor, self.currency)

    def parts(self) -> list[tuple[str, str, str, str]]:
        """Name of each part of the balance, and its amount at the beginning, in the year, and at the end.

        Parts that are zero throughout are left out, except what was earned and paid.
        """
        rows = []
        for part, title in PARTS.items():
            before, after = getattr(self.opening, part), getattr(self.closing, part)
            if before or after or part in ("earned", "paid"):
                rows.append((title, self.money(before), self.money(after - before), self.money(after)))
        return rows

    def rows(self) -> list[tuple[str, str, str, str, str, str, str, str]]:
        """Day, pool, kind, and amounts earned, paid, withheld, held and on account, for each movement."""
        return [
            (move.day, move.pool, KINDS.get(move.kind, move.kind), *self._amounts(move.money))
            for move in self.movements
        ]

    def _amounts(self, money: Money) -> tuple[str, str, str, str, str]:
        minors = money.due, money.paid, money.withheld, money.held, money.account
        first, *others = (self.money(minor) if minor else "" for minor in minors)
        return first or self.money(0), others[0], others[1], others[2], others[3]

    def sums(self) -> tuple[str, str, str, str, str]:
        """Totals of the amounts of `rows`."""
        return self._amounts(self.total)


@dataclass(frozen=True)
class AnnualStatement:
    """A year of one contributor.

    Attributes:
        payer: who pays; empty if it is not known.
        facts: of the payee: name and text, such as the country and the tax form.
        head: hash of the last statement of the ledger, which says on which records this rests.
    """

    contributor: str
    name: str
    year: int
    payer: str
    facts: tuple[tuple[str, str], ...]
    currencies: tuple[CurrencyYear, ...]
    head: str
    created_at: str


def render_annual(statement: AnnualStatement) -> str:
    """Render the page as one HTML file without external resources, to be read and printed."""
    return environment().get_template("annual.html.j2").render(statement=statement, no_advice=NO_ADVICE)


def annual_text(statement: AnnualStatement) -> str:
    """The statement as plain text in lines of at most 72 characters, for the body of a message."""
    lines = [f"Statement for {statement.year}: {statement.name}", ""]
    lines += [f"{title}: {text}" for title, text in (("Payer", statement.payer), *statement.facts) if text]
    for year in statement.currencies:
        lines += ["", f"{year.currency}", "-" * len(year.currency)]
        for title, before, within, after in year.parts():
            lines += [f"{title}:", f"    {before} at the start, {within} in {statement.year}, {after} at the end"]
        lines += ["", "What was posted:"]
        titles = ("earned", "paid", "withheld", "held", "on account")
        for day, pool, kind, *amounts in year.rows():
            moved = "; ".join(f"{title} {amount}" for title, amount in zip(titles, amounts, strict=True) if amount)
            lines += [f"{day}  {pool}, {kind}", f"    {moved}"]
        lines += [f"{day}  paid as {amount:f} {unit} at {rate}" for day, amount, unit, rate in year.converted]
    lines += ["", NO_ADVICE, f"Ledger: {statement.head}"]
    return "\n".join(_wrapped(lines)) + "\n"


def annual_message(statement: AnnualStatement) -> bytes:
    """A message with the text and the page, without an address, to be sent by a mail program."""
    message = EmailMessage()
    message["Subject"] = f"Your statement for {statement.year}"
    message.set_content(annual_text(statement))
    message.add_alternative(render_annual(statement), subtype="html")
    return message.as_bytes()


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [
        fill(line, WIDTH, subsequent_indent=" " * (4 + len(line) - len(line.lstrip())), break_on_hyphens=False)
        for line in lines
    ]
