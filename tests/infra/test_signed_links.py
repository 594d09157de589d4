"""Acts and statements are signed by the product: whoever writes to the database without the key forges none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.signing import new_key
from royalty.infra.ledger.acts import Acts, ActsBroken
from royalty.infra.ledger.ledger import Ledger, identity_of
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.settings import Settings
from royalty.infra.stores.chain import ACT_PARTS, GENESIS, HEADER, act_hash, body_of, header_hash, pool_key
from royalty.infra.stores.database import VERSION_TABLE, open_database
from royalty.infra.workspace import open_workspace
from tests.ledgers import euros, without_triggers

NOW = "2026-05-01T00:00:00+00:00"
UNSIGNED = "is not signed, so the product did not write it"


@pytest.fixture
def acts(ledger: Ledger, tmp_path: Path) -> Acts:
    """Three acts of a home."""
    acts = Acts(ledger.engine, Notary(tmp_path / "audit"))
    acts.record("case", "opened", "clerk", {"reason": "copies"}, "c1")
    acts.record("case", "message", "ann", {"text": "mine"}, "c1")
    acts.record("opt-out", "recorded", "bob", {"contributor": "bob", "works": [], "reason": "moved"})
    return acts


def insert(connection: Connection, table: str, values: Mapping[str, Any]) -> None:
    columns = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    places = ", ".join(f":{name}" for name in columns)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"), columns)


def forge_act(connection: Connection) -> int:
    """An act in the right place, with the right hash; returns its position."""
    position, previous = connection.execute(
        text("SELECT position, hash FROM acts ORDER BY position DESC LIMIT 1")
    ).first() or (0, GENESIS)
    values = (position + 1, "case", "c1", "decided", "judge", {"outcome": "release"}, NOW)
    act = dict(zip(ACT_PARTS, values, strict=True))
    insert(connection, "acts", {**act, "previous": previous, "hash": act_hash(act, previous)})
    return int(position) + 1


def forge_statement(connection: Connection) -> str:
    """A statement that puts 9,000.00 on somebody's account, with all that belongs to one; returns its ID."""
    position, previous = connection.execute(
        text("SELECT position, hash FROM statements ORDER BY position DESC LIMIT 1")
    ).one()
    pool = {"name": "gift", "period": "", "currency": "EUR"}
    key, identity = pool_key("gift", ""), identity_of("gift")
    entries = [("eve", "account", "v9", 900_000, "EUR"), ("", "pool", "v9", -900_000, "EUR")]
    body = body_of(entries)
    statement = {"id": identity, "position": position + 1, "kind": "division", "valuation": "v9", "source": None}
    statement |= {"policy": None, "amount_minor": 900_000, "replaces": None, "created_at": NOW, "version": 2}
    statement |= {"evidence": None, "body": body.digest, "totals": body.totals}
    head = header_hash({part: statement[part] for part in HEADER}, pool, previous)
    insert(connection, "pools", {"id": key, **pool, "created_at": NOW})
    columns = ("contributor", "kind", "valuation", "amount_minor", "currency")
    for entry in entries:
        insert(connection, "entries", {"statement": identity, "pool": key, **dict(zip(columns, entry, strict=True))})
    insert(connection, "statements", {**statement, "pool": key, "previous": previous, "hash": head})
    return identity


def refused(acts: Acts, position: int, why: str) -> None:
    """Nothing is read, written or listed, and the act is named."""
    for use in (acts.all, acts.head, lambda: acts.record("case", "opened", "ann", {})):
        with pytest.raises(ActsBroken, match=rf"act {position} .*{why}"):
            use()
    (problem,) = acts.problems()
    assert re.search(why, problem), problem


def test_an_act_that_was_added_by_hand_is_named(acts: Acts) -> None:
    with acts.engine.begin() as connection:
        forge_act(connection)
    assert len(Acts(acts.engine).all()) == 4, "only the signature tells"
    refused(acts, 4, UNSIGNED)


@pytest.mark.parametrize("own", [True, False], ids=["by a key of theirs", "of another act"])
def test_an_invented_signature_does_not_count(acts: Acts, tmp_path: Path, own: bool) -> None:
    with acts.engine.begin() as connection:
        position = forge_act(connection)
        query = text("SELECT * FROM link_signatures WHERE chain = 'acts' AND position = 1")
        signature = dict(connection.execute(query).mappings().one())
        if own:
            stranger = new_key(tmp_path / "stranger.pem")
            signature |= {"key": stranger.id, "value": stranger.sign({})}
        insert(connection, "link_signatures", {**signature, "position": position})
    refused(acts, 4, "which is none of" if own else "was changed after it was signed")


def test_acts_that_were_removed_after_they_were_signed_are_missed(acts: Acts) -> None:
    for change in ("DELETE FROM link_signatures", "UPDATE link_signatures SET key = 'k'"):
        with acts.engine.connect() as connection, pytest.raises(IntegrityError, match="append-only"):
            connection.execute(text(change))
    without_triggers(acts.engine)
    with acts.engine.begin() as connection:
        connection.execute(text("DELETE FROM acts WHERE position = 3"))
    refused(acts, 3, "it was removed after it was signed")
    with acts.engine.begin() as connection:
        connection.execute(text("DELETE FROM link_signatures"))
    refused(acts, 1, UNSIGNED)


def as_before_signatures(url: str) -> None:
    """Leave a database as version 9 of the schema did."""
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE link_signatures"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9'"))
    engine.dispose()


def test_acts_of_the_version_before_are_signed_once(acts: Acts, tmp_path: Path) -> None:
    url = acts.engine.url.render_as_string(hide_password=False)
    acts.engine.dispose()
    as_before_signatures(url)
    (tmp_path / "audit/checkpoints/links.json").unlink()
    upgraded = Acts(open_database(url), Notary(tmp_path / "audit"))
    upgraded.record("case", "message", "ann", {"text": "again"}, "c1")
    assert len(upgraded.all()) == 4
    assert json.loads((tmp_path / "audit/checkpoints/links.json").read_text())["earlier"] == 3
    with upgraded.engine.begin() as connection:
        forge_act(connection)
    refused(upgraded, 5, UNSIGNED)
    without_triggers(upgraded.engine)
    upgraded.engine.dispose()
    as_before_signatures(url)
    refused(Acts(open_database(url), Notary(tmp_path / "audit")), 1, UNSIGNED)


@pytest.mark.parametrize("second", [False, True], ids=["the home", "another home"])
def test_a_database_without_acts_adopts_none_that_is_added(tmp_path: Path, second: bool) -> None:
    url = f"sqlite:///{tmp_path / 'royalty.db'}"
    first = Settings(home=tmp_path / "first", database_url=url)
    with open_workspace(first).ledger.engine.begin() as connection:
        forge_act(connection)
    open_workspace.cache_clear()
    space = open_workspace(Settings(home=tmp_path / "second", database_url=url) if second else first)
    refused(space.acts, 1, UNSIGNED)


def test_acts_of_another_home_count_if_its_key_is_trusted(acts: Acts, tmp_path: Path) -> None:
    there = Notary(tmp_path / "there/audit")
    (there.root / "writers").mkdir(parents=True)
    (public,) = (tmp_path / "audit/keys").glob("*.pem")
    (there.root / "writers/first.pem").write_bytes(public.read_bytes())
    Acts(acts.engine, there).record("case", "message", "bob", {"text": "no"}, "c1")
    key = there.signer.id
    refused(acts, 4, rf"the key {key}, which is none of .*put its public key `audit/keys/{key}.pem` into")
    (tmp_path / "audit/writers").mkdir()
    (tmp_path / "audit/writers/there.pem").write_bytes((there.ring.folder / f"{key}.pem").read_bytes())
    assert [act.actor for act in acts.all()] == ["clerk", "ann", "bob", "bob"]


def test_acts_signed_by_a_key_that_was_replaced_count(acts: Acts, tmp_path: Path) -> None:
    old, new = Notary(tmp_path / "audit"), new_key(tmp_path / "new.pem")
    old.ring.succeed(old.signer, new)
    later = Acts(acts.engine, Notary(tmp_path / "audit", key=str(tmp_path / "new.pem")))
    later.record("case", "message", "ann", {"text": "later"}, "c1")
    assert len(later.all()) == 4


def test_a_statement_that_was_added_by_hand_is_named_and_nothing_is_paid(ledger: Ledger, tmp_path: Path) -> None:
    ledger.witness = Notary(tmp_path / "audit")
    ledger.post("may", euros("v1", {"ann": 60}))
    with ledger.engine.begin() as connection:
        identity = forge_statement(connection)
    assert Ledger(ledger.engine).verify().broken is None, "only the signature tells"
    found, before = ledger.verify(), ledger.statements()
    assert (found.noun, found.broken) == ("statement", identity)
    assert UNSIGNED in found.problem
    with pytest.raises(LedgerBroken, match=UNSIGNED):
        ledger.post("june", euros("v2", {"ann": 1}))
    with pytest.raises(LedgerBroken, match=UNSIGNED):
        ledger.accounts("june", "EUR", ["eve"])
    assert ledger.statements() == before
    assert [head.position for head in ledger.witness.heads()] == [1], "no checkpoint is signed for it"
