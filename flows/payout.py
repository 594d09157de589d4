"""Pay contributors by the credit of a run: once, whoever asks how often."""

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
from royalty.tasks.pay.remarks import remarks
from royalty.tasks.pay.statements import ExportName, read_statement, terms_of_run, write_payout


@dataclass(frozen=True)
class PayoutResult:
    """What was paid, or by a dry run would be.

    Attributes:
        run: whose credit it is.
        statement: of the ledger; None if nothing was posted.
        rows: `payout.csv` as records, highest credit first; of a release, who was paid what.
        notes: who is paid another amount than the policy alone gives, and what else a person should look at.
        checks: what the payout would be if two contributors were one person, or one were two.
        files: what was written.
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
    """Divide a pool by the credit of a run, and post it; or release what the pool holds.

    Args:
        credit: name of a run, or the digest of its credit table.
        config: by default the run's own.
        release: contributors whose held money is paid now.
        replace: what the pool paid by another run's credit is taken back.
        dry_run: show the division, and post nothing.
        export: a payment file to write besides.

    Raises:
        InputError: there is no such credit here, or it does not pass the gates or the terms; nothing is posted.
        LedgerConflict: the ledger holds something else.
    """
    check_home(settings().root)
    run, credited = find_credit(credit)
    source, run_terms = terms_of_run(run)
    terms = config or run_terms
    pool = terms.name or run
    payees = load_payees(terms, source)
    if release:
        statement = release_held(pool, terms, release)
        posted = read_statement(statement)
        paid = [
            {"contributor": name, "amount": f"{terms.major_units(amount):f}"} for name, amount in posted.paid.items()
        ]
        files = write_payout(posted, paid, terms, payees, export)
        return PayoutResult(run, pool, terms.period, terms.currency, statement, paid, [], [], files)
    division = pay(credited, terms, pool, payees=payees, source=run, replace_other_runs=replace, post=not dry_run)
    if division.outputs.refusal:
        raise InputError(f"nothing was paid from the pool {pool!r}: {division.outputs.refusal}")
    rows, files = division.outputs.rows, []
    if division.statement is not None:  # a dry run posts none
        files = write_payout(read_statement(division.statement), rows, terms, payees, export)
    return PayoutResult(
        run=run,
        pool=pool,
        period=terms.period,
        currency=terms.currency,
        statement=division.statement,
        rows=rows,
        notes=remarks(division, terms),
        checks=check_identities(run, credited, terms),
        files=files,
    )
