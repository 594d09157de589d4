"""Opt-outs as commands and flows use them: recorded, with a receipt as a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from royalty.infra.audit.signing import Signer, is_signed
from royalty.infra.ledger.cases import Evidence
from royalty.infra.ledger.optouts import OptOut, receipt, receipt_fault, record_optout
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.workspace import Workspace, notary
from royalty.models.base.errors import InputError


def withdraw(
    space: Workspace, actor: str, contributor: str, works: Sequence[str], reason: str, evidence: Sequence[Evidence]
) -> tuple[OptOut, Path]:
    """Record an opt-out, and write its signed receipt to `optouts/ID.json` in the home."""
    if not reason:
        raise InputError("an opt-out says why, for whoever reads its receipt; give `--reason`")
    signer = notary(settings()).signer  # before anything is recorded: a missing key is an error
    optout = record_optout(space.acts, actor, contributor, works, reason, evidence)
    path = space.root / "optouts" / f"{optout.id}.json"
    write_whole(path, (json.dumps(receipt(optout, _signing(signer)), indent=2, ensure_ascii=False) + "\n").encode())
    return optout, path


def _signing(signer: Signer) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    def sign(document: Mapping[str, Any]) -> dict[str, str]:
        parts = {"algorithm": "Ed25519", "key": signer.id, "public": signer.public}
        return {**parts, "value": signer.sign(document)}

    return sign


def _is_signed(document: Mapping[str, Any], signature: Mapping[str, str]) -> bool:
    """Whether a key of this home signed a document, whatever key the signature names."""
    public = notary(settings()).ring.publics.get(signature["key"])
    return public is not None and is_signed(document, signature["value"], public)


def check_receipt(space: Workspace, path: Path) -> None:
    """Compare a receipt with the acts of this home.

    Raises:
        InputError: it does not match, or cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a receipt is a JSON file, and {path} cannot be read as one: {error}") from error
    if (fault := receipt_fault(document if isinstance(document, dict) else {}, space.acts, _is_signed)) is not None:
        raise InputError(f"{path} does not match the records of this home: {fault}")
