"""Pay contributors by the credit of a run; repeated calls pay once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import flow

from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import find_credit
from royalty.tasks.pay.division import pay, release_held
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.payment_files import ExportName, check_export
from royalty.tasks.pay.remarks import remarks
from royalty.tasks.pay.statements import read_statement, terms_of_run, write_payout


@dataclass(frozen=True)
class PayoutResult:
    """What was paid, or would be paid without the dry run.

    Attributes:
        run: the run that the credit comes from.
        statement: ID of the ledger statement; None if nothing was posted.
        rows: `payout.csv` as records, highest credit first; for a release, the contributors and amounts paid.
        notes: contributors whose amount differs from what the policy alone gives, and other remarks to review.
        checks: what the payout would be if two contributors were one person, or one were two.
        files: paths of the files written.
    """

    run: str
    pool: str
    period: str | None
    currency: str
    statement: str | None
    rows: list[dict[str, Any]]
    notes: list[str]
    checks: list[str]
    files: list[str]


@flow(name="payout")
def payout(
    credit: str,
    config: PayoutConfig | None = None,
    *,
    release: Sequence[str] = (),
    replace: bool = False,
    dry_run: bool = False,
    export: ExportName | None = None,
) -> PayoutResult:
    """Divide a pool by the credit of a run and post the division; or release held money.

    Args:
        credit: name of a run, or the digest of its credit table.
        config: terms of the payout; the run's terms by default.
        release: contributors whose held money is paid now.
        replace: reverse what the pool paid on another run's credit.
        dry_run: return the division without posting it.
        export: also write payment files, with transfers in this format; see `royalty.tasks.pay.payment_files`.

    Raises:
        InputError: the credit is unknown, or does not pass the gates or the terms, or a payment file cannot be written;
            nothing is posted.
        LedgerConflict: the posting contradicts what the ledger holds.
    """
    check_home(settings().root)
    run, credited = find_credit(credit)
    source, run_terms = terms_of_run(run)
    terms = config or run_terms
    pool = terms.name or run
    payees = load_payees(terms, source)
    check_export(export, terms, payees, release)
    if release:
        statement = release_held(pool, terms, release)
        posted = read_statement(statement)
        paid = [
            {"contributor": name, "amount": f"{terms.major_units(amount):f}"} for name, amount in posted.paid.items()
        ]
        files, notes = write_payout(posted, paid, terms, payees, export)
        return PayoutResult(run, pool, terms.period, terms.currency, statement, paid, notes, [], files)
    division = pay(credited, terms, pool, payees=payees, source=run, replace_other_runs=replace, post=not dry_run)
    if division.outputs.refusal:
        raise InputError(f"nothing was paid from the pool {pool!r}: {division.outputs.refusal}")
    rows, files = division.outputs.rows, list[str]()
    unbanked: list[str] = []
    if division.statement is not None:  # a dry run posts none
        files, unbanked = write_payout(read_statement(division.statement), rows, terms, payees, export)
    return PayoutResult(
        run=run,
        pool=pool,
        period=terms.period,
        currency=terms.currency,
        statement=division.statement,
        rows=rows,
        notes=[*remarks(division, terms), *unbanked],
        checks=check_identities(run, credited, terms),
        files=files,
    )
