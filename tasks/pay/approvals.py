"""Payouts that wait for a second person: why they wait, what is asked, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import prefect.runtime
from prefect.cache_policies import NO_CACHE

from royalty.infra.audit.receipts import Receipts, as_text
from royalty.infra.ledger.approvals import Approval
from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.approval import ApprovalPage, render_approval
from royalty.infra.pages.language import Language
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.tracking.events import emit
from royalty.infra.workspace import Workspace, notary, open_workspace
from royalty.models.payout.approval import reasons_to_wait, same_person
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import ApprovalConfig, PayoutConfig
from royalty.tasks.pay.acting import acting
from royalty.tasks.pay.division import posting_of
from royalty.tasks.pay.payment_files import ExportName
from royalty.tasks.pay.personal import converted_of
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.stages.task import task

Payees = Mapping[str, Payee] | None


@dataclass(frozen=True)
class Approved:
    """Whether a posting may go on.

    Attributes:
        id: ID of the approval that it waits for, or that was rejected; None if nobody is asked, or it is approved.
        unposted: why it may not; empty if it may.
        act: hash of the act that approved it; None if nobody was asked.
    """

    id: str | None = None
    unposted: str = ""
    act: str | None = None
    waiting: bool = False

    @classmethod
    def of(cls, approval: Approval | None) -> Approved:
        if approval is None:
            return cls()
        verdict = approval.verdict
        if verdict is not None and verdict.kind == "approved":
            return cls(act=verdict.hash)
        return cls(approval.id, waiting_sentence(approval), waiting=verdict is None)


@task(name="ask for approval", cache_policy=NO_CACHE)
def approve_division(
    pool: str,
    terms: PayoutConfig,
    payees: Payees,
    division: DividedPool,
    call: Mapping[str, Any],
    agreed: ApprovalConfig | None = None,
    *,
    language: Language,
) -> Approved:
    """Find out whether the posting of a division may go on, and ask a second person if need be.

    Args:
        call: arguments of the flow `payout` or, with `usage`, `payout_by_use`, which posts it once it is approved.
        agreed: rules of approval of the run.
        language: of the page of the approval.
    """
    if division.change is None or division.change.repeats is not None:
        return Approved()
    gets = {row.contributor: row.gets for row in division.change.people}
    posting = posting_of(division.stage, terms, division.source)
    entries = [entry for entry in posting.entries if entry[2]]
    inputs, change = division.stage.inputs, division.change
    basis = {
        "kind": change.kind,
        "valuation": inputs.table,
        "source": division.source,
        "replaces": None if change.replaces is None else change.replaces.id,
        "changes": gets,
        "converted": {name: list(inputs.converted[name]) for name in sorted(inputs.converted)},
    }
    return Approved.of(_asked(pool, terms, payees, gets, entries, basis, call, agreed, language))


@task(name="ask for approval of a release", cache_policy=NO_CACHE)
def approve_release(
    run: str,
    pool: str,
    terms: PayoutConfig,
    payees: Payees,
    release: Sequence[str],
    export: ExportName | None,
    agreed: ApprovalConfig | None = None,
    *,
    language: Language,
) -> Approved:
    """The same for a release of held money."""
    held = open_workspace(settings()).ledger.balance(pool, "held", period=terms.period or "")
    gets = {name: held.get(name, 0) for name in release}
    entries = [("release", name, amount) for name, amount in gets.items() if amount]
    divided = [posted.id for posted in _statements_of(pool, terms) if posted.kind != "release"]
    basis = {
        "kind": "release",
        "follows": divided[-1] if divided else None,
        "changes": gets,
        "converted": {name: list(rate) for name, rate in converted_of(terms, payees, release).items()},
    }
    call = {"credit": run, "config": terms.model_dump(mode="json"), "release": sorted(release), "export": export}
    return Approved.of(_asked(pool, terms, payees, gets, entries, basis, call, agreed, language))


def _statements_of(pool: str, terms: PayoutConfig) -> list[Posted]:
    statements = open_workspace(settings()).ledger.verified_statements()
    return [posted for posted in statements if (posted.pool, posted.period) == (pool, terms.period or "")]


def _asked(
    pool: str,
    terms: PayoutConfig,
    payees: Payees,
    gets: Mapping[str, int],
    entries: Collection[tuple[str, str, int]],
    basis: Mapping[str, Any],
    call: Mapping[str, Any],
    agreed: ApprovalConfig | None,
    language: Language,
) -> Approval | None:
    """Find out whether a posting waits for a second person; if it does, ask for that.

    Args:
        gets: minor units that each contributor is paid by the posting.
        entries: kind, contributor and minor units of everything that it would write.
        basis: what the posting follows from, and what it replaces.
        call: as for `approve_division`.
        agreed: rules of approval of the run.

    Returns:
        The approval, which may be given or refused already; None if nobody is asked.
    """
    space = open_workspace(settings())
    statements = space.ledger.verified_statements()
    paid = {name for posted in statements for name, amount in posted.moved.items() if amount > 0}
    reasons = reasons_to_wait(
        terms.approval_rules(),
        gets,
        paid_before=paid,
        moved=_moved(space, statements, payees, gets) if terms.approval.changed_account else (),
        loosened=_loosened(space, statements, pool, terms.approval, agreed),
        money=terms.formatted,
    )
    if not reasons:
        return None
    receiving = sorted(name for name, amount in gets.items() if amount > 0)
    known = {name: payees[name] for name in receiving if name in payees} if payees is not None else {}
    content = {
        **basis,
        "pool": pool,
        "period": terms.period or "",
        "currency": terms.currency,
        "entries": sorted([kind, name, amount] for kind, name, amount in entries),
        "payees": {name: [payee.name, payee.account, payee.currency] for name, payee in known.items()},
        "terms": terms.approval.model_dump(mode="json"),
    }
    body = {
        "pool": pool,
        "period": terms.period or "",
        "currency": terms.currency,
        "gets": {name: amount for name, amount in gets.items() if amount},
        "content": content,
        "reasons": reasons,
        "call": dict(call),
        "flow_run": deployed_flow_run(),
    }
    approval = space.approvals.request(acting(None), content, body)
    write_approval(space, approval, language)
    if approval.verdict is None:
        facts = {
            "pool": pool,
            "period": terms.period or "",
            "amount": terms.formatted(sum(gets[name] for name in receiving)),
        }
        resource = f"royalty.approval.{approval.id}"
        emit("royalty.approval.requested", resource, f"approval {approval.id}", facts | {"people": len(receiving)})
    return approval


def waiting_sentence(approval: Approval) -> str:
    """Why nothing was posted yet, and what a second person does."""
    if (verdict := approval.verdict) is not None:
        dated = verdict.created_at[:10]
        return (
            f"nothing was posted: {verdict.actor} rejected approval {approval.id} on {dated} ({verdict.body['note']})"
        )
    reasons = "; ".join(approval.request["reasons"])
    return (
        f"nothing was posted yet: this payout waits for a second person, because {reasons}. To post it: "
        f"`royalty approve {approval.id}`"
    )


def decide_approval(reference: str, by: str | None, *, approve: bool, note: str, language: Language) -> Approval:
    """Approve or reject a payout that waits.

    Args:
        by: who does; by default `ROYALTY_ACTOR`.

    Raises:
        LedgerConflict: nothing waits under this ID, or this person asked for it.
    """
    actor = acting(by)
    space = open_workspace(settings())
    receipts = Receipts(notary(settings()))
    receipts.prepare()  # before anything is decided: a missing key is an error
    decided = space.approvals.decide(reference, actor, approve=approve, note=note, same=same_person)
    write_approval(space, decided, language)
    receipts.write_missing(space.acts.all())
    if decided.verdict is not None:
        write_whole(space.root / "approvals" / f"{decided.id}.json", as_text(receipts.write(decided.verdict)))
    return decided


def write_approval(space: Workspace, approval: Approval, language: Language) -> None:
    """Write the page of an approval, `approvals/ID.html` in the home."""
    page = render_approval(ApprovalPage(approval), language)
    write_whole(space.root / "approvals" / f"{approval.id}.html", page.encode())


def deployed_flow_run() -> str | None:
    """ID of the flow run of a deployment, which can be suspended; None for other calls."""
    return prefect.runtime.flow_run.id if prefect.runtime.deployment.id else None


def _moved(space: Workspace, statements: Collection[Posted], payees: Payees, gets: Mapping[str, int]) -> set[str]:
    """Contributors whose account is not the one that the last statement paid them into."""
    last: dict[str, Posted] = {}
    for posted in statements:
        for name, amount in posted.moved.items():
            if amount > 0 and name in gets:
                last[name] = posted
    accounts: dict[str, dict[str, str]] = {}
    moved = set()
    for name, posted in last.items():
        if posted.id not in accounts:
            accounts[posted.id] = _accounts(space, posted)
        now = payees[name].account if payees is not None and name in payees else ""
        if accounts[posted.id].get(name, "") != now:
            moved.add(name)
    return moved


def _accounts(space: Workspace, posted: Posted) -> dict[str, str]:
    """Accounts by contributor that a statement was posted with; empty if all were paid by name."""
    evidence = space.ledger.evidence_of(posted.evidence) if posted.evidence else None
    digest = (evidence or {}).get("payees")
    return {name: fields[1] for name, fields in json.loads(space.artifacts.get(digest)).items()} if digest else {}


def _loosened(
    space: Workspace, statements: Collection[Posted], pool: str, rules: ApprovalConfig, agreed: ApprovalConfig | None
) -> bool:
    """Whether a pool, in any period, was last divided by rules that are not these, or its run has others."""
    if agreed is not None and agreed.applies and agreed != rules:
        return True
    divisions = [posted for posted in statements if posted.pool == pool and posted.kind in ("division", "correction")]
    if not divisions:
        return False
    terms = space.ledger.terms(pool, divisions[-1].valuation, period=divisions[-1].period) or {}
    before = terms.get("approval")
    return before is not None and before != rules.model_dump(mode="json")
