"""Verify an audit pack of a Royalty ledger. This file needs Python 3.11 or later, and nothing of Royalty.

    python -I verify.py                        # the pack that this file is in
    python -I verify.py PACK.zip --expect HEAD --key KEY.pem

PACK is a folder or a zip file. HEAD is the hash of a statement or act that you kept, or the file of a checkpoint; get
it in another way than the pack. KEY is the public key that you trust. Signatures need the package `cryptography`, or
OpenSSL 3. The exit code is 0 if everything holds, 1 if anything does not, and 2 if the pack cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
PARTS = ("id", "position", "kind", "valuation", "source", "policy", "amount_minor", "replaces", "created_at")
HEADER = ("version", *PARTS, "evidence", "body", "totals")
ACT_PARTS = ("position", "subject", "reference", "kind", "actor", "body", "created_at")
SIGNED = (("opt-out", "recorded"), ("case", "decided"), ("approval", "approved"), ("approval", "rejected"))
NAMED = {"acts": None, "approved": "approved", "opened": "opened", "decided": "decided"}
"""Terms of a statement that hold the hash of an act, and the kind of the act; None: of any kind."""
MOST = 20  # problems that are printed
ENTRIES, HANDED = "entries/{:08}.jsonl", "keys/successions.json"  # files; entries by position of their statement


class Unreadable(Exception):
    """The pack is not one, or a file of it is missing."""


class Pack:
    """The files of a folder or a zip file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.root: Any = path if path.is_dir() else zipfile.Path(zipfile.ZipFile(path))
        except (OSError, zipfile.BadZipFile) as error:
            raise Unreadable(f"{path} is no folder and no zip file: {error}") from error

    def names(self, folder: str) -> list[str]:
        return sorted(f"{folder}/{file.name}" for file in (self.root / folder).iterdir()) if self.has(folder) else []

    def has(self, name: str) -> bool:
        return bool((self.root / name).exists())

    def open(self, name: str) -> Any:
        try:
            return (self.root / name).open("rb")
        except (OSError, KeyError) as error:
            raise Unreadable(f"{name} is missing in {self.path}") from error

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            return bytes(stream.read())

    def lines(self, name: str) -> Iterator[bytes]:
        with self.open(name) as stream:
            yield from stream


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, as the ledger hashes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


class Verifier:
    """Reads a pack once, and collects what does not hold."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.heads: list[tuple[int, str]] = []  # position and hash of each valid statement
        self.problems, self.notes, self.entries = list[str](), list[str](), 0
        self.acts: dict[str, Any] = {}  # by hash, in their order
        self.links: list[tuple[str, int, Any]] = []  # chain, position and record of each act and statement
        self.good, self.trusted = set[str](), list[str]()  # keys that are trusted or signed by one; those given

    def run(self, expected: Iterable[str] = (), trusted: Iterable[Path] = ()) -> None:
        rows = {key: digest_of(content) for key, content in map(json.loads, self.pack.lines("rows.jsonl"))}
        self.chain_of_acts()
        self.chain(rows)
        self.checkpoints(trusted)
        self.receipts()
        self.signatures()
        for head in expected:
            self.expect(head)

    def chain_of_acts(self) -> None:
        """What people did in cases, opt-outs and approvals, in order; the first that does not hold ends the chain."""
        if not self.pack.has("acts.jsonl"):
            self.notes.append("this pack has no acts: it was written by an earlier version, or they were removed")
            return
        previous = GENESIS
        for position, line in enumerate(self.pack.lines("acts.jsonl"), start=1):
            record = json.loads(line)
            act = {part: record["act"][part] for part in ACT_PARTS}
            valid = digest_of({"previous": previous, "act": act}) == record["hash"]
            if not valid or (act["position"], record["previous"]) != (position, previous):
                self.problems.append(f"act {position} is not valid: it was changed, or one before it is missing")
                return
            self.acts[previous := record["hash"]] = act
            self.links.append(("acts", position, record))

    def chain(self, rows: dict[str, str]) -> None:
        """Every statement, in order; the first that does not hold ends the chain."""
        previous, anchored = GENESIS, 0
        for position, line in enumerate(self.pack.lines("statements.jsonl"), start=1):
            record = json.loads(line)
            statement = record["statement"]
            if (why := self.fault(record, position, previous)) is not None:
                self.problems.append(f"statement {statement.get('id')} is not valid: {why}")
                return
            previous = record["hash"]
            self.heads.append((position, previous))
            self.links.append(("statements", position, record))
            if statement.get("evidence"):
                self.evidence(statement, rows)
            anchored = max(anchored, self.named_acts(record) if statement["policy"] else 0)
        if later := len(self.acts) - anchored:
            last = list(self.acts)[-1]
            self.notes.append(f"the last {later} acts are under the hash of no statement; that of the last is {last}")

    def named_acts(self, record: dict[str, Any]) -> int:
        """The acts that the terms of a statement name; returns the position of the last of them."""
        statement, identity, last = record["statement"], f"statement {record['statement']['id']}", 0
        terms = json.loads(self.pack.read(f"policies/{statement['policy']}.json"))
        for term, kind in NAMED.items():
            if terms.get(term) is None:
                continue
            act = self.acts.get(terms[term])
            if act is None or kind not in (None, act["kind"]):
                self.problems.append(f"{identity} names an act ({term}) that is not in this pack: {terms[term]}")
                continue
            last = max(last, act["position"])
            if term == "approved" and (why := self.unapproved(record, act)):
                self.problems.append(f"{identity} is not what was approved: {why}")
            if term == "decided" and statement["id"] not in act["body"]["statements"]:
                self.problems.append(f"{identity} is none that the decision of its case names")
        return last

    def unapproved(self, record: dict[str, Any], approved: dict[str, Any]) -> str | None:
        """Why an approval is not one of a statement by a second person; None if it is."""
        statement, reference = record["statement"], approved["reference"]
        own = [act for act in self.acts.values() if (act["subject"], act["reference"]) == ("approval", reference)]
        asked = [act for act in own if act["kind"] == "requested" and act["position"] < approved["position"]]
        if not asked:
            return "nobody asked for its approval"
        content = asked[0]["body"]["content"]
        if any(digest_of(act["body"]["content"])[:12] != reference for act in asked):
            return "its approval is of other content than its ID says"
        if approved["actor"].strip().casefold() in [act["actor"].strip().casefold() for act in asked]:
            return "its approval is by a person who asked for it"
        pool = (record["pool"][part] for part in ("name", "period", "currency"))
        if tuple(pool) != (content["pool"], content["period"], content["currency"]):
            return "its approval is of another pool"
        entries = [json.loads(line) for line in self.pack.lines(ENTRIES.format(statement["position"]))]
        if statement["kind"] == "release":
            moved = [["release", name, -amount] for name, kind, _, amount, _ in entries if kind == "held-release"]
        elif statement["kind"] == "division":
            new = (row for row in entries if row[3] and not row[1].endswith("reversal"))
            moved = [[kind, name, amount] for name, kind, _, amount, _ in new]
        else:
            return None  # a correction moves differences on accounts, and its approval has the division that is due
        return None if sorted(moved) == content["entries"] else "its approval has other amounts"

    def fault(self, record: dict[str, Any], position: int, previous: str) -> str | None:
        statement, pool = record["statement"], record["pool"]
        if (statement["position"], record["previous"]) != (position, previous):
            return "its position or its previous hash does not follow from the statement before it"
        body, totals, entries = hashlib.sha256(), dict[str, list[int]](), list[Any]()
        for line in self.pack.lines(ENTRIES.format(position)):
            body.update(line)
            entry = json.loads(line)
            total = totals.setdefault(entry[1], [0, 0])
            total[:] = total[0] + 1, total[1] + entry[3]
            if statement["version"] == 1:
                entries.append(entry)
        self.entries += sum(count for count, _ in totals.values())
        content = {"previous": previous, "pool": {part: pool[part] for part in ("name", "period", "currency")}}
        content["statement"] = {part: statement[part] for part in (PARTS if statement["version"] == 1 else HEADER)}
        if statement["version"] == 1:
            content["entries"] = sorted(entries)
        elif (statement["body"], statement["totals"]) != (body.hexdigest(), totals):
            return "its entries are not those that its header names"
        if digest_of(content) != record["hash"]:
            return "its hash does not match its content"
        if sum(amount for _, amount in totals.values()):
            return "its entries do not sum to zero"
        policy = statement["policy"]
        if policy is not None and hashlib.sha256(self.pack.read(f"policies/{policy}.json")).hexdigest() != policy:
            return "the terms of its division have been changed"
        return None

    def evidence(self, statement: dict[str, Any], rows: dict[str, str]) -> None:
        """What a statement rests on: rows of the run store, and the tables in the pack."""
        digest, identity = statement["evidence"], statement["id"]
        payload = self.pack.read(f"evidence/{digest}.json")
        if hashlib.sha256(payload).hexdigest() != digest:
            self.problems.append(f"the evidence of statement {identity} has been changed")
            return
        content = json.loads(payload)
        for key in (key for key, recorded in content.get("rows", {}).items() if rows.get(key) != recorded):
            self.problems.append(f"the row {key}, which statement {identity} rests on, is missing or changed")
        credit, division = (content.get(part) or {} for part in ("credit", "division"))
        kept = {name.split("/")[1].split(".")[0]: name for name in self.pack.names("tables")}
        for title, table in (("credit table", credit.get("table")), ("payout table", division.get("payout"))):
            if table in kept:
                payload = self.pack.read(kept[table])
                if hashlib.sha256(payload).hexdigest() != table:
                    self.problems.append(f"the {title} of statement {identity} has been changed")
                elif title == "payout table" and statement["kind"] == "division":
                    self.amounts(statement, payload)
            elif table is not None:
                self.notes.append(f"the {title} of statement {identity} is not in this pack; its digest is {table}")

    def amounts(self, statement: dict[str, Any], table: bytes) -> None:
        """Compare the payments of a division with its payout table."""
        csv.field_size_limit(sys.maxsize)
        rows = csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline=""))
        paid = sorted((row["contributor"], int(row["amount"].replace(".", ""))) for row in rows)
        entries = map(json.loads, self.pack.lines(ENTRIES.format(statement["position"])))
        posted = sorted((cell(name), amount) for name, kind, _, amount, _ in entries if kind == "payment")
        if posted != paid:
            self.problems.append(f"the payments of statement {statement['id']} differ from its payout table")

    def publics(self, folder: str = "keys") -> dict[str, str]:
        names = (name for name in self.pack.names(folder) if name.endswith(".pem"))
        return {key_id(text): text for text in (self.pack.read(name).decode() for name in names)}

    def checkpoints(self, trusted: Iterable[Path]) -> None:
        """Signatures, the succession of keys, and that the chain has each head."""
        heads, publics = dict(self.heads), self.publics()
        names = (name for name in self.pack.names("checkpoints") if name.endswith(".json"))
        read = sorted((json.loads(self.pack.read(name)) for name in names), key=lambda row: row["position"])
        used: list[str] = []
        for row in read:
            place, document = row["position"], {key: value for key, value in row.items() if key != "signature"}
            if heads.get(place) != row["head"]:
                self.problems.append(f"the ledger does not have the head of checkpoint {place}: it was rewritten")
            if row["key"] not in publics or not signed(document, row["signature"], publics[row["key"]]):
                self.problems.append(f"the signature of checkpoint {place} does not fit")
            elif not used or used[-1] != row["key"]:
                used.append(row["key"])
        keys = self.trusted = [path.read_text() for path in trusted]
        if not read or read[-1]["position"] < len(self.heads):
            (self.problems if keys else self.notes).append("the last statements have no checkpoint in this pack")
        self.succession(used, publics, keys)

    def receipts(self) -> None:
        """Signatures of what people decided: each receipt is of an act of the chain, by a key of the checkpoints."""
        publics = self.publics()
        unsigned = {key for key, act in self.acts.items() if (act["subject"], act["kind"]) in SIGNED}
        for name in self.pack.names("receipts"):
            receipt = json.loads(self.pack.read(name))
            signature = receipt.pop("signature")
            public, stated = publics.get(signature["key"]), (signature["algorithm"], signature["public"])
            fits = public and stated == ("Ed25519", public) and signed(receipt, signature["value"], public)
            if self.acts.get(receipt["hash"]) != receipt["act"] or not fits:
                self.problems.append(f"{name} is of no act of this pack, or its signature does not fit")
            elif self.good and signature["key"] not in self.good:
                self.problems.append(f"{name} is signed by {signature['key']}, which signed no checkpoint")
            unsigned.discard(receipt["hash"])
        self.notes += [f"decisions without a signed receipt in this pack: {len(unsigned)}"] if unsigned else []

    def signatures(self) -> None:
        """Every act and statement is signed by a key of the checkpoints, or of a home that this home trusted."""
        publics, others = self.publics("writers") | self.publics(), set[str]()
        where = self.problems if self.trusted else self.notes
        if json.loads(self.pack.read("pack.json"))["format"] < 3:
            where.append("an earlier version wrote this pack, without signatures of acts and statements")
            return
        for chain, position, record in self.links:
            document = {"royalty": f"link of the {chain}", "position": position, "hash": record["hash"]}
            key, value = record["signature"] or (None, "")
            if key not in publics or not signed(document, value, publics[key]):
                self.problems.append(f"{chain[:-1]} {position} is not signed by a key of this pack: it was forged")
            elif key not in self.good:
                others.add(key)
        where += [f"the key {key} signed acts or statements, and no trusted key signed it" for key in sorted(others)]

    def succession(self, used: list[str], publics: dict[str, str], trusted: list[str]) -> None:
        """Every key that signed is trusted, or was signed by the one before."""
        handed: list[tuple[str, str]] = []
        for row in json.loads(self.pack.read(HANDED)) if self.pack.has(HANDED) else ():
            document = {key: row[key] for key in ("old", "new", "time")}
            if row["signature"] and row["old"] in publics and signed(document, row["signature"], publics[row["old"]]):
                handed.append((row["old"], row["new"]))
        good = self.good = {key_id(text) for text in trusted}
        for index, key in enumerate(used):
            excused = key in good and key not in used[:index]  # a key that was replaced signs no more
            if not excused and (index == 0 or (used[index - 1], key) not in handed):
                if index or trusted:
                    self.problems.append(f"the key {key} signed checkpoints, and no trusted key signed it")
                else:
                    self.notes.append(f"the first key, {key}, is of this pack: compare it with one you trust (--key)")
            good.add(key)
        for old, new in handed:
            good.update({new} if old in good else ())

    def expect(self, head: str) -> None:
        """Look for a head that was kept elsewhere."""
        row: Any = json.loads(Path(head).read_bytes()) if Path(head).is_file() else {"head": head, "position": None}
        head, position = row["head"], row["position"]
        place = next((place for place, known in self.heads if known == head), None)
        if head in self.acts and position is None:
            self.notes.append(f"the expected head is that of act {self.acts[head]['position']}")
        elif place is None or position not in (None, place):
            self.problems.append(f"the expected head {head} is not in this ledger: it was rewritten, or cut short")
        else:
            self.notes.append(f"the expected head is that of statement {place}")


def cell(name: str) -> str:
    """A name as a payout table has it: an apostrophe before it if a spreadsheet would take it for a formula."""
    try:
        float(name)
    except ValueError:
        return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
    return name


def key_id(public: str) -> str:
    """First 16 digits of the SHA-256 of a public key in PEM."""
    body = "".join(line for line in public.splitlines() if line and not line.startswith("-"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()[:16]


def signed(document: Any, signature: str, public: str) -> bool:
    """Whether an Ed25519 signature fits, by `cryptography` or by OpenSSL."""
    payload, raw = canonical(document), base64.b64decode(signature)
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        return signed_by_openssl(payload, raw, public)
    try:
        key: Any = load_pem_public_key(public.encode())
        key.verify(raw, payload)
        return True
    except (InvalidSignature, ValueError, TypeError, AttributeError):  # also a key that is none of Ed25519
        return False


def signed_by_openssl(payload: bytes, signature: bytes, public: str) -> bool:
    if shutil.which("openssl") is None:
        raise Unreadable("signatures need the package `cryptography`, or OpenSSL 3; install one of them")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"payload": payload, "signature": signature, "public": public.encode()}.items():
            Path(folder, name).write_bytes(content)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "payload"]
        return subprocess.run([*command, "-sigfile", "signature"], cwd=folder, capture_output=True).returncode == 0


def verify(path: Path, expected: Iterable[str] = (), trusted: Iterable[Path] = ()) -> Verifier:
    """Verify a pack, given kept hashes or checkpoints and trusted keys; raises `Unreadable` if it is none."""
    verifier = Verifier(Pack(path))
    try:
        verifier.run(expected, trusted)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise Unreadable(f"{path} is not as a pack was written: {type(error).__name__} {error}") from error
    return verifier


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--expect", action="append", default=[], metavar="HEAD")
    parser.add_argument("--key", action="append", default=[], type=Path, metavar="KEY")
    chosen = parser.parse_args(arguments)
    try:
        found = verify(chosen.pack, chosen.expect, chosen.key)
    except Unreadable as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    for line in [f"note: {it}" for it in found.notes[:MOST]] + [f"PROBLEM: {it}" for it in found.problems[:MOST]]:
        print("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line))
    head = found.heads[-1][1] if found.heads else GENESIS
    print(f"{len(found.heads)} statements and {found.entries} entries hold; head {head}")
    print(f"{len(found.acts)} acts hold; the hash of the last is {next(reversed(found.acts), GENESIS)}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
