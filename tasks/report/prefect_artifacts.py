"""Artifacts on Prefect's pages of a run: the table of credit and payouts, and a link to the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from royalty.infra.pages.contributors import INDEX
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.report.track import escaped


def show_in_prefect(name: str, payout: PayoutConfig, division: DividedPool, folder: Path) -> None:
    """Attach the artifacts to this flow run; outside one there is nothing to attach them to."""
    if FlowRunContext.get() is None:
        return
    key = _key(name)
    refusal = division.outputs.refusal
    outcome = f"Nothing is paid: {escaped(refusal)}" if refusal else f"Statement `{division.statement}`"
    rows = [table_row(row, payout) for row in division.outputs.rows]
    create_table_artifact(rows, key=f"payout-{key}", description=f"Credit and payouts of `{name}`. {outcome}")
    link = (folder / INDEX).as_uri()
    create_link_artifact(link, link_text=f"Report of {name}", key=f"report-{key}", description=f"In `{folder}`.")


def show_summary(name: str, summary: str) -> None:
    """Attach the summary of a revaluation, Markdown, to this flow run; outside one there is nothing to attach it to."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(summary, key=f"revalue-{_key(name)}", description=f"What changed for `{name}`.")


def _key(name: str) -> str:
    """A run's name as a part of an artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"


def table_row(row: Mapping[str, Any], payout: PayoutConfig) -> dict[str, Any]:
    """A row as Prefect's pages show it: Markdown, in which names are other people's text."""
    return {
        "contributor": escaped(row["contributor"]),
        "images": row["items"],
        "credit": f"{row['credit']:+.4f}",
        "interval": f"{row['ci_low']:+.4f} to {row['ci_high']:+.4f}",
        "amount": "none" if row["amount"] is None else f"{row['amount']} {payout.currency}",
    }
