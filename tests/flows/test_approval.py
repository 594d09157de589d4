"""Payouts that wait for a second person: from Python, by commands, and in a suspended flow run of a deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from sqlalchemy.orm import Session

import royalty.flows.approval
from royalty.flows.payout import payout
from royalty.flows.use import payout_by_use
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.settings import settings
from royalty.infra.stores.tables import PolicyRow
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from tests.conftest import Run
from tests.in_process import forget_homes, own_home
from tests.paying import credited, pay, paying_home

RULES = {"above": "50.00", "first_payee": True, "changed_account": True}
TERMS = {"pool": "100.00", "name": "fund", "approval": RULES}
CREDIT = {"ann": 3.0, "bob": 1.0}


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("ROYALTY_ACTOR", "clerk")
    with paying_home(tmp_path / "home") as space, monkeypatch.context() as patch:
        patch.setattr(royalty.flows.approval, "payout", payout.fn)
        patch.setattr(royalty.flows.approval, "payout_by_use", payout_by_use.fn)
        credited(space, "show", CREDIT)
        yield space


def approve(identity: str | None, by: str = "boss", **more: str) -> Any:
    return royalty.flows.approval.approve.fn(str(identity), by=by, **more)


def test_a_payout_waits_and_a_second_person_posts_it(space: Workspace) -> None:
    first, again = pay("show", TERMS), pay("show", TERMS)
    assert (first.statement, first.files, space.ledger.statements()) == (None, [], [])
    assert first.approval == again.approval
    assert "because it pays €100.00, which is above €50.00; it pays for the first time ann, bob" in first.notes[0]
    (waiting,) = space.approvals.all()
    assert (waiting.state, waiting.requested_by) == ("waiting", ["clerk"])
    page = (space.root / "approvals" / f"{waiting.id}.html").read_text()
    for text in ("€75.00", "€25.00", "royalty approve", "which is above €50.00"):
        assert text in page
    with pytest.raises(LedgerConflict, match="approved by a second person, and 'CLERK' asked for"):
        approve(first.approval, by="CLERK ")
    with pytest.raises(LedgerConflict, match="approved by a second person"):
        approve(first.approval, by="\u0441l\u0435rk")  # with Cyrillic letters
    with pytest.raises(InputError, match="--by: a name has no format characters"):
        approve(first.approval, by="bo\u200bss")
    approval, result = approve(first.approval, note="checked")
    assert result.statement == space.ledger.statements()[0].id
    assert [row["amount"] for row in result.rows] == ["75.00", "25.00"]
    terms = space.ledger.terms("fund", space.ledger.statements()[0].valuation)
    assert terms is not None
    assert terms["approved"] == approval.verdict.hash
    with pytest.raises(LedgerConflict, match="given or refused once"):
        approve(first.approval)
    assert pay("show", TERMS).statement == result.statement, "repeating it asks nobody"


def test_a_rejected_payout_is_not_posted(space: Workspace) -> None:
    waiting = pay("show", TERMS).approval
    royalty.flows.approval.reject.fn(str(waiting), "wrong month", by="boss")
    result = pay("show", TERMS)
    assert result.approval == waiting
    assert "boss rejected approval" in result.notes[0]
    assert "wrong month" in result.notes[0]
    assert space.ledger.statements() == []


def test_pools_that_look_the_same_are_named_and_invisible_characters_refused(space: Workspace) -> None:
    terms = {"pool": "10.00", "name": "fund", "period": "2026-05"}
    assert pay("show", terms).notes == []
    (note,) = pay("show", {**terms, "name": "f\u057dnd"}).notes
    assert "looks like fund 2026-05, which was paid before, and is another one ('f\\u057dnd 2026-05', 'fund" in note
    assert pay("show", {**terms, "period": "2026-06"}).notes == []
    for setting in ({"name": "fu\u200bnd"}, {"name": "fu\x1b[2Jnd"}, {"period": "2026\u202e-05"}):
        with pytest.raises(ValueError, match=r"a name has no (format|control) characters"):
            pay("show", {**terms, **setting})
    with pytest.raises(ValueError, match="a name that is seen, got ' '"):
        pay("show", {**terms, "period": " "})


def payees(tmp_path: Path, **accounts: str) -> dict[str, Any]:
    rows = "".join(f"{name},{account}\n" for name, account in accounts.items())
    (tmp_path / "payees.csv").write_text("contributor,payee\n" + rows)
    return {"payees": str(tmp_path / "payees.csv")}


def test_an_approval_is_of_these_accounts_and_amounts(space: Workspace, tmp_path: Path) -> None:
    only_accounts = {**TERMS, "approval": {"changed_account": True}, "period": "1"}
    assert pay("show", {**only_accounts, **payees(tmp_path, ann="a-1", bob="b-1")}).statement is not None
    june = {**only_accounts, "period": "2"}
    result = pay("show", {**june, **payees(tmp_path, ann="a-2", bob="b-1")})
    assert "into another account than the last time ann" in result.notes[0]
    payees(tmp_path, ann="a-3", bob="b-1")  # after the request, by whoever can write the file
    _, posted = approve(result.approval)
    assert posted.statement is None
    assert posted.approval != result.approval
    payees(tmp_path, ann="a-2", bob="b-1")
    assert pay("show", {**june, **payees(tmp_path, ann="a-2", bob="b-1")}).statement is not None


def test_rules_are_not_left_out_by_the_first_person(space: Workspace) -> None:
    approve(pay("show", TERMS).approval)
    for rules in ({}, {"above": "1000.00"}):
        result = pay("show", {**TERMS, "period": "later", "approval": rules})
        assert "its rules of approval are not those that the pool was last divided by" in result.notes[0]
        assert result.statement is None
    credited(space, "strict", CREDIT, TERMS)
    assert pay("strict", {"pool": "10.00", "name": "other"}).statement is None, "the run has rules"


def test_releases_wait_too_and_checks_hold_money(space: Workspace, tmp_path: Path) -> None:
    terms = {**TERMS, "approval": {"above": "80.00"}, "checks": {"identity": True, "sanctions": True}}
    header = "contributor,payee,identity,identity_date,sanctions,sanctions_date,check_reference\n"
    (tmp_path / "p.csv").write_text(
        f"{header}ann,a-1,verified,2026-01-01,hit,2026-01-01,K-7\nbob,b-1,verified,,clear,,\n"
    )
    terms |= {"payees": str(tmp_path / "p.csv")}
    result = pay("show", terms)
    assert [(row["amount"], row["held"]) for row in result.rows] == [("0.00", "75.00"), ("25.00", "0.00")]
    assert result.notes == ["ann: sanctions status hit, held; €75.00 held"]
    with pytest.raises(InputError, match=r"'ann' has not: sanctions status hit\. Nothing was posted"):
        pay("show", terms, release=["ann"])
    (tmp_path / "p.csv").write_text(
        f"{header}ann,a-1,verified,2026-01-01,clear,2026-02-01,K-8\nbob,b-1,verified,,clear,,\n"
    )
    assert pay("show", terms).statement == result.statement
    for changed in ({"checks": {}}, {"withholding": {"rate": 5}}):
        with pytest.raises(InputError, match=f"`payout.{next(iter(changed))}`"):
            pay("show", {**terms, **changed}, release=["ann"])
    lower = {**terms, "approval": {"above": "50.00"}}
    waiting = pay("show", lower, release=["ann"])
    assert waiting.statement is None
    approval, released = approve(waiting.approval)
    assert released.rows == [{"contributor": "ann", "amount": "75.00"}]
    posted = space.ledger.statement(released.statement)
    with Session(space.ledger.engine) as session:
        assert session.get_one(PolicyRow, posted.policy).terms == {"approved": approval.verdict.hash}
    assert space.acts.problems() == []


def test_an_approved_release_leaves_the_terms_of_its_pool_as_they_are(space: Workspace, tmp_path: Path) -> None:
    def checked(**identity: str) -> dict[str, Any]:
        rows = "".join(f"{name},{name}-1,{status}\n" for name, status in identity.items())
        (tmp_path / "p.csv").write_text("contributor,payee,identity\n" + rows)
        rules = {"approval": {"above": "10.00"}, "checks": {"identity": True}}
        return {**TERMS, **rules, "payees": str(tmp_path / "p.csv")}

    terms = checked(ann="pending", bob="pending")
    pay("show", terms)
    credited(space, "show", {"ann": 1.0, "bob": 3.0})
    pay("show", terms, replace=True)
    approve(pay("show", checked(ann="verified", bob="pending"), release=["ann"]).approval)
    assert [posted.kind for posted in space.ledger.statements()] == ["division", "correction", "release"]
    with pytest.raises(InputError, match=r"`payout\.checks`"):
        pay("show", {**terms, "checks": {}}, release=["bob"])


USED = {**TERMS, "period": "2026-05", "use": {"training": 0.2}, "limits": {"stderr": None}}


def use_of(folder: Path, *contributors: str) -> Path:
    """A file of generations of May, each by one contributor."""
    rows = [f"{number},2026-05-02,1,{name},1" for number, name in enumerate(contributors)]
    file = folder / "use.csv"
    file.write_text("\n".join(["id,time,revenue,contributor,share", *rows]))
    return file


def by_use(terms: dict[str, Any], **more: Any) -> Any:
    return payout_by_use.fn("use.csv", "letters", terms, credit="show", **more)


def test_a_payout_by_use_waits_and_is_posted_by_a_second_person(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    use_of(tmp_path, "bob", "bob")
    first, again = by_use(USED), by_use(USED)
    assert (first.statement, first.files, space.ledger.statements()) == (None, [], [])
    assert first.approval == again.approval
    assert "because it pays €100.00, which is above €50.00; it pays for the first time ann, bob" in first.notes[0]
    with pytest.raises(LedgerConflict, match="approved by a second person, and 'clerk' asked for"):
        approve(first.approval, by="clerk")
    monkeypatch.chdir(space.root)  # the second person may be in another folder
    approval, result = approve(first.approval)
    (posted,) = space.ledger.statements()
    assert result.statement == posted.id
    assert posted.paid == {"bob": 8500, "ann": 1500}
    assert space.ledger.terms("fund", posted.valuation, period="2026-05")["approved"] == approval.verdict.hash
    monkeypatch.chdir(tmp_path)
    assert by_use(USED).statement == posted.id, "repeating it asks nobody"


def test_an_approval_is_of_this_use(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    use_of(tmp_path, "bob")
    waiting = by_use(USED)
    use_of(tmp_path, "ann")  # after the request, by whoever can write the file
    _, posted = approve(waiting.approval)
    assert posted.statement is None
    assert posted.approval != waiting.approval
    royalty.flows.approval.reject.fn(posted.approval, "other use", by="boss")
    assert "boss rejected approval" in by_use(USED).notes[0]
    use_of(tmp_path, "bob")
    assert by_use(USED).statement is not None
    without = {part: value for part, value in USED.items() if part != "approval"}
    use_of(tmp_path, "ann")
    loosened = by_use(without, replace=True)
    assert loosened.statement is None
    assert "its rules of approval are not those that the pool was last divided by" in loosened.notes[0]


@pytest.mark.slow
@pytest.mark.cli
def test_on_the_command_line(royalty: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    forget_homes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROYALTY_HOME", environment["ROYALTY_HOME"])
        credited(open_workspace(settings()), "show", CREDIT)
    (tmp_path / "terms.yaml").write_text(json.dumps({**TERMS, "policy": "proportional"}))
    asked = royalty("payout", "--credit", "show", "--policy", "terms.yaml", "--json", ROYALTY_ACTOR="clerk")
    assert asked.returncode == 0, asked.stderr
    identity = json.loads(asked.stdout)["approval"]
    assert identity in royalty("approvals", "--waiting").stdout
    same = royalty("approve", identity, ROYALTY_ACTOR="clerk")
    assert (same.returncode, "a second person" in same.stderr) == (1, True), same.stderr
    done = royalty("approve", identity, "--json", ROYALTY_ACTOR="boss")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statement"]
    assert royalty("approvals", "--waiting").stdout == "There are no approvals.\n"
    other = royalty("reject", identity, "--note", "late", ROYALTY_ACTOR="boss")
    assert "given or refused once" in other.stderr


@pytest.fixture
def served(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.setenv("ROYALTY_ACTOR", "clerk")
    with own_home(tmp_path / "home", prefect_url), SyncPrefectClient(prefect_url) as client:
        credited(open_workspace(settings()), "show", CREDIT)
        yield client


@pytest.mark.cli
@pytest.mark.parametrize(
    ("verdict", "use"),
    [
        *((verdict, False) for verdict in ("page", "command", "reject", "first person")),
        ("page", True),
        *(pytest.param(verdict, True, marks=pytest.mark.slow) for verdict in ("command", "reject", "first person")),
    ],
)
def test_a_suspended_flow_run_goes_on(served: SyncPrefectClient, tmp_path: Path, verdict: str, use: bool) -> None:
    flow: Any = payout_by_use if use else payout
    deployment = served.create_deployment(served.create_flow_from_name(flow.name), name=f"waits {verdict} {use}")
    config = {**(USED if use else TERMS), "policy": "proportional", "limits": {"stderr": None}}
    parameters = {"credit": "show", "config": config}
    if use:
        parameters |= {"usage": str(use_of(tmp_path, "bob")), "model": "letters"}
    created = served.create_flow_run_from_deployment(deployment, parameters=parameters, state=Scheduled())

    def run() -> FlowRun:
        """As a worker does, whenever the run is scheduled."""
        with suppress(Pause):  # on which a worker ends the process
            run_flow(flow, flow_run=served.read_flow_run(created.id), parameters=parameters, return_type="state")
        return served.read_flow_run(created.id)

    suspended = run()
    assert suspended.state is not None
    assert suspended.state.name == "Suspended"
    space = open_workspace(settings())
    (approval,) = space.approvals.all()
    assert approval.request["flow_run"] == str(created.id)
    if verdict in ("page", "first person"):  # what the form on the page of the flow run sends
        by = "boss" if verdict == "page" else "clerk"
        served.resume_flow_run(created.id, run_input={"approve": True, "by": by, "note": ""})
    elif verdict == "command":
        assert royalty.flows.approval.approve.fn(approval.id, by="boss")[1] is None
    else:
        royalty.flows.approval.reject.fn(approval.id, "no", by="boss")
    ended = run()
    assert ended.state is not None
    posted = space.ledger.statements()
    if verdict == "first person":
        assert ended.state.is_failed()
        assert "approved by a second person" in str(ended.state.message)
    else:
        assert ended.state.is_completed(), ended.state
    assert len(posted) == (verdict in ("page", "command"))
    assert space.approvals.all()[0].state == {"reject": "rejected", "first person": "waiting"}.get(verdict, "approved")
