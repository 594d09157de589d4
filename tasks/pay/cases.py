"""Cases as commands and flows use them: evidence is stored, decisions are written out, and each has a page."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from royalty.infra.audit.receipts import Receipts, as_text
from royalty.infra.ledger.cases import Award, Case, Evidence, Outcome
from royalty.infra.ledger.decisions import held_by
from royalty.infra.ledger.money import decimals_of
from royalty.infra.ledger.postings import LedgerConflict, Posted
from royalty.infra.pages.case_rows import CaseRow
from royalty.infra.pages.cases import CasePage, render_case
from royalty.infra.pages.language import Language
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.workspace import Workspace, notary
from royalty.models.base.errors import InputError
from royalty.models.data.names import person_name
from royalty.models.data.teams import people
from royalty.tasks.attribution.withdrawing import indexed_contributors
from royalty.tasks.pay.holds import check_released
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.payment_files import ExportName, check_export
from royalty.tasks.pay.statements import terms_of_run, write_payout

LARGEST_EVIDENCE = 64 * 2**20
"""Bytes of one file of evidence; larger ones stay where they are, and their digest is given in words."""


def store_evidence(space: Workspace, files: Sequence[Path]) -> list[Evidence]:
    """Store files of evidence by their digests.

    Raises:
        InputError: a file cannot be read, or is too large.
    """
    stored = []
    for file in files:
        if not file.is_file():
            raise InputError(f"evidence is a file, and {file} is none; correct the path")
        if (size := file.stat().st_size) > LARGEST_EVIDENCE:
            raise InputError(
                f"a file of evidence has at most {LARGEST_EVIDENCE // 2**20} MiB, and {file} has {size / 2**20:.0f}; "
                "keep it elsewhere, and give its address and SHA-256 as a message"
            )
        try:
            payload = file.read_bytes()
        except OSError as error:
            raise InputError(f"evidence is read, and {file} cannot be: {error.strerror}") from error
        stored.append(Evidence(file.name, space.artifacts.put(payload), len(payload)))
    return stored


def checked_contributors(space: Workspace, names: Sequence[str]) -> list[str]:
    """Names of contributors whom a case may hold money of.

    Raises:
        InputError: none is given, or one is in no credit table, no statement and no index.
    """
    wanted = [person_name("--contributor", name) for name in names]
    if not wanted:
        raise InputError("a case holds money of contributors, and none is named; give `--contributor NAME`")
    known = _known_contributors(space)
    if known and (unknown := [name for name in wanted if name not in known]):
        raise InputError(
            f"a case is about contributors of this home, and {', '.join(map(repr, unknown))} has neither credit nor "
            f"money in it, and no image in an index; there are {', '.join(sorted(known)[:20])}"
        )
    return wanted


def _known_contributors(space: Workspace) -> set[str]:
    """Everybody whom the latest credit of a run, a statement or an index names."""
    from royalty.tasks.credit.estimate import credited_contributors

    known = set(people(credited_contributors(space))) | indexed_contributors(space)
    for posted in space.ledger.statements():
        known |= {*posted.paid, *posted.held, *posted.accounts}
    return known


def checked_deadline(text: str) -> str:
    """A date as YYYY-MM-DD, or empty.

    Raises:
        InputError: it is no date, or past.
    """
    if not text:
        return ""
    try:
        deadline = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"a deadline is a date, YYYY-MM-DD, got {text!r}; correct it") from None
    if deadline < today():
        raise InputError(f"a deadline is today, {today()}, or later, got {deadline}; set a later one")
    return deadline.isoformat()


def parse_award(text: str, case: Case, currency: str) -> Award:
    """An award, written `TAKER=AMOUNT` or, if the case is about several contributors, `GIVER:TAKER=AMOUNT`.

    Raises:
        InputError: it is not written so, or the amount is not one of the currency.
    """
    people, equals, written = text.rpartition("=")
    giver, colon, taker = people.rpartition(":")
    if not colon and len(case.contributors) == 1:
        giver = case.contributors[0]
    digits = decimals_of(currency)
    try:
        amount = Decimal(written)
    except InvalidOperation:
        amount = Decimal("nan")
    if not (equals and giver and taker and amount.is_finite() and amount == round(amount, digits)):
        raise InputError(
            f"an award is written TAKER=AMOUNT, or GIVER:TAKER=AMOUNT in a case about several contributors, with an "
            f"amount of at most {digits} decimals; got {text!r}"
        )
    return Award(person_name("--award", giver), person_name("--award", taker), int(amount.scaleb(digits)), currency)


def case_rows(cases: Sequence[Case], contributors: Collection[str]) -> tuple[CaseRow, ...]:
    """The cases about any of these contributors, as pages list them."""
    own = [case for case in cases if not {*case.contributors}.isdisjoint(people(contributors))]
    return tuple(CaseRow.of(case, case.state(today())) for case in own)


def write_case(space: Workspace, case: Case, language: Language) -> Path:
    """Write the page of a case, `cases/ID.html` in the home."""
    held = [
        (name, pool, language.money(minor, currency))
        for (name, pool, currency), minor in held_by(space.ledger, case).items()
    ]
    missing = [file.name for file in case.evidence if not space.artifacts.holds(file.digest)]
    page = CasePage(case, case.state(today()), tuple(held), tuple(missing))
    path = space.root / "cases" / f"{re.sub('[^0-9a-f]', '', case.id)}.html"
    write_whole(path, render_case(page, language).encode())
    return path


def sign_decision(space: Workspace, case: Case) -> Path:
    """Write the signed receipt of a decision, `cases/ID.json` in the home, and those that an interruption left out.

    Raises:
        LedgerConflict: the case is not decided.
        StoreError: it cannot be signed or written.
    """
    if case.decision is None:
        raise LedgerConflict(f"a decision is signed once it is made, and case {case.id} is open; decide it")
    receipts = Receipts(notary(settings()))
    receipts.write_missing(space.acts.all())
    path = space.root / "cases" / f"{re.sub('[^0-9a-f]', '', case.id)}.json"
    write_whole(path, as_text(receipts.write(case.decision)))
    return path


def currency_of(space: Workspace, case: Case) -> str:
    """The currency of the money that a case holds.

    Raises:
        InputError: it holds none, or money in several currencies.
    """
    units = {currency for _, _, currency in held_by(space.ledger, case)}
    if len(units) != 1:
        raise InputError(
            f"an award has a currency, and the case holds money in {', '.join(sorted(units)) or 'none'}; give "
            "`--currency`"
        )
    return units.pop()


def check_release(space: Workspace, case: Case, outcome: Outcome, export: ExportName | None) -> None:
    """Check, before a decision, that those whom it pays passed the checks, and that payment files can be written."""
    if outcome != "release":
        return
    for posted in _divisions_holding(space, case):
        source, terms = terms_of_run.fn(posted.source or posted.pool)
        terms = terms.model_copy(update={"currency": posted.currency})
        payees, released = load_payees(terms, source), sorted(set(case.contributors) & set(posted.held))
        check_released(terms, payees, released)
        if export is not None:
            check_export.fn(export, terms, payees, released)


def _divisions_holding(space: Workspace, case: Case) -> list[Posted]:
    names = set(case.contributors)
    return [posted for posted in space.ledger.verified_statements() if posted.active and names & set(posted.held)]


def write_decision(posted: Posted, export: ExportName | None) -> tuple[list[str], list[str]]:
    """Write the files of the statement of a decision; see `royalty.tasks.pay.statements.write_payout`."""
    source, terms = terms_of_run.fn(posted.source or posted.pool)
    terms = terms.model_copy(update={"currency": posted.currency})
    names = sorted({*posted.paid, *posted.held, *posted.accounts})
    rows = [
        {
            "contributor": name,
            "amount": f"{terms.major_units(posted.paid.get(name, 0)):f}",
            "held": f"{terms.major_units(posted.held.get(name, 0)):f}",
            "account": f"{terms.major_units(posted.accounts.get(name, 0)):f}",
            "currency": posted.currency,
        }
        for name in names
    ]
    return write_payout.fn(posted, rows, terms, load_payees(terms, source), export)


def today() -> date:
    return datetime.now(UTC).date()
