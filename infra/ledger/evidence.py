"""What a statement rests on: under its hash by digest, and compared with the database when the ledger is verified.

The evidence of a division has these parts:

- `run`: name of the run, and digest of its configuration;
- `credit`, `division`: keys of the stages, and digests of the credit table and of the payout table;
- `payees`: digest of the accounts that are paid; null if contributors are paid by name;
- `rows`: digest by key of each row of the run store behind the credit, such as coalitions and their measurements;
- `files`: role by digest of each file behind it, such as images and models.

That of an export has `payees` and `exports`, the digests of the payment files by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.ledger.stray_rows import Problem
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.links import unsigned_link
from royalty.infra.stores.records import Seal, unsigned_record, written_rows
from royalty.infra.stores.tables import (
    CreditTableRow,
    EdgeRow,
    EvidenceRow,
    OriginRow,
    RunRow,
    StageRow,
    StatementRow,
)


def store_evidence(session: Session, content: Mapping[str, Any] | None) -> str | None:
    """Write evidence unless it is there, and return its digest.

    Raises:
        LedgerConflict: a row with this digest has other content.
    """
    if content is None:
        return None
    digest = digest_of(content)
    known = session.get(EvidenceRow, digest)
    if known is None:
        session.add(EvidenceRow(digest=digest, content=dict(content)))
        session.flush()
    elif digest_of(known.content) != digest:
        raise LedgerConflict(
            f"the key of evidence is its hash, but the evidence {digest[:12]} has changed. The database was changed by "
            "hand: restore it from a backup, and make no payment from this one"
        )
    return digest


def evidence_problem(session: Session, statements: Sequence[StatementRow], seal: Seal | None) -> Problem | None:
    """The first row that contradicts the evidence of statements or what was recorded and signed, or unsigned statement.

    Args:
        statements: with valid hashes.
        seal: None: signatures are not verified.
    """
    return next(_problems(session, statements, seal), None)


def _problems(session: Session, statements: Sequence[StatementRow], seal: Seal | None) -> Iterator[Problem]:
    rows = written_rows(session)
    contents = {key: row.content for key, row in rows.items()}
    configurations = {row.name: digest_of(row.config) for row in session.scalars(select(RunRow))}
    first = {row.evidence: row.id for row in reversed(statements) if row.evidence is not None}
    for digest, statement in reversed(first.items()):
        evidence = session.get(EvidenceRow, digest)
        if evidence is None or digest_of(evidence.content) != digest:
            yield Problem("statement", statement, "the evidence that it rests on has been changed or removed")
            continue
        content = evidence.content
        for key, recorded in content.get("rows", {}).items():
            if contents.get(key) != recorded:
                state = "changed" if key in contents else "removed"
                yield Problem("statement", statement, f"the row {key} of the run store, which it rests on, was {state}")
        run = content.get("run")
        if run is not None and configurations.get(run["name"]) != run["config"]:
            yield Problem("statement", statement, f"the configuration of the run {run['name']!r} was changed")
    yield from _unfounded_credit(session)
    yield from _changed_rows(session, contents)
    if seal is not None and (unsigned := unsigned_record(session, rows, seal)) is not None:
        yield Problem("row", *unsigned)
    if (unsigned_statement := unsigned_link(session, "statements", [row.hash for row in statements], seal)) is not None:
        position, why = unsigned_statement
        named = statements[position - 1].id if position <= len(statements) else f"in position {position}"
        yield Problem("statement", named, why)


def _changed_rows(session: Session, contents: Mapping[str, str]) -> Iterator[Problem]:
    """Rows that differ from their record, or have none; and lineage of rows that are not there."""
    noun, origins = "row", dict[str, str]()
    for key, content in session.execute(select(OriginRow.run, OriginRow.content).order_by(OriginRow.run)):
        origins[key] = content
        if key not in contents:
            yield Problem(noun, key, "it was removed from the run store after it was written")
        elif contents[key] != content:
            yield Problem(noun, key, "it was changed in the run store after it was written")
    for key in sorted(contents.keys() - origins.keys()):
        yield Problem(noun, key, "nothing was recorded with it, so no flow wrote it to the run store")
    for run in session.scalars(select(EdgeRow.run).distinct().order_by(EdgeRow.run)):
        if run not in contents:
            yield Problem("lineage", run, "no row of the run store has this key, so no flow wrote it")


def _unfounded_credit(session: Session) -> Iterator[Problem]:
    """Credit of runs that is not the output of a finished stage."""
    outputs = {row.key: row.outputs for row in session.scalars(select(StageRow))}
    for row in session.scalars(select(CreditTableRow).order_by(CreditTableRow.id)):
        if row.digest not in _texts(outputs.get(row.stage)):
            why = (
                f"it names the table {row.digest} for the run {row.run!r}, which is no output of the stage {row.stage}"
            )
            yield Problem("credit", str(row.id), why)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a nested value."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
