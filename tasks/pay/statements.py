"""Read the terms of a run's payout and posted statements, and write the files of a payout."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import TypeAdapter

from royalty.infra.ledger.pain001 import Payments, Transfer, Version, credit_transfer
from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import canonical
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource, Source

ExportName = Literal["pain001", "pain001.03"]
VERSIONS: dict[ExportName, Version] = {"pain001": "pain.001.001.09", "pain001.03": "pain.001.001.03"}


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
) -> list[str]:
    """Write a statement as CSV, Parquet and JSON, and optionally as a payment file.

    Args:
        export: format of the payment file; None writes none.

    Returns:
        Paths of the files.
    """
    folder = open_workspace(settings()).root / "payouts" / posted.id
    table, parquet = pd.DataFrame(list(rows)), io.BytesIO()
    table.to_parquet(parquet, index=False)
    payloads = {
        "payout.csv": csv_bytes(table),
        "payout.parquet": parquet.getvalue(),
        "statement.json": canonical(asdict(posted)).encode(),
    }
    if export is not None:
        payloads["pain001.xml"] = credit_transfer(_payments(posted, config, payees), VERSIONS[export])
    for name, payload in payloads.items():
        write_whole(folder / name, payload)
    return [str(folder / name) for name in payloads]


def _payments(posted: Posted, config: PayoutConfig, payees: Mapping[str, Payee] | None) -> Payments:
    """Build the transfers of a statement: the increase of each contributor's payment over earlier statements.

    Raises:
        InputError: the debtor or the account of a contributor is missing, or there is nothing to transfer.
    """
    if config.debtor is None:
        raise InputError(
            "a payment file names the debtor, and none is set; set `payout.debtor`, or give `--debtor-name` and "
            "`--debtor-iban`"
        )
    due = {name: amount for name, amount in posted.moved.items() if amount > 0}
    accounts = payees or {}
    if without_account := [name for name in due if name not in accounts]:
        raise InputError(
            f"a payment file needs an account for each contributor; these have none: {', '.join(without_account)}. "
            "Add a column `payee` to `contributors.csv`, or set `payout.payees` to a file with that column"
        )
    if not due:
        raise InputError(
            f"a payment file needs a transfer, and statement {posted.id} pays nobody more; leave `--export` out"
        )
    subject = " ".join(filter(None, (posted.pool, posted.period)))
    return Payments(
        identity=posted.id,
        created_at=posted.created_at,
        execution_date=datetime.now(UTC).date(),
        currency=posted.currency,
        debtor_name=config.debtor.name,
        debtor_iban=config.debtor.iban,
        debtor_bic=config.debtor.bic,
        transfers=tuple(
            Transfer(
                f"{posted.id}-{index}", config.major_units(amount), accounts[name].name, accounts[name].account,
                accounts[name].has_iban, f"{subject}: {name}",
            )
            for index, (name, amount) in enumerate(sorted(due.items()), start=1)
        ),
    )  # fmt: skip
