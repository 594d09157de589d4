"""Audit packs: verified by a Python that has nothing of the product, and by whom any rewritten row is noticed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sqlalchemy import text

from royalty.infra.audit import verifier
from royalty.infra.audit.checkpoints import WRITERS, Notary
from royalty.infra.audit.pack import Packed, write_pack
from royalty.infra.audit.receipts import Receipts
from royalty.infra.audit.signing import new_key
from royalty.infra.ledger.acts import Acts
from royalty.infra.ledger.approvals import Approvals
from royalty.infra.ledger.cases import Award, Cases
from royalty.infra.ledger.decisions import decide
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.pages.audit import render_audit
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.pages.language import shipped_language
from royalty.infra.stores.artifacts import ArtifactStore, StoreError
from royalty.infra.stores.chain import act_hash
from royalty.infra.stores.database import open_database
from royalty.infra.stores.links import link_document, sign_earlier_links
from royalty.infra.stores.records import Records
from royalty.infra.stores.runstore import RunStore, StageRecord
from tests.ledgers import before_evidence, euros, rewrite

NAMES = {"=cmd": 600, "zoë": 400, "-5": 0}


@dataclass
class Books:
    """A ledger with its files, and how to pack it."""

    ledger: Ledger
    notary: Notary
    artifacts: ArtifactStore
    folder: Path

    def pack(self, name: str = "pack") -> Packed:
        render = partial(render_audit, language=shipped_language("en"))
        return write_pack(self.folder / name, self.ledger, self.artifacts, self.notary, render)

    def sign_anew(self) -> None:
        """Sign all of a database without triggers as if it were of an earlier version, by a key of the owner's."""
        shutil.rmtree(self.notary.root)
        with self.ledger.engine.begin() as connection:
            for table in ("signatures", "link_signatures"):
                connection.execute(text(f"DELETE FROM {table}"))
        self.ledger.witness = self.notary = Notary(self.folder / "audit")
        Records(self.ledger.engine, self.notary).prepare()
        sign_earlier_links(self.ledger.engine, self.notary)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    engine, notary = open_database(f"sqlite:///{tmp_path / 'royalty.db'}"), Notary(tmp_path / "audit")
    books = Books(Ledger(engine, notary), notary, ArtifactStore(tmp_path / "artifacts"), tmp_path)
    table = books.artifacts.put(b"a credit table")
    rows = [{"contributor": name, "amount": f"{amount / 100:.2f}"} for name, amount in NAMES.items()]
    payout = books.artifacts.put(csv_bytes(pd.DataFrame(rows)))
    runs = RunStore(engine, notary)
    runs.record_stage(StageRecord("credit", "credit-key", {"share": 0.1}, {"table": table}, 1.0))
    evidence = {
        "credit": {"table": table, "stages": ["credit-key"]},
        "division": {"stage": "pay-key", "payout": payout},
        "rows": runs.contents(["credit-key"]),
    }
    terms = {"policy": "proportional", "cap": "1"}
    books.ledger.post("may", euros(table, NAMES, evidence=evidence, terms=terms, source="digits"))
    books.ledger.post("june", euros("v2", {"zoë": 10}, held={"=cmd": 5}), replace=True)
    books.ledger.release("june", ["=cmd"])
    case = Cases(engine, notary).open("clerk", claimant="Agency", contributors=["zoë"], reason="copies")
    decide(books.ledger, case.id, "judge", outcome="release", reason="her own")
    Receipts(notary).write_missing(Acts(engine, notary).all())
    return books


def bare(pack: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a pack's own script by a Python without installed packages, environment and current folder."""
    script = pack / "verify.py" if pack.is_dir() else pack.with_name("verify.py")
    command = [sys._base_executable, "-I", "-S", str(script), str(pack), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=pack.parent)


def test_the_script_verifies_the_pack_without_the_product(books: Books) -> None:
    packed = books.pack()
    probe = [sys._base_executable, "-I", "-S", "-c", "import royalty"]
    assert subprocess.run(probe, capture_output=True).returncode == 1, "the product is not there"
    source = (books.folder / "pack/verify.py").read_text()
    assert "royalty" not in [line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith("from ")]
    found = bare(books.folder / "pack", "--expect", packed.head)
    assert (found.returncode, found.stderr) == (0, "")
    assert f"3 statements and {packed.entries} entries hold; head {packed.head}" in found.stdout
    assert "the expected head is that of statement 3" in found.stdout
    public = next((books.folder / "pack/keys").glob("*.pem"))
    assert bare(books.folder / "pack", "--key", str(public)).returncode == 0
    statements = {row.sequence: row.hash for row in books.ledger.statements()}
    assert dict(verifier.verify(books.folder / "pack").heads) == statements


def test_a_zip_file_is_as_good(books: Books) -> None:
    packed = books.pack("pack.zip")
    with zipfile.ZipFile(books.folder / "pack.zip") as archive:
        (books.folder / "verify.py").write_bytes(archive.read("verify.py"))
        page = archive.read("index.html").decode()
    found = bare(books.folder / "pack.zip", "--expect", packed.head)
    assert found.returncode == 0, found.stdout + found.stderr
    assert packed.head in page
    assert "€10.00" in page
    with pytest.raises(StoreError, match="is there; name another one"):
        books.pack("pack.zip")


LINES = ("statements.jsonl", "rows.jsonl", "acts.jsonl")
CHECKED = (*LINES, "receipts", "entries", "policies", "evidence", "tables", "checkpoints", "keys")


def test_any_byte_that_is_changed_is_noticed(books: Books) -> None:
    books.pack()
    pack, draw = books.folder / "pack", random.Random(0)
    files = [path for path in pack.rglob("*") if path.is_file() and path.relative_to(pack).parts[0] in CHECKED]
    assert {path.relative_to(pack).parts[0] for path in files} == set(CHECKED)
    for path in files:
        payload = path.read_bytes()
        for _ in range(12 if payload else 0):
            place = draw.randrange(len(payload))
            changed = bytearray(payload)
            changed[place] ^= 1 << draw.randrange(7)
            path.write_bytes(changed)
            try:
                problems = verifier.verify(pack).problems
            except verifier.Unreadable:
                continue
            assert problems or is_layout(path, payload, place), (path, place, payload[place : place + 20])
        path.write_bytes(payload)
    key = next((pack / "keys").glob("*.pem"))
    trusted = books.folder / "trusted.pem"
    trusted.write_bytes(key.read_bytes())
    for path in files:
        payload = path.read_bytes()
        path.unlink()
        try:
            found = verifier.verify(pack, trusted=[trusted])
            assert found.problems or found.notes, path
        except verifier.Unreadable:
            pass
        path.write_bytes(payload)
    assert verifier.verify(pack).problems == []


def is_layout(path: Path, payload: bytes, place: int) -> bool:
    """Whether a byte says nothing: a key's file has lines around the key, whose last letters have unused bits."""
    start = payload.index(b"\n") + 1
    return path.suffix == ".pem" and not start <= place < payload.index(b"\n", start) - 2


def test_a_ledger_rewritten_with_all_that_its_owner_has_is_noticed_by_one_kept_checkpoint(
    books: Books, tmp_path: Path
) -> None:
    """The owner of database and home moves money, chains it anew, and signs it all with a key of their own."""
    kept, public = tmp_path / "kept.json", tmp_path / "trusted.pem"
    shutil.copy(books.notary.checkpoints()[0][0], kept)
    public.write_text(books.notary.signer.public)
    rewrite(books.ledger, "=cmd", "zoë")
    with pytest.raises(LedgerBroken, match="was rewritten since"):
        books.pack("refused")
    assert not (tmp_path / "refused").exists()
    books.sign_anew()
    for table in books.folder.glob("artifacts/*/*"):  # left out of the pack, as the payout table would tell
        table.unlink()
    books.ledger.post("july", euros("v3", {"zoë": 1}))
    books.pack()
    assert bare(tmp_path / "pack").returncode == 0, "it agrees with itself"
    for arguments in (("--expect", str(kept)), ("--key", str(public))):
        found = bare(tmp_path / "pack", *arguments)
        assert found.returncode == 1
        assert "PROBLEM" in found.stdout


def test_checkpoints_of_the_ledger_before_it_was_rewritten_are_noticed_in_a_pack(books: Books, tmp_path: Path) -> None:
    books.pack("before")
    rewrite(books.ledger, "=cmd", "zoë")
    books.sign_anew()
    books.pack("after")
    for folder in ("checkpoints", "keys"):
        shutil.rmtree(tmp_path / "after" / folder, ignore_errors=True)
        shutil.copytree(tmp_path / "before" / folder, tmp_path / "after" / folder)
    problems = verifier.verify(tmp_path / "after").problems
    rewritten = [f"the ledger does not have the head of checkpoint {place}: it was rewritten" for place in (1, 2, 3)]
    assert [problem for problem in problems if "checkpoint" in problem] == rewritten


def test_payments_that_differ_from_the_payout_table_are_noticed(books: Books) -> None:
    rewrite(books.ledger, "=cmd", "zoë", 1)
    books.sign_anew()
    books.pack()
    assert verifier.verify(books.folder / "pack").problems == [
        f"the payments of statement {books.ledger.statements()[0].id} differ from its payout table"
    ]


def test_statements_of_the_version_before_are_packed_and_verified(books: Books) -> None:
    before_evidence(books.ledger.engine)
    shutil.rmtree(books.notary.root)
    books.ledger = Ledger(open_database(str(books.ledger.engine.url)), Notary(books.folder / "audit"))
    books.ledger.post("july", euros("v3", {"zoë": 1}))
    packed = books.pack("old")
    assert verifier.verify(books.folder / "old", [packed.head]).problems == []
    entries = books.folder / "old/entries/00000001.jsonl"
    entries.write_text(entries.read_text().replace("600", "601").replace("-1000", "-1001"))
    assert "its hash does not match" in verifier.verify(books.folder / "old").problems[0]


def approved(books: Books, pool: str, entries: list[list[object]], by: str = "boss") -> str:
    """Hash of the act by which a second person approves entries of a pool, which a clerk asked for."""
    content = {"pool": pool, "period": "", "currency": "EUR", "entries": sorted(entries, key=str)}
    engine, notary = books.ledger.engine, books.notary
    approvals = Approvals(engine, notary)
    asked = approvals.request("clerk", content, {"content": content, "reasons": ["it is large"]})
    if by.strip() == "clerk":  # which the product refuses
        return Acts(engine, notary).record("approval", "approved", by, {"note": ""}, asked.id).hash
    verdict = approvals.decide(asked.id, by, approve=True, note="", same=str.__eq__).verdict
    assert verdict is not None
    return verdict.hash


def test_a_decision_is_signed_by_a_key_of_the_checkpoints(books: Books, tmp_path: Path) -> None:
    books.pack()
    receipt = tmp_path / "pack/receipts/act-00000002.json"
    document = json.loads(receipt.read_text())
    assert (document["royalty"], document["act"]["actor"]) == ("decision of a case", "judge")
    assert verifier.verify(tmp_path / "pack").problems == []
    stranger = new_key(tmp_path / "stranger.pem")
    signed = {part: value for part, value in document.items() if part != "signature"}
    signature = {"algorithm": "Ed25519", "key": stranger.id, "public": stranger.public, "value": stranger.sign(signed)}
    receipt.write_text(json.dumps({**signed, "signature": signature}))
    (problem,) = verifier.verify(tmp_path / "pack").problems
    assert "its signature does not fit" in problem
    (tmp_path / "pack/keys/stranger.pem").write_text(stranger.public)
    (problem,) = verifier.verify(tmp_path / "pack").problems
    assert "which signed no checkpoint" in problem
    receipt.unlink()
    found = verifier.verify(tmp_path / "pack")
    assert "decisions without a signed receipt in this pack: 1" in found.notes


DIVIDED: list[list[object]] = [["held", "bob", 5], ["payment", "zoë", 10], ["pool", "", -15]]


def test_approvals_and_decisions_are_in_the_pack_and_compared(books: Books) -> None:
    ledger = books.ledger
    case = Cases(ledger.engine, books.notary).open("clerk", claimant="Agency", contributors=["bob"], reason="copies")
    terms = {"holds": {"bob": [f"case {case.id}"]}, "approved": approved(books, "july", DIVIDED)}
    ledger.post("july", euros("v1", {"zoë": 10}, held={"bob": 5}, terms=terms))
    decide(ledger, case.id, "judge", outcome="reverse", reason="copied", awards=[Award("bob", "zoë", 3, "EUR")])
    ledger.post("august", euros("v1", {"yan": 1}, held={"bob": 7}))
    ledger.release("august", ["bob"], approved=approved(books, "august", [["release", "bob", 7]]))
    packed = books.pack()
    found = verifier.verify(books.folder / "pack", [packed.acts_head])
    assert (found.problems, len(found.acts), packed.acts) == ([], 8, 8)
    assert "the expected head is that of act 8" in found.notes
    assert f"8 acts hold; the hash of the last is {packed.acts_head}" in bare(books.folder / "pack").stdout
    acts = books.folder / "pack/acts.jsonl"
    lines = acts.read_text().splitlines(keepends=True)
    acts.write_text("".join(lines[:-1]))
    (cut,) = verifier.verify(books.folder / "pack").problems
    assert "names an act (approved) that is not in this pack" in cut
    acts.unlink()
    assert len(verifier.verify(books.folder / "pack").problems) == 5, "two approvals, two acts of a case, and a receipt"


@pytest.mark.parametrize("change", ["added", "unsigned", "by another key", "by a key of the pack"])
def test_an_act_that_the_product_did_not_sign_is_noticed_in_a_pack(books: Books, change: str) -> None:
    books.pack()
    file = books.folder / "pack/acts.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    last = records[-1]
    stranger = new_key(books.folder / "stranger.pem")
    if change == "added":
        act = {**last["act"], "position": 3, "kind": "message", "body": {"text": "forged"}}
        records.append({**last, "act": act, "previous": last["hash"], "hash": act_hash(act, last["hash"])})
    elif change == "unsigned":
        last["signature"] = None
    else:
        last["signature"] = [stranger.id, stranger.sign(link_document("acts", 2, last["hash"]))]
    if change == "by a key of the pack":
        (books.folder / "pack/keys/stranger.pem").write_text(stranger.public)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    trusted = books.folder / "trusted.pem"
    trusted.write_text(books.notary.signer.public)
    (problem,) = verifier.verify(books.folder / "pack", trusted=[trusted]).problems
    if change == "by a key of the pack":
        assert f"the key {stranger.id} signed acts or statements, and no trusted key signed it" in problem
        assert problem in verifier.verify(books.folder / "pack").notes, "a pack without a trusted key shows itself only"
    else:
        assert f"act {len(records)} is not signed by a key of this pack" in problem
        assert bare(books.folder / "pack").returncode == 1


def test_acts_of_a_home_that_is_trusted_are_in_the_pack_with_its_key(books: Books) -> None:
    there = Notary(books.folder / "there")
    (there.root / WRITERS).mkdir(parents=True)
    (there.root / WRITERS / "here.pem").write_text(books.notary.signer.public)
    Acts(books.ledger.engine, there).record("opt-out", "recorded", "clerk", {"contributor": "x", "works": []})
    (books.notary.root / WRITERS).mkdir()
    (books.notary.root / WRITERS / "there.pem").write_text(there.signer.public)
    books.pack()
    says = f"the key {there.signer.id} signed acts or statements, and no trusted key signed it"
    found = verifier.verify(books.folder / "pack")
    assert (found.problems, says in found.notes) == ([], True)
    keys = [books.folder / f"{name}.pem" for name in ("here", "there")]
    for file, notary in zip(keys, (books.notary, there), strict=True):
        file.write_text(notary.signer.public)
    assert verifier.verify(books.folder / "pack", trusted=keys).problems == []
    assert verifier.verify(books.folder / "pack", trusted=keys[:1]).problems == [says]


def test_a_pack_of_the_version_before_has_no_signatures_of_acts(books: Books) -> None:
    books.pack()
    pack = books.folder / "pack"
    (pack / "pack.json").write_text('{"format":2,"statements":3}')
    for name in ("acts.jsonl", "statements.jsonl"):
        records = [json.loads(line) for line in (pack / name).read_text().splitlines()]
        lines = ({part: value for part, value in record.items() if part != "signature"} for record in records)
        (pack / name).write_text("".join(json.dumps(record) + "\n" for record in lines))
    says = "an earlier version wrote this pack, without signatures of acts and statements"
    found = verifier.verify(pack)
    assert (found.problems, says in found.notes) == ([], True)
    assert verifier.verify(pack, trusted=[*(pack / "keys").glob("*.pem")]).problems == [says]


@pytest.mark.parametrize(
    ("pool", "entries", "by", "why"),
    [
        ("july", [["payment", "zoë", 9]], "boss", "other amounts"),
        ("other", DIVIDED, "boss", "another pool"),
        ("july", DIVIDED, "clerk ", "by a person who asked for it"),
    ],
)
def test_an_approval_of_something_else_is_noticed(
    books: Books, pool: str, entries: list[list[object]], by: str, why: str
) -> None:
    terms = {"approved": approved(books, pool, entries, by)}
    books.ledger.post("july", euros("v1", {"zoë": 10}, held={"bob": 5}, terms=terms))
    books.pack()
    (problem,) = verifier.verify(books.folder / "pack").problems
    assert "is not what was approved" in problem
    assert why in problem


@pytest.mark.parametrize("name", ["nothing", "file", "folder"])
def test_what_is_no_pack_is_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(verifier.Unreadable):
        verifier.verify(tmp_path / name)
    assert verifier.main([str(tmp_path / name)]) == 2


def test_rows_that_grew_since_do_not_matter(books: Books) -> None:
    RunStore(books.ledger.engine).record_stage(StageRecord("later", "k", {}, {}, 1.0))
    books.pack()
    assert verifier.verify(books.folder / "pack").problems == []


def test_the_verifier_shows_characters_that_a_terminal_obeys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SimpleNamespace(notes=["a\x1b[2J"], problems=["Zoë\u202e"], heads=[], entries=0, acts={})
    monkeypatch.setattr(verifier, "verify", lambda *arguments: found)
    assert verifier.main([]) == 1
    assert capsys.readouterr().out.startswith("note: a\\x1b[2J\nPROBLEM: Zoë\\u202e\n")
