"""Pay contributors by credit and by use; repeated calls pay once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_payout_config
from royalty.flows.mistakes import explained
from royalty.flows.payout import PayoutResult, settle
from royalty.infra.ledger.change import TakesBack
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.config.payout import ApprovalConfig, PayoutConfig, UseConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource
from royalty.tasks.credit.estimate import Credited, find_credit
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.payment_files import ExportName, check_export, other_payments
from royalty.tasks.pay.periods import in_period
from royalty.tasks.pay.remarks import remarks
from royalty.tasks.pay.statements import read_statement, terms_of_run, write_payout
from royalty.tasks.pay.usage import by_use, join_use, read_usage


@flow(name="payout-by-use", flow_run_name="payout by use of {model}")
@explained
def payout_by_use(
    usage: str,
    model: str,
    config: PayoutConfig | Mapping[str, Any] | str | None = None,
    *,
    version: str = "1",
    credit: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    export: ExportName | None = None,
    accept_uncertainty: bool = False,
) -> PayoutResult:
    """Divide a pool by credit and by what a model generated in a period, and post the division.

    Args:
        usage: `log`, for the log of the attribution service; or a CSV or Parquet file of generations.
        model, version: the model that generated, and whose index attributes images of a file.
        config: terms of the payout with `use`; the run's terms by default.
        credit: name of a run, or the digest of its credit table, for the training part; None if there is no such part.
        replace, dry_run, export, accept_uncertainty: see `royalty.flows.payout.payout`.

    Raises:
        InputError: use or credit are unknown or do not pass the terms; nothing is posted.
        TakesBack, LedgerConflict: see `royalty.flows.payout.payout`.
    """
    check_home(settings().root)
    run: str | None = None
    agreed: ApprovalConfig | None = None
    credited: Credited | None = None
    source: EmbeddedSource | FileSource | None = None
    terms = PayoutConfig() if config is None else as_payout_config(config)
    if credit is not None:
        run, credited = find_credit(credit)
        source, run_terms = terms_of_run(run)
        agreed = run_terms.approval
        terms = run_terms if config is None else terms
    terms = in_period(terms.accepting_uncertainty(accept_uncertainty))
    if not terms.period:
        raise InputError("use is counted in a period, and the terms have none; set `period`, such as 2026-05")
    if terms.use is None:
        terms = terms.model_copy(update={"use": UseConfig()})
    pool, of = terms.name or run or model, run or f"use of {model}"
    payees = load_payees(terms, source)
    check_export(export, terms, payees, ())
    divided_by = by_use(terms)
    used = read_usage(usage, model, version, terms.period or "", credited)
    joined = join_use(used, credited, terms)
    terms = divided_by
    division = settle(
        joined,
        terms,
        pool,
        payees=payees,
        source=of,
        posting=not dry_run,
        replace=replace,
        agreed=agreed,
        waits=False,
    )
    if division.outputs.refusal:
        reason = f"nothing was paid from the pool {pool!r}: {division.outputs.refusal}"
        raise TakesBack(reason) if division.change and division.change.needs_agreement else InputError(reason)
    files = list[str]()
    notes = [*([division.unposted] if division.unposted else []), *remarks(division, terms), *division.remarks]
    counted = used.outputs
    notes.append(
        f"{counted.generations} generations in {terms.period}, {counted.attributed} of them attributed; "
        f"{joined.outputs.unattributed:.1%} of their revenue is not attributable and goes to "
        f"`{terms.use.unattributable if terms.use else ''}`"
    )
    if dry_run and division.change is not None:
        notes += other_payments({row.contributor: row.gets for row in division.change.people}, terms, payees, export)
    rows = division.outputs.rows
    if division.statement is not None and not dry_run:
        written = [*rows, *division.outputs.departed]
        files, unbanked = write_payout(read_statement(division.statement), written, terms, payees, export)
        notes += unbanked
    return PayoutResult(
        run=of,
        pool=pool,
        period=terms.period,
        currency=terms.currency,
        statement=division.statement,
        change=division.change,
        rows=rows,
        departed=division.outputs.departed,
        notes=notes,
        checks=[],
        files=files,
    )
