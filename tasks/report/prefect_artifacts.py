"""Prefect artifacts of a flow run: the table of credit and payouts, a link to the report, and summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.contributors import INDEX
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.headline import headline
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.report.track import escaped


def show_in_prefect(name: str, payout: PayoutConfig, division: DividedPool, folder: Path) -> None:
    """Attach the payout table and the link to the current flow run; does nothing outside a flow run."""
    if FlowRunContext.get() is None:
        return
    key = _key(name)
    refusal = division.outputs.refusal
    outcome = f"Nothing is paid: {escaped(refusal)}" if refusal else f"Statement `{division.statement}`"
    first = escaped(str(headline(division.outputs.rows)))
    rows = [table_row(row, payout) for row in division.outputs.rows]
    create_table_artifact(rows, key=f"payout-{key}", description=f"Credit and payouts of `{name}`. {first} {outcome}")
    link = (folder / INDEX).as_uri()
    create_link_artifact(link, link_text=f"Report of {name}", key=f"report-{key}", description=f"In `{folder}`.")


def show_summary(name: str, summary: str) -> None:
    """Attach the Markdown summary of a revaluation to the current flow run; does nothing outside a flow run."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(summary, key=f"revalue-{_key(name)}", description=f"What changed for `{name}`.")


def _key(name: str) -> str:
    """Convert the name of a run to the characters that artifact keys allow."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"


def table_row(row: Mapping[str, Any], payout: PayoutConfig) -> dict[str, Any]:
    """Format a row for Prefect's table. Cells are Markdown, so names, which are user input, are escaped."""
    return {
        "contributor": escaped(row["contributor"]),
        "rank": rank_text(row["rank_best"], row["rank_worst"]),
        "images": row["items"],
        "credit": f"{row['credit']:+.4f}",
        "interval": f"{row['ci_low']:+.4f} to {row['ci_high']:+.4f}",
        "amount": "none" if row["amount"] is None else f"{row['amount']} {payout.currency}",
    }
