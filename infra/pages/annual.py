"""The annual statement of a contributor: a page to print, plain text, and a message with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from email.message import EmailMessage
from textwrap import fill

from royalty.infra.ledger.balances import Balance, Movement
from royalty.infra.ledger.change import Money
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import environment

PARTS = ("earned", "paid", "withheld", "held", "unclaimed", "carried", "owed")
"""Parts of a balance."""
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

    def parts(self, language: Language) -> list[tuple[str, str, str, str]]:
        """Name of each part of the balance, and its amount at the beginning, in the year, and at the end.

        Parts that are zero throughout are left out, except what was earned and paid.
        """
        rows = []
        for part in PARTS:
            before, after = getattr(self.opening, part), getattr(self.closing, part)
            if before or after or part in ("earned", "paid"):
                at_start, within, at_end = (
                    language.money(minor, self.currency) for minor in (before, after - before, after)
                )
                rows.append((language.text(f"part_{part}"), at_start, within, at_end))
        return rows

    def rows(self, language: Language) -> list[tuple[str, str, str, str, str, str, str, str]]:
        """Day, pool, kind, and amounts earned, paid, withheld, held and on account, for each movement."""
        return [
            (move.day, move.pool, language.text(f"kind_{move.kind}"), *self._amounts(move.money, language))
            for move in self.movements
        ]

    def _amounts(self, money: Money, language: Language) -> tuple[str, str, str, str, str]:
        minors = money.due, money.paid, money.withheld, money.held, money.account
        first, *others = (language.money(minor, self.currency) if minor else "" for minor in minors)
        return first or language.money(0, self.currency), others[0], others[1], others[2], others[3]

    def sums(self, language: Language) -> tuple[str, str, str, str, str]:
        """Totals of the amounts of `rows`."""
        return self._amounts(self.total, language)


@dataclass(frozen=True)
class AnnualStatement:
    """A year of one contributor.

    Attributes:
        payer: who pays; empty if it is not known.
        facts: of the payee, in the language of the page: name and text, such as the country and the tax form.
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


def render_annual(statement: AnnualStatement, language: Language) -> str:
    """Render the page as one HTML file without external resources, to be read and printed."""
    return environment().get_template("annual.html.j2").render(statement=statement, language=language, t=language.html)


def annual_text(statement: AnnualStatement, language: Language) -> str:
    """The statement as plain text in lines of at most 72 characters, for the body of a message."""
    t, numbered = language.text, statement.year
    lines = [t("text_title", year=numbered, name=statement.name), ""]
    lines += [f"{title}: {text}" for title, text in ((t("payer"), statement.payer), *statement.facts) if text]
    for year in statement.currencies:
        lines += ["", year.currency, "-" * len(year.currency)]
        for title, before, within, after in year.parts(language):
            lines += [f"{title}:", f"    {t('text_part', before=before, within=within, after=after, year=numbered)}"]
        lines += ["", t("text_posted")]
        names = ("text_earned", "text_paid", "text_withheld", "text_held", "text_account")
        for day, pool, kind, *amounts in year.rows(language):
            moved = "; ".join(t(name, amount=amount) for name, amount in zip(names, amounts, strict=True) if amount)
            lines += [f"{day}  {pool}, {kind}", f"    {moved}"]
        for day, amount, unit, rate in year.converted:
            numbers = {"amount": language.number(amount), "unit": unit, "rate": language.number(rate)}
            lines += [f"{day}  {t('text_converted', **numbers)}"]
    lines += ["", t("no_advice"), t("text_head", head=statement.head)]
    return "\n".join(_wrapped(lines)) + "\n"


def annual_message(statement: AnnualStatement, language: Language) -> bytes:
    """A message with the text and the page, without an address, to be sent by a mail program."""
    message = EmailMessage()
    message["Subject"] = language.text("subject", year=statement.year)
    message.set_content(annual_text(statement, language))
    message.add_alternative(render_annual(statement, language), subtype="html")
    return message.as_bytes()


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [
        fill(line, WIDTH, subsequent_indent=" " * (4 + len(line) - len(line.lstrip())), break_on_hyphens=False)
        for line in lines
    ]
