"""Pay contributors by credit and by use; repeated calls pay once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_payout_config
from royalty.flows.mistakes import explained
from royalty.flows.payout import PayoutResult, paid_out, settle
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.config.payout import ApprovalConfig, PayoutConfig, UseConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource
from royalty.tasks.credit.estimate import Credited, find_credit
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.payment_files import ExportName, check_export
from royalty.tasks.pay.periods import in_period
from royalty.tasks.pay.statements import terms_of_run
from royalty.tasks.pay.usage import by_use, join_use, read_usage, source_of_use


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

    If the terms have rules of approval, the posting waits for a second person as one by credit does.

    Raises:
        InputError: use or credit are unknown or do not pass the terms; nothing is posted.
        TakesBack, LedgerConflict: see `royalty.flows.payout.payout`.
    """
    check_home(settings())
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
        export=export,
        agreed=agreed,
        suspends=True,
        call={"usage": source_of_use(usage), "model": model, "version": version, "credit": credit},
    )
    result = paid_out(division, terms, of, pool, payees=payees, export=export, dry_run=dry_run)
    counted = used.outputs
    use = (
        f"{counted.generations} generations in {terms.period}, {counted.attributed} of them attributed; "
        f"{joined.outputs.unattributed:.1%} of their revenue is not attributable and goes to "
        f"`{terms.use.unattributable if terms.use else ''}`"
    )
    return dataclasses.replace(result, notes=[*result.notes, use])
