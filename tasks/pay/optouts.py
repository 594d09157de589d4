"""Opt-outs as commands and flows use them: recorded, with a receipt as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from royalty.infra.audit.receipts import Receipts, as_text
from royalty.infra.ledger.cases import Evidence
from royalty.infra.ledger.optouts import OptOut, record_optout
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.workspace import Workspace, notary
from royalty.models.base.errors import InputError
from royalty.models.data.optouts import Withdrawal
from royalty.tasks.attribution.withdrawing import co_owners


def withdraw(
    space: Workspace, actor: str, contributor: str, works: Sequence[str], reason: str, evidence: Sequence[Evidence]
) -> tuple[OptOut, Path]:
    """Record an opt-out, and write its signed receipt to `optouts/ID.json` in the home."""
    if not reason:
        raise InputError("an opt-out says why, for whoever reads its receipt; give `--reason`")
    receipts = Receipts(notary(settings()))
    receipts.prepare()  # before anything is recorded: a missing key is an error
    # What was generated before is still paid to co-owners, whose only works may be these.
    others = co_owners(space, Withdrawal(contributor, tuple(works)))
    optout = record_optout(space.acts, actor, contributor, works, reason, evidence, others)
    receipts.write_missing(space.acts.all())
    path = space.root / "optouts" / f"{optout.id}.json"
    write_whole(path, as_text(receipts.write(optout.act)))
    return optout, path


def check_receipt(space: Workspace, path: Path) -> None:
    """Compare a receipt with the acts of this home.

    Raises:
        InputError: it does not match, or cannot be read.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a receipt is a JSON file, and {path} cannot be read as one: {error}") from error
    known = {act.hash for act in space.acts.all()}
    if (fault := Receipts(notary(settings())).fault(document, known)) is not None:
        raise InputError(f"{path} does not match the records of this home: {fault}")
