"""Prefect artifacts of a flow run: the table of credit and payouts, a link to the report, and summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.change import HEADINGS, changed_rows, sentences
from royalty.infra.pages.combined import REPORT
from royalty.infra.processes.progress import announce
from royalty.infra.settings import settings
from royalty.infra.tracking.addresses import artifact_page, run_page
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.headline import headline
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.report.stages import Tracked, TrackOutputs
from royalty.tasks.report.text import escaped
from royalty.tasks.report.track import posted
from royalty.tasks.stages.task import task


def show_in_prefect(name: str, payout: PayoutConfig, division: DividedPool, folder: Path, tracked: Tracked) -> None:
    """Attach the links and the table of credit and payouts to the current flow run; does nothing outside a flow run.

    The page of a flow run shows the newest artifact first, which is the table.

    Args:
        tracked: the stage that logged the run; a local MLflow store has no address to link to.
    """
    if FlowRunContext.get() is None:
        return
    _link(name, folder, tracked.outputs, settings().mlflow_uri)
    refusal = division.outputs.refusal
    outcome = f"Nothing is paid: {escaped(refusal)}" if refusal else f"{posted(division.statement)}."
    described = f"Credit and payouts of `{name}`. {escaped(str(headline(division.outputs.rows)))} {outcome}"
    rows = [table_row(row, payout) for row in division.outputs.rows]
    create_table_artifact(rows, key=f"payout-{_key(name)}", description=described)


def _link(name: str, folder: Path, logged: TrackOutputs, server: str) -> None:
    """Attach links to MLflow and to the report there, or say where the report is: browsers follow no link to a file."""
    key, place = _key(name), (logged.experiments["runs"], logged.run)
    report = artifact_page(server if server.startswith("http") else "", *place, REPORT)
    if server.startswith("http"):
        page = run_page(server, *place)
        models = "Models, curves, images, coalitions and tables."
        create_link_artifact(page, link_text=f"MLflow run of {name}", key=f"mlflow-{key}", description=models)
        pages = f"With a page for each contributor. Also in `{folder}`."
        create_link_artifact(report, link_text=f"Report of {name}", key=f"report-{key}", description=pages)
    else:
        file, ui = (
            f"Open this file in a browser:\n\n`{folder / REPORT}`",
            "while `royalty ui` runs, this page of MLflow",
        )
        text = f"{file}\n\nor, {ui}:\n\n`{report}`"
        described = f"Report of `{name}`, with a page for each contributor."
        create_markdown_artifact(text, key=f"report-{key}", description=described)


def show_statement(name: str, statement: str, files: Sequence[str]) -> None:
    """Attach the statement of a payout, and where its files are, to the current flow run."""
    if FlowRunContext.get() is not None:
        listed = "\n".join(f"- `{file}`" for file in files)
        text = f"The division is in the ledger as statement `{statement}`. Its files:\n\n{listed}"
        create_markdown_artifact(text, key=f"statement-{_key(name)}", description=f"Statement of `{name}`.")


def show_summary(name: str, summary: str) -> None:
    """Attach the Markdown summary of a revaluation to the current flow run; does nothing outside a flow run."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(summary, key=f"revalue-{_key(name)}", description=f"What changed for `{name}`.")


@task(name="show what a posting changes", cache_policy=NO_CACHE)
def show_change(name: str, division: DividedPool, *, posting: bool) -> None:
    """Show what posting a division changes, in the terminal and on the Prefect page, before it is posted.

    Args:
        posting: whether the division is posted next; otherwise it is a proposal.
    """
    change = division.change
    if change is None:
        return
    announce(change)
    if FlowRunContext.get() is None:
        return
    state = division.unposted or ("It is posted next." if posting else "It is a proposal: nothing is posted.")
    lines = [f"What the division of {name} changes. {state}", *sentences(change)]
    table = [dict(zip(HEADINGS, map(escaped, row), strict=True)) for row in changed_rows(change)]
    create_table_artifact(table, key=f"change-{_key(name)}", description="\n\n".join(map(escaped, lines)))


def show_mistake(message: str, *, refused: bool = True) -> None:
    """Attach an error that a user can fix to the current flow run; does nothing outside a flow run.

    Args:
        refused: nothing broke: somebody has to correct or to agree to something.
    """
    if FlowRunContext.get() is not None:
        title = "refused" if refused else "failed"
        text = f"**This run {'was refused' if refused else 'failed'}.** {escaped(message)}"
        create_markdown_artifact(text, key=title, description=f"{title.capitalize()}.")


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
