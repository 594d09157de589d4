"""Rows of the ledger that belong to no statement. No posting leaves any: each was added, or its statement removed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from royalty.infra.ledger.postings import Verified
from royalty.infra.stores.tables import EntryRow, EvidenceRow, PolicyRow, PoolRow, StatementRow

OWNED = (
    ("pool", PoolRow.id, StatementRow.pool),
    ("terms", PolicyRow.digest, StatementRow.policy),
    ("evidence", EvidenceRow.digest, StatementRow.evidence),
)
"""Rows that are written with the first statement that names them: what they are called, their key and that name."""


@dataclass(frozen=True)
class Problem:
    """A row that is not valid, and why.

    Attributes:
        noun: what it is.
        entry: number of the entry that names a missing statement; None for other rows.
    """

    noun: str
    identity: str
    why: str
    entry: int | None = None

    def found(self, statements: int, head: str) -> Verified:
        """The result of verifying a ledger whose statements are valid."""
        return Verified(statements, head, broken=self.identity, why=self.why, entry=self.entry, noun=self.noun)


def stray_row(session: Session) -> Problem | None:
    """The first entry of no statement; or else the first pool, terms or evidence that no statement names."""
    columns = (EntryRow.id, EntryRow.statement, EntryRow.kind, EntryRow.contributor)
    stray = session.execute(
        select(*columns, EntryRow.amount_minor, EntryRow.currency)
        .outerjoin(StatementRow, StatementRow.id == EntryRow.statement)
        .where(StatementRow.id.is_(None))
        .order_by(EntryRow.id)
        .limit(1)
    ).first()
    if stray is not None:
        number, statement, kind, contributor, amount, currency = stray
        why = (
            f"entry {number} names it (kind {kind!r}, contributor {contributor!r}, {amount} minor units of {currency})"
            ", but there is no such statement"
        )
        return Problem("statement", str(statement), why, number)
    for noun, key, name in OWNED:
        owned = select(StatementRow.id).where(name == key)
        lonely = session.scalars(select(key).where(~owned.exists()).order_by(key).limit(1)).first()
        if lonely is not None:
            return Problem(noun, str(lonely), "no statement names this row, so no posting wrote it")
    return None
