"""Read the terms of a run's payout and posted statements, and write the files of a payout."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from prefect.cache_policies import NO_CACHE
from pydantic import TypeAdapter

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import canonical
from royalty.infra.workspace import open_workspace
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource, Source
from royalty.tasks.pay.evidence import check_payees, check_rates, export_evidence
from royalty.tasks.pay.payment_files import OTHERS, TRANSFERS, ExportName, payment_files
from royalty.tasks.stages.task import task


@task(name="read terms of the run", cache_policy=NO_CACHE)
def terms_of_run(run: str) -> tuple[EmbeddedSource | FileSource, PayoutConfig]:
    """Image source and payout settings from the configuration of a run."""
    config = open_workspace(settings()).runs.config(run) or {}
    source: EmbeddedSource | FileSource = TypeAdapter(Source).validate_python(config.get("data", {"source": "digits"}))
    return source, PayoutConfig.model_validate(config.get("payout", {}))


@task(name="read statement", cache_policy=NO_CACHE)
def read_statement(identity: str) -> Posted:
    """Read a statement from the ledger, by its id."""
    return open_workspace(settings()).ledger.statement(identity)


@task(name="write payout", cache_policy=NO_CACHE)
def write_payout(
    posted: Posted,
    rows: Sequence[Mapping[str, Any]],
    config: PayoutConfig,
    payees: Mapping[str, Payee] | None,
    export: ExportName | None,
) -> tuple[list[str], list[str]]:
    """Write a statement as CSV, Parquet and JSON, and optionally as payment files.

    Args:
        export: format of the payment file; None writes none.

    Returns:
        Paths of the files, and remarks on payments that are not in the file for the bank.

    Raises:
        InputError: payment files are to be written, and an account or an exchange rate has changed since the statement
            was posted.
    """
    space = open_workspace(settings())
    folder = space.root / "payouts" / posted.id
    table, parquet = pd.DataFrame(list(rows)), io.BytesIO()
    table.to_parquet(parquet, index=False)
    payloads = {
        "payout.csv": csv_bytes(table),
        "payout.parquet": parquet.getvalue(),
        "statement.json": canonical(asdict(posted)).encode(),
    }
    remarks: list[str] = []
    if export is not None:
        check_payees(space, posted, payees)
        check_rates(space, posted, config, payees)
        files, remarks = payment_files(posted, config, payees, export)
        payloads |= files
        digests = {name: hashlib.sha256(payload).hexdigest() for name, payload in files.items()}
        if digests:  # recorded first: a file that the ledger does not know would be taken for a forged one
            space.ledger.record_export(posted.id, export_evidence(space, posted, payees, digests))
        for stale in {TRANSFERS, OTHERS} - set(files):  # of an earlier export, whose payments are in the other file now
            (folder / stale).unlink(missing_ok=True)
    for name, payload in payloads.items():
        write_whole(folder / name, payload)
    return [str(folder / name) for name in payloads], remarks
