"""Signed receipts of what people decided: opt-outs, decisions of cases, and verdicts on approvals.

A receipt holds all that the hash of an act covers, so that anybody can recompute the hash, and shows later what was
decided, by whom and when. The key of checkpoints signs it. Receipts are kept beside the checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.signing import is_signed
from royalty.infra.ledger.acts import Act
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.chain import ACT_PARTS, act_hash

TITLES = {
    ("opt-out", "recorded"): "opt-out receipt",
    ("case", "decided"): "decision of a case",
    ("approval", "approved"): "approval of a payout",
    ("approval", "rejected"): "rejection of a payout",
}
"""Subject and kind of the acts that get a receipt, and what the receipt is called."""
Document = Mapping[str, Any]


class Receipts:
    """Writes, reads and checks the receipts of a home."""

    def __init__(self, notary: Notary) -> None:
        self.notary = notary

    def prepare(self) -> None:
        """Check, before anything is decided, that receipts can be signed and written.

        Raises:
            StoreError: they cannot.
        """
        self.notary.prepare()

    def write(self, act: Act) -> dict[str, Any]:
        """Sign the receipt of an act and write it to every folder of checkpoints; one that is there stays.

        Its `hash` is the SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of `previous` and `act`. The
        signature is of the canonical JSON of everything else.

        Returns:
            The receipt.

        Raises:
            StoreError: it cannot be signed or written.
        """
        content = {"previous": act.previous, "act": {part: getattr(act, part) for part in ACT_PARTS}}
        document = {"royalty": TITLES[act.subject, act.kind], **content, "hash": act.hash}
        paths = [folder / f"act-{act.position:08}.json" for folder in self.notary.folders]
        if all(path.exists() for path in paths):
            receipt: dict[str, Any] = json.loads(paths[0].read_bytes())
            return receipt
        signer = self.notary.signer
        signature = {"algorithm": "Ed25519", "key": signer.id, "public": signer.public, "value": signer.sign(document)}
        receipt = {**document, "signature": signature}
        for path in paths:
            if not path.exists():
                write_whole(path, as_text(receipt))
        return receipt

    def write_missing(self, acts: Iterable[Act]) -> None:
        """Write the receipts that are not there, such as those of a process that was killed before it signed."""
        for act in acts:
            if (act.subject, act.kind) in TITLES:
                self.write(act)

    def files(self) -> list[Path]:
        """All files of receipts."""
        return [path for folder in self.notary.folders for path in sorted(folder.glob("act-*.json"))]

    def fault(self, document: Any, acts: Collection[str]) -> str | None:
        """Why a receipt does not fit the acts and keys of this home; None if it does.

        Args:
            acts: hashes of all acts.
        """
        try:
            act, previous, stated = dict(document["act"]), document["previous"], document["hash"]
            if act_hash(act, previous) != stated:
                return "its hash does not match its content: the receipt has been changed"
            signature = document["signature"]
            signed = {part: value for part, value in document.items() if part != "signature"}
            if signature is not None and not self._fits(signed, signature):
                return "its signature is not by a key of this home"
        except (KeyError, TypeError, ValueError, AttributeError):
            return "it is not a receipt"
        if stated not in acts:
            return "no act of this home has its hash: the record was changed or removed, or made elsewhere"
        return None

    def _fits(self, document: Document, signature: Mapping[str, str]) -> bool:
        """Whether a key of this home signed a document, as the signature says."""
        public = self.notary.ring.publics.get(signature["key"])
        stated = signature.get("algorithm"), signature.get("public")
        return public is not None and stated == ("Ed25519", public) and is_signed(document, signature["value"], public)

    def problems(self, acts: Iterable[Act]) -> list[str]:
        """Sentences about kept receipts that do not fit the acts."""
        hashes, found = {act.hash for act in acts}, list[str]()
        for path in self.files():
            try:
                document = json.loads(path.read_bytes())
            except (OSError, ValueError, RecursionError):
                document = None
            if (why := self.fault(document, hashes)) is not None:
                found.append(f"the receipt {path} does not match the records: {why}")
        return found


def as_text(receipt: Document) -> bytes:
    """A receipt as the text of its file."""
    return (json.dumps(receipt, indent=2, ensure_ascii=False) + "\n").encode()
