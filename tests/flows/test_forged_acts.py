"""Acts that somebody adds to the database by hand, in the right place of the chain: no money follows any of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.infra.ledger.acts import ActsBroken
from royalty.infra.ledger.optouts import optouts
from royalty.infra.stores.chain import ACT_PARTS, GENESIS, act_hash
from royalty.infra.workspace import Workspace
from tests.paying import credited, pay, paying_home

RULES = {"above": "50.00"}
FUND = {"pool": "100.00", "name": "fund"}


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("ROYALTY_ACTOR", "clerk")
    with paying_home(tmp_path / "home") as opened:
        credited(opened, "show", {"ann": 3.0, "bob": 1.0})
        yield opened


def forge(space: Workspace, subject: str, reference: str, kind: str, actor: str, body: dict[str, Any]) -> None:
    """Add an act as anybody who can write to the database; no trigger is dropped, and its hash is right."""
    with closing(sqlite3.connect(space.root / "royalty.db")) as connection, connection:
        query = "SELECT position, hash FROM acts ORDER BY position DESC LIMIT 1"
        position, previous = connection.execute(query).fetchone() or (0, GENESIS)
        values = (position + 1, subject, reference, kind, actor, body, "2026-05-01T00:00:00+00:00")
        act = dict(zip(ACT_PARTS, values, strict=True))
        act |= {"previous": previous, "hash": act_hash(act, previous), "body": json.dumps(body)}
        places = ", ".join(f":{name}" for name in act)
        connection.execute(f"INSERT INTO acts ({', '.join(act)}) VALUES ({places})", act)


def by_approval(space: Workspace) -> Callable[[], object]:
    """A second person approves what waits."""
    terms = {**FUND, "approval": RULES}
    forge(space, "approval", str(pay("show", terms).approval), "approved", "boss", {"note": ""})
    return lambda: pay("show", terms)


def by_approved_release(space: Workspace) -> Callable[[], object]:
    """A second person approves the release of what a check holds."""
    file = space.root.with_name("payees.csv")
    terms = {**FUND, "approval": RULES, "checks": {"identity": True}, "payees": str(file)}
    for status in ("pending", "verified"):
        file.write_text(f"contributor,payee,identity\nann,a-1,{status}\nbob,b-1,verified\n")
        waiting = pay("show", terms, release=["ann"] if status == "verified" else ())
    forge(space, "approval", str(waiting.approval), "approved", "boss", {"note": ""})
    return lambda: pay("show", terms, release=["ann"])


def by_decision(space: Workspace) -> Callable[[], object]:
    """A case that holds money is decided, so that its money can be released."""
    case = space.cases.open("clerk", claimant="Agency", contributors=["ann"], reason="copies")
    pay("show", FUND)
    body = {"outcome": "release", "reason": "x", "awards": [], "evidence": [], "statements": [], "kept": []}
    forge(space, "case", case.id, "decided", "judge", body)
    return lambda: space.ledger.release("fund", ["ann"])


def by_case(space: Workspace) -> Callable[[], object]:
    """A case that nobody opened holds money; deciding it returns the money to the pool."""
    body = {"claimant": "eve", "contributors": ["ann"], "works": [], "reason": "x", "deadline": "", "evidence": []}
    forge(space, "case", "abcdef123456", "opened", "clerk", body)
    return lambda: pay("show", FUND)


def by_optout(space: Workspace) -> Callable[[], object]:
    """Works are withdrawn, and the next opt-out signs a receipt of that one too."""
    body = {"contributor": "ann", "works": [], "reason": "x", "co_owners": [], "evidence": []}
    forge(space, "opt-out", "abcdef123456", "recorded", "ann", body)
    return lambda: optouts(space.acts)


FORGERIES = (by_approval, by_approved_release, by_decision, by_case, by_optout)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_act_moves_no_money_and_is_named(
    space: Workspace, forgery: Callable[..., Callable[[], object]]
) -> None:
    assert CliRunner().invoke(app, ["ledger"]).exit_code == 0
    use = forgery(space)
    before, receipts = space.ledger.statements(), sorted(space.root.rglob("act-*.json"))
    with pytest.raises(ActsBroken, match="is not signed, so the product did not write it"):
        use()
    assert space.ledger.statements() == before
    for arguments in (
        ["optout", "add", "--contributor", "bob", "--reason", "moved", "--by", "bob"],
        ["approvals"],
        ["case", "list"],
        ["audit", "export", str(space.root / "pack.zip")],
    ):
        assert isinstance(CliRunner().invoke(app, arguments).exception, ActsBroken), arguments
    assert sorted(space.root.rglob("act-*.json")) == receipts, "no receipt is signed for it"
    found = CliRunner().invoke(app, ["ledger"])
    assert found.exit_code == 1
    assert "is not signed, so the product did not write it" in found.stderr
