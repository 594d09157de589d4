"""The commands `royalty approve`, `royalty reject` and `royalty approvals`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from royalty.flows.cli.case import By
from royalty.flows.cli.command import AsJson, working

ApprovalId = Annotated[
    str, typer.Argument(metavar="ID", help="ID of the approval, or at least its first 6 characters.")
]


def approve(
    approval: ApprovalId,
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Approve a payout that waits for a second person, and post it. Who asked for it cannot approve it."""
    from royalty.flows.cli.pay import print_payout
    from royalty.infra.pages.terminal import console

    with working(None, flow="royalty.flows.approval", works=(), show_progress=not as_json):
        from royalty.flows.approval import approve

        decided, result = approve(approval, note, by)
    if result is not None:
        print_payout(result, as_json)
    elif as_json:
        sys.stdout.write(json.dumps(asdict(decided)) + "\n")
    else:
        console.print(f"Approved    {decided.id}; the flow run {decided.request['flow_run']} goes on and posts it")


def reject(
    approval: ApprovalId,
    note: Annotated[str, typer.Option(help="Why, in words.")],
    by: By = None,
) -> None:
    """Reject a payout that waits for a second person. Nothing is posted."""
    from royalty.infra.pages.terminal import console
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows.approval import reject

    decided = reject.fn(approval, note, by)
    console.print(f"Rejected    {decided.id}; nothing is posted")


def approvals(
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those without a verdict.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the payouts that waited or wait for a second person, and why."""
    from royalty.infra.pages.approval import ApprovalPage
    from royalty.infra.pages.language import SOURCE, shipped_language
    from royalty.infra.pages.terminal import console, print_table
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    listed = [each for each in open_workspace(settings()).approvals.all() if each.verdict is None or not waiting]
    if as_json:
        sys.stdout.write(json.dumps([{**asdict(each), "state": each.state} for each in listed]) + "\n")
        return
    if not listed:
        console.print("There are no approvals.")
        return
    english = shipped_language(SOURCE)
    cells = [
        (
            each.id,
            each.state,
            page.pool,
            page.total(english),
            ", ".join(each.requested_by),
            "; ".join(each.request["reasons"]),
        )
        for each, page in ((each, ApprovalPage(each)) for each in listed)
    ]
    print_table(("Approval", "State", "Pool", "Amount", "Asked by", "Why it waits"), cells, whole=range(2))
