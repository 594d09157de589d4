"""What an auditor does with the command line: expect a head, compare copies, export a pack and verify it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from tests.flows.test_payment_files import Pay, pay, space
from tests.in_process import settings_of
from tests.ledgers import rewrite, without_triggers

Command = Callable[..., Result]
__all__ = ["pay", "space"]


@pytest.fixture
def command(space: Workspace) -> Iterator[Command]:
    with settings_of(Settings(home=space.root)):
        yield lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_head_that_was_kept_is_expected(space: Workspace, pay: Pay, command: Command, tmp_path: Path) -> None:
    pay()
    head = space.ledger.statements()[0].hash
    checkpoint = shutil.copy(space.root / "audit/checkpoints/00000001.json", tmp_path)
    assert command("ledger", "--expect", head, "--expect", checkpoint).exit_code == 0
    assert isinstance(command("ledger", "--expect", "12").exception, StoreError)
    other = command("ledger", "--expect", "0" * 64)
    assert other.exit_code == 1
    assert "no statement of this ledger has the hash" in other.output
    shutil.rmtree(space.root / "audit")
    rewrite(space.ledger, "=cmd|' /C calc'!A0", "zoë", 100)
    shutil.rmtree(space.root / "payouts")
    assert command("ledger").exit_code == 0, "the database agrees with itself"
    for kept in (head, checkpoint):
        found = command("ledger", "--expect", kept)
        assert found.exit_code == 1
        assert "were changed or removed" in found.output


def test_copies_and_payment_files_are_compared(space: Workspace, pay: Pay, command: Command) -> None:
    paid = pay()
    folder = space.root / "payouts" / str(paid.statement)
    assert command("ledger").exit_code == 0
    for name, change, says in (
        (
            "statement.json",
            lambda payload: payload.replace(b"5000", b"5001"),
            "differs from statement .* in moved, paid",
        ),
        ("statement.json", lambda payload: payload[:9], "its form"),
        ("pain001.xml", lambda payload: payload.replace(b"NL91", b"NL92"), "is not the file that was recorded"),
        ("other-payments.csv", lambda payload: payload + b"\n", "is not the file that was recorded"),
    ):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(change(before))
        found = command("ledger", "--json")
        (problem,) = json.loads(found.stdout)["problems"]
        assert (found.exit_code, re.search(says, problem) is not None) == (1, True), problem
        (folder / name).write_bytes(before)
    assert command("ledger").exit_code == 0
    folder.rename(folder.with_name("ffff"))
    assert "which the ledger no longer has" in command("ledger").output


def test_a_pack_is_exported_and_verified(space: Workspace, pay: Pay, command: Command, tmp_path: Path) -> None:
    paid = pay()
    kept = shutil.copy(space.root / "audit/checkpoints/00000001.json", tmp_path)
    exported = command("audit", "export", tmp_path / "pack.zip", "--json")
    assert exported.exit_code == 0, exported.output
    packed = json.loads(exported.stdout)
    assert (packed["statements"], packed["missing"]) == (2, [])
    verified = command("audit", "verify", tmp_path / "pack.zip", "--expect", kept)
    assert verified.exit_code == 0, verified.output
    assert "2 statements" in verified.output
    evidence = space.ledger.evidence_of(space.ledger.statement(str(paid.statement)).evidence or "")
    assert evidence is not None
    assert set(evidence["rows"]) >= {"key of show", evidence["division"]["stage"]}
    assert command("audit", "verify", tmp_path / "pack.zip", "--expect", "0" * 64, "--json").exit_code == 1
    assert isinstance(command("audit", "verify", tmp_path).exception, StoreError)
    assert isinstance(command("audit", "export", tmp_path / "pack.zip").exception, StoreError)


def test_keys_are_written_and_replaced(space: Workspace, pay: Pay, command: Command, tmp_path: Path) -> None:
    pay()
    assert command("audit", "key", tmp_path / "new.pem").exit_code == 0
    replaced = command("audit", "rotate", tmp_path / "new.pem")
    assert replaced.exit_code == 0
    assert "set ROYALTY_SIGNING_KEY to" in replaced.output
    refused = command("audit", "rotate", tmp_path / "new.pem")
    assert isinstance(refused.exception, StoreError)
    assert command("ledger").exit_code == 0


def test_credit_that_was_changed_in_the_database_is_not_paid(space: Workspace, pay: Pay) -> None:
    without_triggers(space.ledger.engine)
    with space.ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE stages SET seconds = 9 WHERE key = 'key of show'")
    with pytest.raises(LedgerConflict, match="row key of show is not valid: it was changed in the run store after"):
        pay()
    assert space.ledger.statements() == []
