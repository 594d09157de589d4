"""Cases and opt-outs as people use them: payouts hold money, pages show why, and decisions pay or return it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from royalty.flows.cli.app import app
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.tasks.credit.ingest import ingest
from tests.paying import credited, pay, paying_home

SOON = (datetime.now(UTC).date() + timedelta(days=30)).isoformat()
TERMS = {"pool": "100.00", "name": "fund"}


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with paying_home(tmp_path / "home") as space:
        credited(space, "show", {"ann": 5.0, "bob": 3.0, "cy": 2.0}, TERMS)
        yield space


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def run(*arguments: str) -> str:
    done = command(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def open_case(*more: str) -> str:
    claim = ["--claimant", "<Agency>", "--contributor", "cy", "--reason", "Copies of our photos"]
    return str(json.loads(run("case", "open", *claim, "--by", "clerk", *more, "--json"))["id"])


def test_a_case_from_opening_to_reversal(space: Workspace, tmp_path: Path) -> None:
    proof = tmp_path / "proof.pdf"
    proof.write_bytes(b"%PDF proof")
    case = open_case("--work", "a.png", "--deadline", SOON, "--evidence", str(proof))
    run("case", "message", case[:6], "The photos are mine", "--by", "cy")
    result = pay("show", {**TERMS, "period": "2026-05"})
    assert [(row["amount"], row["held"]) for row in result.rows] == [
        ("50.00", "0.00"),
        ("30.00", "0.00"),
        ("0.00", "20.00"),
    ]
    assert result.notes == [f"cy: case {case}, held; €20.00 held"]
    assert pay("show", {**TERMS, "period": "2026-05"}).statement == result.statement

    page = run("case", "show", case, "--html", str(tmp_path / "case.html"))
    html = (tmp_path / "case.html").read_text()
    assert "&lt;Agency&gt;" in html
    for text in ("€20.00", "fund 2026-05", "The photos are mine", "proof.pdf", "a.png"):
        assert text in html
    assert "Copies of our photos" in page
    assert case in run("case", "list", "--open")
    assert not (space.root / "cases" / f"{case}.json").exists()

    done = command("case", "decide", case, "--reverse", "--release", "--reason", "x")
    assert "give one of" in str(done.exception)
    done = command("case", "decide", case, "--reverse", "--reason", "x", "--award", "ann=12.345")
    assert "at most 2 decimals" in str(done.exception)
    text = run("case", "decide", case, "--reverse", "--reason", "copied", "--award", "ann=12.00", "--by", "judge")
    assert "reverse: copied" in text
    decided = space.ledger.statements()[-1]
    assert (decided.kind, decided.held, decided.accounts) == ("decision", {"cy": -2000}, {"ann": 1200})
    assert (space.root / "payouts" / decided.id / "payout.csv").read_text().splitlines()[1:] == [
        "ann,0.00,0.00,12.00,EUR", "cy,0.00,-20.00,0.00,EUR",
    ]  # fmt: skip
    assert "matches the records" in run("optout", "check", str(space.root / "cases" / f"{case}.json"))
    run("ledger")
    copy = next((space.root / "audit" / "checkpoints").glob("act-*.json"))
    copy.write_text(copy.read_text().replace("copied", "copies"))
    assert "the receipt has been changed" in command("ledger").output
    final = (space.root / "cases" / f"{case}.html").read_text()
    assert "reversed" in final
    assert "€12.00" in final
    assert run("case", "list", "--open") == "There are no cases.\n"
    june = pay("show", {**TERMS, "period": "2026-06"})
    assert [row["amount"] for row in june.rows] == ["62.00", "30.00", "20.00"]
    assert pay("show", {**TERMS, "period": "2026-05"}).statement == result.statement


def test_what_cannot_be_a_case_is_refused(space: Workspace, tmp_path: Path) -> None:
    for arguments, message in (
        (["--contributor", "zed"], "'zed' has neither credit nor money"),
        (["--contributor", "cy", "--deadline", "2020-01-01"], "is today, .* or later"),
        (["--contributor", "cy", "--deadline", "soon"], "a deadline is a date"),
        (["--contributor", "cy", "--evidence", str(tmp_path)], "evidence is a file"),
        (["--contributor", "cy", "--claimant", "A\x1b[2Jnn"], "--claimant: a name has no control characters"),
        (["--contributor", "cy", "--by", "cle\u200brk"], "--by: a name has no format characters"),
        (["--contributor", "cy", "--by", " "], "who acts has a name"),
    ):
        done = command("case", "open", "--claimant", "a", "--reason", "r", *arguments)
        assert isinstance(done.exception, InputError)
        with pytest.raises(InputError, match=message):
            raise done.exception
    done = command("case", "show", "123456")
    assert isinstance(done.exception, LedgerConflict)
    assert space.cases.all() == []


def test_a_receipt_of_an_opt_out_is_checked(space: Workspace, tmp_path: Path) -> None:
    document = json.loads(run("optout", "add", "--contributor", "cy", "--work", "a.png", "--reason", "sold", "--json"))
    path = space.root / "optouts" / f"{document['act']['reference']}.json"
    assert "matches the records" in run("optout", "check", str(path))
    assert "a.png" in run("optout", "list")
    forged = tmp_path / "forged.json"
    assert document["signature"]["algorithm"] == "Ed25519"
    other = {**document["signature"], "value": document["signature"]["value"][::-1]}
    for text in (
        json.dumps({**document, "hash": "0" * 64}),
        json.dumps({**document, "signature": other}),
        "[]",
        "[" * 100_000,
        "",
    ):
        forged.write_text(text)
        assert isinstance(command("optout", "check", str(forged)).exception, InputError)


def test_withdrawn_images_are_not_trained_on(space: Workspace, tmp_path: Path) -> None:
    from royalty.tasks.config.sources import FolderSource
    from tests.conftest import save_digits

    save_digits(tmp_path / "images", ["ann", "bob", "cy"] * 20)
    source = FolderSource(source="folder", path=tmp_path / "images", size=8)
    before = ingest.fn(source, 0)
    assert before.outputs.withdrawn == {}
    run("optout", "add", "--contributor", "cy", "--work", "2.png", "--work", "sub/5.png", "--reason", "sold")
    after = ingest.fn(source, 0)
    assert after.key != before.key
    assert after.outputs.withdrawn == {"cy": 2}
    counts = [{**made.outputs.items}["cy"] + {**made.outputs.held_out}["cy"] for made in (before, after)]
    assert counts[1] == counts[0] - 2
    run("optout", "add", "--contributor", "cy", "--reason", "all")
    assert ingest.fn(source, 0).outputs.contributors == ["ann", "bob"]
    for name in ("ann", "bob"):
        run("optout", "add", "--contributor", name, "--reason", "all")
    with pytest.raises(InputError, match="images that were withdrawn take no part"):
        ingest.fn(source, 0)


def test_co_authors_are_paid_by_their_weights(space: Workspace) -> None:
    credited(space, "team", {"ann:2;bob:1": 3.0, "bob": 1.0})
    result = pay("team", {"pool": "10.00", "name": "team", "disputed": ["ann"]})
    assert [(row["contributor"], row["amount"], row["reason"]) for row in result.rows] == [
        ("ann:2;bob:1", "0.00", "divided among ann (2), bob (1)"),
        ("bob", "5.00", ""),
    ]
    assert [(row["contributor"], row["held"]) for row in result.departed] == [("ann", "5.00")]
    assert space.ledger.balance("team") == {"ann": 0, "bob": 500}
    assert pay("team", {"pool": "10.00", "name": "team", "disputed": ["ann"]}).statement == result.statement
