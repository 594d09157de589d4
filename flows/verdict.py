"""Suspend the flow run of a deployment until a second person approves or rejects its payout."""

from __future__ import annotations

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from royalty.flows.languages import chosen_language
from royalty.tasks.pay.approvals import Approved, decide_approval


class Verdict(RunInput):
    """What a second person says of a payout, on the page of the flow run or by `royalty approve`."""

    approve: bool
    by: str
    note: str = ""


def wait_for_verdict(approved: Approved) -> None:
    """Suspend this flow run; when it is resumed, it starts again, comes here, and records the verdict.

    Raises:
        LedgerConflict: who approves is who asked.
    """
    # Prefect shows the description above the form.
    asked = Verdict.with_initial_data(description=approved.unposted)
    verdict = suspend_flow_run(wait_for_input=asked, key=f"approval-{approved.id}")
    decide_approval(
        str(approved.id), verdict.by, approve=verdict.approve, note=verdict.note, language=chosen_language()
    )
