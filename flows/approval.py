"""Approve or reject a payout that waits for a second person; an approved one is posted."""

from __future__ import annotations

from prefect import flow

from royalty.flows.languages import chosen_language
from royalty.flows.mistakes import explained
from royalty.flows.payout import PayoutResult, payout
from royalty.flows.use import payout_by_use
from royalty.infra.ledger.approvals import Approval
from royalty.infra.servers.suspended import resume
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.tasks.pay.approvals import decide_approval


@flow(name="approve", flow_run_name="approve {approval}")
@explained
def approve(approval: str, note: str = "", by: str | None = None) -> tuple[Approval, PayoutResult | None]:
    """Approve a payout as a second person. It is posted here, or by the flow run that waits for it.

    Args:
        approval: ID of the approval, or at least its first 6 characters.
        note: why, in words.
        by: who approves; by default `ROYALTY_ACTOR`.

    Returns:
        The approval, and the result of the payout; None if a suspended flow run goes on with it.

    Raises:
        LedgerConflict: nothing waits under this ID, or this person asked for it.
    """
    check_home(settings())
    decided = decide_approval(approval, by, approve=True, note=note, language=chosen_language())
    if _resumed(decided):
        return decided, None
    call = decided.request["call"]
    return decided, payout_by_use(**call) if "usage" in call else payout(**call)


@flow(name="reject", flow_run_name="reject {approval}")
@explained
def reject(approval: str, note: str, by: str | None = None) -> Approval:
    """Reject a payout as a second person. Nothing is posted.

    Raises:
        LedgerConflict: nothing waits under this ID, or this person asked for it.
    """
    check_home(settings())
    decided = decide_approval(approval, by, approve=False, note=note, language=chosen_language())
    _resumed(decided)
    return decided


def _resumed(decided: Approval) -> bool:
    """Let a flow run that waits for this verdict go on; it finds the verdict recorded."""
    verdict, waiting = decided.verdict, decided.request["flow_run"]
    if verdict is None or waiting is None:
        return False
    answer = {"approve": verdict.kind == "approved", "by": verdict.actor, "note": verdict.body["note"]}
    return resume(waiting, answer)
