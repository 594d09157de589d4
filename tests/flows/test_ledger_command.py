"""`royalty ledger` and `royalty audit` on a home whose statements were posted directly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from sqlalchemy import text
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.settings import Settings
from royalty.infra.workspace import Workspace, open_workspace
from tests.in_process import settings_of
from tests.ledgers import euros, rewrite, without_triggers

Command = Callable[..., Result]


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    space = open_workspace(Settings(home=tmp_path / "home"))
    for month, valuation in (("2026-05", "v1"), ("2026-06", "v2")):
        space.ledger.post("fund", euros(valuation, {"ann": 600, "bob": 400}), period=month)
    return space


@pytest.fixture
def command(space: Workspace) -> Iterator[Command]:
    with settings_of(Settings(home=space.root)):
        yield lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_one_statement_and_one_person_are_shown_without_the_rest(space: Workspace, command: Command) -> None:
    identity = space.ledger.statements()[1].id
    shown = json.loads(command("ledger", "--statement", identity, "--contributor", "bob", "--json").stdout)
    assert shown["statement"]["totals"] == {"payment": [2, 1000], "pool": [1, -1000]}
    assert [(row["period"], row["kind"], row["amount_minor"]) for row in shown["entries"]] == [
        ("2026-05", "payment", 400),
        ("2026-06", "payment", 400),
    ]
    printed = command("ledger", "--statement", identity, "--contributor", "bob")
    assert (printed.exit_code, "€10.00" in printed.output, "fund 2026-06" in printed.output) == (0, True, True)
    assert isinstance(command("ledger", "--statement", "nothing").exception, LedgerConflict)
    assert json.loads(command("ledger", "--contributor", "nobody", "--json").stdout)["entries"] == []


FORGED = {
    "an entry of a closed statement": "INSERT INTO entries "
    "(statement, pool, contributor, valuation, kind, amount_minor, currency) "
    "SELECT statement, pool, contributor, valuation, 'account', 900000, currency FROM entries "
    "WHERE contributor = 'bob' LIMIT 1",
    "an amount": "UPDATE entries SET amount_minor = 900000 WHERE contributor = 'bob' AND id < 3",
    "a date": "UPDATE statements SET created_at = '2020-01-01' WHERE position = 1",
    "the chain": "UPDATE statements SET previous = hash WHERE position = 2",
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_nothing_forged_is_shown_of_a_person(space: Workspace, command: Command, change: str) -> None:
    without_triggers(space.ledger.engine)
    with space.ledger.engine.begin() as connection:
        assert connection.execute(text(change)).rowcount == 1
    for arguments in ((), ("--json",)):
        shown = command("ledger", "--contributor", "bob", *arguments)
        assert (shown.exit_code, shown.output) == (1, "")
        assert "is not valid" in str(shown.exception)


def test_no_id_date_or_amount_is_cut_in_a_narrow_terminal(
    space: Workspace, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = "photographs-of-the-museum-and-its-friends"
    held = euros("v3", {"ann": 123_456_789}, held={"bob": 98_765_432})
    division = space.ledger.post(pool, replace(held, source="another run"), period="2026-05")
    space.ledger.post(pool, euros("v4", {"ann": 123_456_700, "bob": 98_765_521}), period="2026-05", replace=True)
    monkeypatch.setattr("royalty.infra.pages.terminal.console", Console(width=80, highlight=False))
    lines = command("ledger").output.splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    for statement in space.ledger.statements():
        assert statement.id in words
    for amount in ("paid €1,234,567.89", "held €987,654.32", "taken back €1,234,567.89", "another run"):
        assert amount in words, amount
    assert any(division in line and "€1,234,567.89" in line for line in lines)
    assert "…" not in words


def test_a_header_that_was_changed_is_not_shown(space: Workspace, command: Command) -> None:
    identity = space.ledger.statements()[0].id
    without_triggers(space.ledger.engine)
    with space.ledger.engine.begin() as connection:
        connection.execute(text("UPDATE statements SET totals = '{}' WHERE position = 1"))
    assert "its hash does not match" in str(command("ledger", "--statement", identity).exception)


def test_since_a_checkpoint_entries_are_verified_by_number_and_sum_before_and_whole_after(
    space: Workspace, command: Command
) -> None:
    first, second = (space.root / f"audit/checkpoints/{position:08}.json" for position in (1, 2))
    assert command("ledger", "--since", first).exit_code == 0
    without_triggers(space.ledger.engine)
    moved = "UPDATE entries SET amount_minor = amount_minor {} WHERE contributor = '{}' AND statement = '{}'"
    statements = [posted.id for posted in space.ledger.statements()]

    def change(*changes: tuple[str, str, str]) -> None:
        with space.ledger.engine.begin() as connection:
            for by, name, statement in changes:
                connection.execute(text(moved.format(by, name, statement)))

    change(("+ 1", "ann", statements[0]), ("- 1", "bob", statements[0]))
    assert command("ledger", "--since", first).exit_code == 0, "moved between two people: number and sums are the same"
    assert command("ledger").exit_code == 1
    change(("+ 1", "ann", statements[0]))
    found = command("ledger", "--since", first)
    assert (found.exit_code, "number or sum of its entries" in found.output) == (1, True)
    change(("- 2", "ann", statements[0]), ("+ 1", "bob", statements[0]))
    assert command("ledger").exit_code == 0
    change(("+ 1", "ann", statements[1]), ("- 1", "bob", statements[1]))
    assert command("ledger", "--since", first).exit_code == 1, "after the checkpoint every entry is verified"
    assert command("ledger", "--since", second).exit_code == 0


def test_since_a_checkpoint_of_another_ledger_is_refused(space: Workspace, command: Command, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_bytes((space.root / "audit/checkpoints/00000001.json").read_bytes())
    rewrite(space.ledger)
    found = command("ledger", "--since", kept)
    assert (found.exit_code, "the ledger was rewritten since" in found.output) == (1, True)


def test_a_pack_of_this_home_is_verified(space: Workspace, command: Command, tmp_path: Path) -> None:
    exported = command("audit", "export", tmp_path / "pack")
    assert (exported.exit_code, "2 statements, 6 entries" in exported.output) == (0, True)
    verified = command("audit", "verify", tmp_path / "pack", "--expect", space.ledger.statements()[0].hash)
    assert (verified.exit_code, "2 statements, 6 entries" in verified.output) == (0, True)
