"""Signed checkpoints: the head of the ledger after each statement, in files that are kept apart from its database.

Whoever owns the database can rewrite the whole chain of statements. A checkpoint that is kept elsewhere shows that.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from royalty.infra.audit.signing import KeyIsThere, KeyRing, Signer, is_signed, load_key, new_key, public_keys
from royalty.infra.audit.timestamps import TimestampRefused, timestamp
from royalty.infra.ledger.postings import Head, Posted
from royalty.infra.stores.artifacts import StoreError, write_whole
from royalty.infra.stores.keys import canonical, digest_of
from royalty.infra.stores.records import Sealed
from royalty.infra.stores.tables import now

NAME = re.compile(r"[0-9]{8}\.json")
WRITERS = "writers"
"""Folder of a home's `audit` for public keys of other homes and machines that write to the same database."""
SEALS: Mapping[Sealed, str] = {"rows": "rows.json", "links": "links.json"}
"""Files beside the checkpoints that say since when records of rows are signed, and acts and statements."""


@dataclass(frozen=True)
class Checkpoint:
    """The head of a ledger at a time.

    Attributes:
        position: number of statements.
        head: hash of the last of them.
        statement: ID of the last of them.
        key: identification of the key that signs it.
        signature: in base64, of the other fields as canonical JSON.
    """

    position: int
    head: str
    statement: str
    time: str
    key: str
    signature: str

    @property
    def document(self) -> dict[str, Any]:
        """What the key signs."""
        return {name: value for name, value in asdict(self).items() if name != "signature"}

    @property
    def as_head(self) -> Head:
        return Head(self.position, self.head, self.statement)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a file.

        Raises:
            StoreError: it is no checkpoint.
        """
        try:
            fields = json.loads(path.read_bytes())
            checkpoint = cls(**fields)
            typed = isinstance(checkpoint.position, int) and all(
                isinstance(value, str) for name, value in fields.items() if name != "position"
            )
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise StoreError(
                f"{path} is no checkpoint of a ledger: {error}; name a file of `audit/checkpoints`"
            ) from None
        if not typed:
            raise StoreError(f"{path} is no checkpoint of a ledger; name a file of `audit/checkpoints`")
        return checkpoint


class Notary:
    """Signs checkpoints of the ledger, writes them, and reads them to compare the ledger with; signs rows and acts.

    Args:
        root: the folder `audit` of a home.
        key: private key as PEM, or the path of its file; empty: `signing.pem` in `root`, which is written if needed.
        elsewhere: another folder that each checkpoint is written to.
        authority: address of a time-stamping authority; empty: none is asked.
        password: of the private key; empty: it is not encrypted.
    """

    def __init__(
        self, root: Path, key: str = "", elsewhere: Path | None = None, authority: str = "", password: str = ""
    ) -> None:
        self.root, self.key, self.elsewhere, self.authority, self.password = root, key, elsewhere, authority, password
        self.ring = KeyRing(root / "keys")
        self._writers = dict[str, str]()  # public keys whose signatures of records count
        self._verified = set[tuple[str, str]]()  # digest of the document, and signature

    @property
    def folders(self) -> list[Path]:
        return [self.root / "checkpoints", *([] if self.elsewhere is None else [self.elsewhere])]

    @cached_property
    def signer(self) -> Signer:
        """The private key.

        Raises:
            StoreError: there is none, or another key signed before.
        """
        default = self.root / "signing.pem"
        if self.key or default.exists():
            signer = load_key(self.key or str(default), self.password)
        elif self.ring.current is not None:
            raise StoreError(
                f"the key that signs checkpoints is missing: {default}. Restore it, set ROYALTY_SIGNING_KEY, or name a "
                "new key with `royalty audit rotate --lost NEW`"
            )
        else:
            home = self.root.parent
            shared = home.is_dir() and bool(home.stat().st_mode & stat.S_IWGRP)  # by a team, whose runs all sign
            try:
                signer = new_key(default, self.password, shared=shared)
            except KeyIsThere:  # another process has just written it
                signer = load_key(str(default), self.password)
        self.ring.admit(signer)
        return signer

    def prepare(self) -> None:
        """Check, before anything is posted, that checkpoints can be signed and written.

        Raises:
            StoreError: they cannot.
        """
        _ = self.signer
        for folder in self.folders:
            probe = folder / ".writable"
            write_whole(probe, b"")
            probe.unlink(missing_ok=True)

    def sign(self, document: Mapping[str, Any]) -> tuple[str, str]:
        """Sign the record of a row, an act or a statement.

        Returns:
            Identification of the key, and the signature in base64.

        Raises:
            StoreError: there is no key, or another key signed before.
        """
        return self.signer.id, self.signer.sign(document)

    def fault(self, document: Mapping[str, Any], key: str, signature: str, covered: str) -> str | None:
        """Why a signature of `sign` does not count; None if it does.

        Those of the keys of this home count, also of replaced ones, and those of the public keys in `writers`.
        """
        if key not in self._writers:
            self._writers = public_keys(self.root / WRITERS) | self.ring.publics
        public = self._writers.get(key)
        if public is None:
            return (
                f"it is signed by the key {key}, which is none of {self.ring.folder}. If another home or "
                f"machine that you trust wrote it, put its public key `audit/keys/{key}.pem` into {self.root / WRITERS}"
            )
        known = digest_of(document), signature
        if known not in self._verified:
            if not is_signed(document, signature, public):
                return f"{covered} was changed after it was signed"
            self._verified.add(known)  # verifying a signature takes longer than all else that a row is verified by
        return None

    def seals(self, what: Sealed) -> bool:
        """Whether these are signed already, by what is kept beside the checkpoints."""
        return any((folder / SEALS[what]).exists() for folder in self.folders)

    def start_sealing(self, what: Sealed, earlier: int) -> None:
        """Keep beside the checkpoints that these are signed from now on.

        Args:
            earlier: number of those of earlier versions, which were signed as they were.

        Raises:
            StoreError: it cannot be written.
        """
        for folder in self.folders:
            write_whole(folder / SEALS[what], canonical({"earlier": earlier, "since": now()}).encode())

    def latest(self) -> Head | None:
        """The head in the last checkpoint of each folder, whichever is further; None if there is none."""
        paths = [path for folder in self.folders for path in _files(folder)[-1:]]
        return max((Checkpoint.read(path).as_head for path in paths), default=None)

    def last_file(self) -> Path | None:
        """The file of the last checkpoint."""
        return next(iter(_files(self.folders[0])[-1:]), None)

    def checkpoints(self) -> list[tuple[Path, Checkpoint]]:
        """All checkpoints with their files, by position."""
        read = [(path, Checkpoint.read(path)) for folder in self.folders for path in _files(folder)]
        return sorted(read, key=lambda each: each[1].position)

    def heads(self) -> list[Head]:
        """The heads of all checkpoints."""
        return [each.as_head for _, each in self.checkpoints()]

    def publish(self, heads: Iterable[Head]) -> None:
        """Sign a checkpoint for each head and write it; one that is there stays.

        Raises:
            StoreError: it cannot be written.
        """
        for head in heads:
            unsigned = Checkpoint(**head._asdict(), time=now(), key=self.signer.id, signature="")
            checkpoint = {**unsigned.document, "signature": self.signer.sign(unsigned.document)}
            for folder in self.folders:
                path = folder / f"{head.position:08}.json"
                if not path.exists():
                    write_whole(path, canonical(checkpoint).encode())

    def problems(self) -> list[str]:
        """Sentences about signatures that do not fit. The heads are compared with the ledger when it is verified."""
        publics, found, used = self.ring.publics, list[str](), list[str]()
        for path, checkpoint in self.checkpoints():
            public = publics.get(checkpoint.key)
            if public is None:
                found.append(f"{path} is signed by the key {checkpoint.key}, which is not in {self.ring.folder}")
            elif not is_signed(checkpoint.document, checkpoint.signature, public):
                found.append(f"{path} was changed: its signature does not fit")
            else:
                used.append(checkpoint.key)
        return found + self.ring.problems(used)

    def stamp(self) -> list[str]:
        """Have the authority stamp the checkpoints that have no time stamp yet.

        Returns:
            A sentence if it did not. What was posted stands; the next posting asks again.
        """
        waiting = [path for path in _files(self.folders[0]) if not path.with_suffix(".tsr").exists()]
        try:
            for path in waiting if self.authority else ():
                response = timestamp(path.read_bytes(), self.authority)
                for folder in self.folders:
                    write_whole(folder / f"{path.stem}.tsr", response)
        except TimestampRefused as refused:
            return [f"{refused}. The checkpoint is signed and written; the next posting asks again"]
        return []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if NAME.fullmatch(path.name))


def parse_expected(expected: str) -> Mapping[str, Any]:
    """A head to look for: 64 digits, or the file of a checkpoint.

    Returns:
        `head`, and for a checkpoint `position`.

    Raises:
        StoreError: it is neither.
    """
    if re.fullmatch(r"[0-9a-f]{64}", expected.lower()):
        return {"head": expected.lower()}
    if not Path(expected).is_file():
        raise StoreError(
            f"a head is the 64 digits that `royalty ledger` prints, or the file of a checkpoint, got {expected!r}"
        )
    checkpoint = Checkpoint.read(Path(expected))
    return {"head": checkpoint.head, "position": checkpoint.position}


def unexpected(expected: Mapping[str, Any], statements: Sequence[Posted]) -> str | None:
    """Why a ledger is not a continuation of the one with an expected head; None if it is.

    Args:
        expected: result of `parse_expected`.
        statements: the verified statements.
    """
    wanted = expected["head"]
    place = next((posted.sequence for posted in statements if posted.hash == wanted), None)
    if place is None:
        return (
            f"no statement of this ledger has the hash {wanted}: statements were changed or removed since that head "
            "was kept, or it is of another ledger"
        )
    if expected.get("position", place) != place:
        return f"the head {wanted} was kept for statement {expected['position']}, and here it is that of {place}"
    return None
