"""Compare the copies of statements in `payouts/` with the ledger: what was sent out shows what was changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import Posted

COPY = "statement.json"
PAYMENT_FILES = ("pain001.xml", "other-payments.csv")
CHANGING = {"active"}
"""Fields of a statement that later statements change."""


def copy_problems(folder: Path, ledger: Ledger, statements: Iterable[Posted]) -> list[str]:
    """Sentences about copies that differ from the ledger; empty if there are none, or no folder.

    Args:
        folder: `payouts` of a home. A home may hold some of the ledger's statements only.
        statements: all statements of the ledger.
    """
    posted = {statement.id: statement for statement in statements}
    paths = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    removed = [
        f"{path / COPY} is the copy of statement {path.name}, which the ledger no longer has"
        for path in paths
        if path.name not in posted and (path / COPY).exists()
    ]
    kept = [path for path in paths if path.name in posted]
    return removed + [problem for path in kept for problem in problems_of_copy(folder, ledger, posted[path.name])]


def problems_of_copy(folder: Path, ledger: Ledger, statement: Posted) -> list[str]:
    """Sentences about the copy of one statement and its payment files, as for `copy_problems`."""
    own = folder / statement.id
    problems = list(_file_problems(own, ledger, statement))
    if (own / COPY).exists() and (differing := _differing(own / COPY, statement)):
        problems.insert(
            0, f"{own / COPY} differs from statement {statement.id} of the ledger in {', '.join(differing)}"
        )
    return problems


def _differing(copy: Path, statement: Posted) -> list[str]:
    """Names of the fields in which a copy differs; copies by earlier versions lack some fields."""
    try:
        kept: dict[str, Any] = json.loads(copy.read_bytes())
        known = json.loads(json.dumps(asdict(statement)))
        return sorted(name for name in (set(kept) | {"id", "hash"}) - CHANGING if kept.get(name) != known.get(name))
    except (ValueError, AttributeError, TypeError):
        return ["its form: it is no JSON object"]


def _file_problems(folder: Path, ledger: Ledger, statement: Posted) -> Iterator[str]:
    """Payment files that are not those recorded. Those of statements without evidence were not recorded."""
    present = [folder / name for name in PAYMENT_FILES if (folder / name).exists()]
    if statement.evidence is None or not present:
        return
    exports = [evidence.get("exports", {}) for evidence in ledger.exports_of(statement.id)]
    for path in present:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in [files.get(path.name) for files in exports]:
            yield f"{path} is not the file that was recorded when it was written"
