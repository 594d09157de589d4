"""Signed checkpoints: one for each statement, apart from the database, which show that the ledger was rewritten."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text

from royalty.infra.audit.checkpoints import Checkpoint, Notary, parse_expected, unexpected
from royalty.infra.audit.signing import Signer, is_signed, load_key, new_key
from royalty.infra.audit.timestamps import TimestampRefused, is_granted, query, timestamp
from royalty.infra.audit.verifier import signed_by_openssl
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.database import open_database
from royalty.infra.stores.keys import canonical
from tests.ledgers import euros, rewrite, without_triggers


@pytest.fixture
def notary(tmp_path: Path) -> Notary:
    return Notary(tmp_path / "audit")


@pytest.fixture
def witnessed(tmp_path: Path, notary: Notary) -> Ledger:
    return Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"), notary)


def paid(ledger: Ledger) -> None:
    ledger.post("may", euros("v1", {"ann": 600, "bob": 400}))
    ledger.post("june", euros("v2", {"ann": 10, "bob": 20}), replace=True)


def test_every_statement_has_a_signed_checkpoint(witnessed: Ledger, notary: Notary) -> None:
    paid(witnessed)
    checkpoints = [checkpoint for _, checkpoint in notary.checkpoints()]
    assert [(each.position, each.head) for each in checkpoints] == [
        (posted.sequence, posted.hash) for posted in witnessed.statements()
    ]
    public = notary.ring.publics[checkpoints[0].key]
    assert all(is_signed(each.document, each.signature, public) for each in checkpoints)
    assert not is_signed({**checkpoints[0].document, "position": 2}, checkpoints[0].signature, public)
    assert notary.problems() == []
    assert stat.S_IMODE((notary.root / "signing.pem").stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path, _ in notary.checkpoints()}
    witnessed.post("june", euros("v2", {"ann": 10, "bob": 20}))
    assert {path: path.read_bytes() for path, _ in notary.checkpoints()} == before, "repeating changes nothing"


def test_a_chain_rewritten_with_the_products_code_is_noticed_by_one_checkpoint(
    witnessed: Ledger, notary: Notary, tmp_path: Path
) -> None:
    paid(witnessed)
    kept = tmp_path / "kept.json"
    shutil.copy(notary.checkpoints()[0][0], kept)
    head = witnessed.statements()[0].hash
    rewrite(witnessed)
    bare = Ledger(witnessed.engine)
    assert bare.verify().broken is None, "the database agrees with itself"
    assert bare.balance("may") == {"ann": 200, "bob": 800}
    for expected in (str(kept), head, head.upper()):
        why = unexpected(parse_expected(expected), bare.statements())
        assert why is not None
        assert "statements were changed or removed" in why
    found = witnessed.verify()
    assert (found.statements, found.broken) == (0, witnessed.statements()[0].id)
    assert "checkpoint that was signed for it" in found.problem
    for use in (
        lambda: witnessed.post("july", euros("v3", {"ann": 1})),
        lambda: witnessed.balance("may"),
        witnessed.verified_statements,
    ):
        with pytest.raises(LedgerBroken, match="the ledger was rewritten since"):
            use()


def test_statements_that_were_cut_off_are_noticed(witnessed: Ledger) -> None:
    paid(witnessed)
    last = witnessed.statements()[-1].id
    without_triggers(witnessed.engine)
    with witnessed.engine.begin() as connection:
        for table, key in (("entries", "statement"), ("statements", "id")):
            connection.execute(text(f"DELETE FROM {table} WHERE {key} = :last"), {"last": last})
        connection.execute(text("DELETE FROM pools WHERE name = 'june'"))
    assert Ledger(witnessed.engine).verify().broken is None
    found = witnessed.verify()
    assert (found.broken, found.statements) == (last, 1)
    assert "its statement is not there" in found.problem
    with pytest.raises(LedgerBroken):
        witnessed.post("july", euros("v3", {"ann": 1}))


def test_a_checkpoint_that_was_missed_is_written_by_the_next_posting(
    witnessed: Ledger, notary: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    witnessed.post("may", euros("v1", {"ann": 1}))
    with monkeypatch.context() as killed:  # before its checkpoint
        killed.setattr(notary, "publish", lambda heads: None)
        witnessed.post("june", euros("v2", {"ann": 1}))
    witnessed.post("july", euros("v3", {"ann": 1}))
    assert [checkpoint.position for _, checkpoint in notary.checkpoints()] == [1, 2, 3]


def test_a_ledger_from_before_checkpoints_begins_with_its_head(tmp_path: Path, notary: Notary) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    paid(Ledger(engine))
    Ledger(engine, notary).post("july", euros("v3", {"ann": 1}))
    assert [checkpoint.position for _, checkpoint in notary.checkpoints()] == [3]


def test_a_changed_checkpoint_and_a_foreign_key_are_named(witnessed: Ledger, notary: Notary, tmp_path: Path) -> None:
    paid(witnessed)
    path, checkpoint = notary.checkpoints()[1]
    path.write_text(json.dumps({**checkpoint.document, "time": "2020", "signature": checkpoint.signature}))
    assert notary.problems() == [f"{path} was changed: its signature does not fit"]
    stranger = new_key(tmp_path / "other.pem")
    document = {**checkpoint.document, "key": stranger.id}
    path.write_text(json.dumps({**document, "signature": stranger.sign(document)}))
    assert "is signed by the key" in notary.problems()[0]
    (notary.ring.folder / "other.pem").write_text(stranger.public)
    assert notary.problems() == [
        f"the key {stranger.id} signed after {checkpoint.key}, which did not sign it as its successor"
    ]


def test_keys_are_replaced_by_a_succession_that_the_old_one_signs(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    old, new, other = (new_key(tmp_path / f"{name}.pem") for name in ("old", "new", "other"))

    def keeper(name: str) -> Notary:
        return Notary(tmp_path / "audit", str(tmp_path / f"{name}.pem"))

    Ledger(engine, keeper("old")).post("may", euros("v1", {"ann": 1}))
    with pytest.raises(StoreError, match=rf"{old.id} signs .* got the key {new.id}.*royalty audit rotate"):
        Ledger(engine, keeper("new")).post("june", euros("v2", {"ann": 1}))
    assert len(Ledger(engine).statements()) == 1, "nothing was posted that no key signs"
    keeper("old").ring.succeed(load_key(str(tmp_path / "old.pem")), new)
    Ledger(engine, keeper("new")).post("june", euros("v2", {"ann": 1}))
    assert keeper("new").problems() == []
    assert Ledger(engine, keeper("new")).verify().broken is None
    keeper("new").ring.succeed(None, other)
    Ledger(engine, keeper("other")).post("july", euros("v3", {"ann": 1}))
    assert keeper("other").problems() == [
        f"the key {other.id} signed after {new.id}, which did not sign it as its successor"
    ]
    with pytest.raises(StoreError, match="has signed before"):
        keeper("other").ring.succeed(other, old)


def test_a_key_comes_as_text_and_what_is_none_is_one_error(tmp_path: Path) -> None:
    signer = new_key(tmp_path / "key.pem")
    assert load_key((tmp_path / "key.pem").read_text()).id == signer.id
    with pytest.raises(StoreError, match="is there; name another file"):
        new_key(tmp_path / "key.pem")
    (tmp_path / "rsa.pem").write_text("no key")
    for key in (str(tmp_path / "rsa.pem"), str(tmp_path / "missing.pem"), "-----BEGIN NONSENSE"):
        with pytest.raises(StoreError, match=r"Ed25519 key in PEM.*royalty audit key") as refused:
            load_key(key)
        assert "no key" not in str(refused.value)


def test_processes_that_sign_first_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Notary(tmp_path / "audit").signer.id, range(8)))
    assert len(keys) == 1
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == ["keys", "signing.pem"]


def test_what_cannot_be_signed_or_written_is_known_before_anything_is_posted(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    (tmp_path / "file").write_text("")
    for keeper in (Notary(tmp_path / "audit", "missing.pem"), Notary(tmp_path / "audit", "", tmp_path / "file")):
        with pytest.raises(StoreError):
            Ledger(engine, keeper).post("may", euros("v1", {"ann": 1}))
    assert Ledger(engine).statements() == []


def test_copies_elsewhere_count_as_much(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    keeper = Notary(tmp_path / "audit", "", tmp_path / "elsewhere")
    paid(Ledger(engine, keeper))
    shutil.rmtree(tmp_path / "audit" / "checkpoints")
    rewrite(Ledger(engine))
    assert Ledger(engine, keeper).verify().broken is not None


def test_what_is_no_head_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[" * 100_000)
    for wrong in ("1234", str(tmp_path / "c.json"), ""):
        with pytest.raises(StoreError):
            parse_expected(wrong)
    for fields in ('{"position": 1}', '{"position": "1"}', "[]", "1"):
        (tmp_path / "c.json").write_text(fields)
        with pytest.raises(StoreError, match="is no checkpoint of a ledger"):
            Checkpoint.read(tmp_path / "c.json")


def test_openssl_takes_the_signature(tmp_path: Path, witnessed: Ledger, notary: Notary) -> None:
    witnessed.post("may", euros("v1", {"ann": 1}))
    (_, checkpoint), public = notary.checkpoints()[0], notary.signer.public
    signature = base64.b64decode(checkpoint.signature)
    payload = canonical(checkpoint.document).encode()
    assert signed_by_openssl(payload, signature, public)
    assert not signed_by_openssl(payload + b" ", signature, public)
    assert not signed_by_openssl(payload, signature, new_key(tmp_path / "other.pem").public)


CONFIG = """
[tsa]
default_tsa = own
[own]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
certs = tsa.pem
default_policy = 1.2.3.4
signer_digest = sha256
digests = sha256
[ext]
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = dn
[dn]
"""


@contextmanager
def authority(folder: Path, *, honest: bool = True) -> Iterator[str]:
    """A time-stamping authority on the loopback, by OpenSSL; one that is not honest stamps something else."""
    folder.mkdir()
    (folder / "conf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    make = "openssl req -x509 -newkey ed25519 -nodes -keyout tsa.key -out tsa.pem -subj /CN=tsa -days 2 -config conf"
    make = make.replace("ed25519", "rsa:2048")
    subprocess.run([*make.split(), "-extensions", "ext"], cwd=folder, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "query").write_bytes(asked if honest else query(b"x" * 32, 7))
            reply = "openssl ts -reply -queryfile query -out reply -config conf"
            subprocess.run(reply.split(), cwd=folder, check=True, capture_output=True)
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_authority_says_when_a_checkpoint_existed(tmp_path: Path, witnessed: Ledger, notary: Notary) -> None:
    paid(witnessed)
    with authority(tmp_path / "tsa") as url:
        notary.authority = url
        assert notary.stamp() == []
        path = notary.checkpoints()[1][0]
        check = [
            "openssl",
            "ts",
            "-verify",
            "-in",
            str(path.with_suffix(".tsr")),
            "-CAfile",
            str(tmp_path / "tsa/tsa.pem"),
        ]
        assert subprocess.run([*check, "-data", str(path)], capture_output=True).returncode == 0
        assert subprocess.run([*check, "-data", str(notary.checkpoints()[0][0])], capture_output=True).returncode != 0
        (tmp_path / "tsa/tsa.pem").rename(tmp_path / "tsa/gone.pem")
        assert notary.stamp() == [], "what is stamped is not asked for again"


def test_an_authority_that_does_not_answer_or_stamps_something_else_leaves_a_remark(
    tmp_path: Path, witnessed: Ledger, notary: Notary
) -> None:
    paid(witnessed)
    for url in ("http://127.0.0.1:1", "file:///etc/hostname"):
        notary.authority = url
        (remark,) = notary.stamp()
        assert "The checkpoint is signed and written" in remark
    with authority(tmp_path / "tsa", honest=False) as url, pytest.raises(TimestampRefused, match="does not grant one"):
        timestamp(b"payload", url)
    assert not list(notary.root.rglob("*.tsr"))
    assert not is_granted(b"")
    assert not is_granted(bytes.fromhex("30053003020102"))
    assert is_granted(bytes.fromhex("30053003020100"))


def test_a_signer_has_one_identification() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert Signer.from_private(private).id == Signer.from_private(private).id
    assert len(Signer.from_private(private).id) == 16


def test_with_a_password_no_key_is_on_disk_in_clear(tmp_path: Path) -> None:
    signer = Notary(tmp_path / "audit", password="secret").signer
    payload = (tmp_path / "audit" / "signing.pem").read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in payload
    assert b"secret" not in payload
    assert Notary(tmp_path / "audit", password="secret").signer.id == signer.id
    for wrong in ("", "another"):
        with pytest.raises(StoreError, match="encrypted with ROYALTY_SIGNING_PASSWORD"):
            _ = Notary(tmp_path / "audit", password=wrong).signer
