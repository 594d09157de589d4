"""Ed25519 keys that sign checkpoints, rows, acts and statements, and their succession when a key is replaced.

A signature covers the canonical JSON of a document. The public keys of a home are in `audit/keys`. When a key is
replaced, the old key signs the new one, so that whoever trusts the first key can trust the last.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.infra.stores.artifacts import StoreError, write_whole
from royalty.infra.stores.keys import canonical
from royalty.infra.stores.tables import now

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PEM = "-----BEGIN"


class KeyIsThere(StoreError):
    """A new key would replace another one."""


@dataclass(frozen=True)
class Signer:
    """A private key.

    Attributes:
        id: first 16 digits of the SHA-256 of the public key.
        public: the public key as PEM.
    """

    private: Ed25519PrivateKey
    id: str
    public: str

    @classmethod
    def from_private(cls, private: Ed25519PrivateKey) -> Signer:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return cls(private, key_id(public), public)

    def sign(self, document: Mapping[str, Any]) -> str:
        """Signature of a document, in base64."""
        return base64.b64encode(self.private.sign(canonical(document).encode())).decode()


def key_id(public: str) -> str:
    """Identification of a public key.

    Args:
        public: PEM, or anything that contains it.
    """
    body = "".join(line for line in public.splitlines() if line and not line.startswith("-"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()[:16]


def public_keys(folder: Path) -> dict[str, str]:
    """The public keys in a folder, by identification."""
    return {key_id(text): text for path in sorted(folder.glob("*.pem")) for text in [path.read_text()]}


def is_signed(document: Mapping[str, Any], signature: str, public: str) -> bool:
    """Whether a signature of a document is by the private key of a public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature), canonical(document).encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def new_key(path: Path, password: str = "", *, shared: bool = False) -> Signer:
    """Write a new private key, readable for its owner only, and encrypted if there is a password.

    Args:
        shared: the group of the folder may read it too.

    Raises:
        KeyIsThere: the file is there already.
        StoreError: it cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    payload = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        path.parent.mkdir(mode=0o770 if shared else 0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".key-") as stream:  # of mode 0600
            if shared:
                os.fchmod(stream.fileno(), 0o640)
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
            os.link(stream.name, path)  # whole or not at all, and never in the place of another key
    except FileExistsError:
        raise KeyIsThere(f"a new key is written to a new file, and {path} is there; name another file") from None
    except OSError as error:
        raise StoreError(f"cannot write the key {path}: {error.strerror}; name a file in a writable folder") from error
    return Signer.from_private(private)


def load_key(key: str, password: str = "") -> Signer:
    """Load a private key.

    Args:
        key: PEM, or the path of a file with it.
        password: that the key is encrypted with; empty: it is not encrypted.

    Raises:
        StoreError: there is no such file, or it has no Ed25519 key that is encrypted with this password.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    source = "the text of ROYALTY_SIGNING_KEY" if key.lstrip().startswith(PEM) else key
    try:
        payload = key.encode() if source != key else Path(key).expanduser().read_bytes()
        private = load_pem_private_key(payload, password=password.encode() or None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreError(
            "checkpoints are signed by an Ed25519 key in PEM, encrypted with ROYALTY_SIGNING_PASSWORD if that is set, "
            f"and {source} has none: {error}. Correct the password; or write a key with `royalty audit key FILE`, and "
            "set ROYALTY_SIGNING_KEY to that file"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise StoreError(
            f"checkpoints are signed by an Ed25519 key, got another kind in {source}. Write one with `royalty audit "
            "key FILE`"
        )
    return Signer.from_private(private)


@dataclass(frozen=True)
class Succession:
    """The replacement of a key by another one.

    Attributes:
        old, new: identifications of the keys.
        signature: by the old key; None if that key was lost.
    """

    old: str
    new: str
    time: str
    signature: str | None

    @property
    def document(self) -> dict[str, Any]:
        """What the old key signs."""
        return {"old": self.old, "new": self.new, "time": self.time}


class KeyRing:
    """The public keys of a home and their successions, in `audit/keys`.

    Attributes:
        folder: has `KEY.pem` for each public key, and `successions.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def successions(self) -> list[Succession]:
        """In their order."""
        path = self.folder / "successions.json"
        return [Succession(**row) for row in json.loads(path.read_bytes())] if path.exists() else []

    @property
    def publics(self) -> dict[str, str]:
        """Public keys by identification."""
        return public_keys(self.folder)

    @property
    def current(self) -> str | None:
        """Identification of the key that signs now; None before the first checkpoint."""
        successions = self.successions
        if successions:
            return successions[-1].new
        return next(iter(self.publics), None)

    def admit(self, signer: Signer) -> None:
        """Check that a key may sign: it is the first, or the successor of the last.

        Raises:
            StoreError: another key signed before.
        """
        current = self.current
        if current is None:
            write_whole(self.folder / f"{signer.id}.pem", signer.public.encode())
        elif current != signer.id:
            raise StoreError(
                f"checkpoints are signed by one key until it is replaced: {current} signs those of {self.folder}, got "
                f"the key {signer.id}. Set ROYALTY_SIGNING_KEY to the old key and run `royalty audit rotate NEW`, "
                "which signs the new key with it"
            )

    def succeed(self, old: Signer | None, new: Signer) -> Succession:
        """Replace the current key.

        Args:
            old: the current key; None if it was lost.

        Raises:
            StoreError: nothing was signed yet; or `old` is not the current key; or `new` signed before.
        """
        current = self.current
        if current is None:
            raise StoreError("a key is replaced after it has signed, and none has; set ROYALTY_SIGNING_KEY to the new")
        if old is not None and old.id != current:
            raise StoreError(f"the current key replaces itself: it is {current}, got {old.id} in ROYALTY_SIGNING_KEY")
        if new.id in self.publics:
            raise StoreError(f"a key is replaced by a new one, and {new.id} has signed before; write another one")
        succession = Succession(current, new.id, now(), None)
        if old is not None:
            succession = Succession(current, new.id, succession.time, old.sign(succession.document))
        write_whole(self.folder / f"{new.id}.pem", new.public.encode())
        rows = [*self.successions, succession]
        write_whole(self.folder / "successions.json", canonical([vars(row) for row in rows]).encode())
        return succession

    def problems(self, used: Sequence[str]) -> list[str]:
        """Sentences about keys that signed and were not handed over by the key before.

        Args:
            used: identifications of the keys that signed, in their order.
        """
        publics, handed = self.publics, set[tuple[str, str]]()
        for row in self.successions:
            if row.signature and row.old in publics and is_signed(row.document, row.signature, publics[row.old]):
                handed.add((row.old, row.new))
        order = [key for key, _ in groupby(used)]
        return [
            f"the key {new} signed after {old}, which did not sign it as its successor"
            for old, new in pairwise(order)
            if (old, new) not in handed
        ]
