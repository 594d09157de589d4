"""The records of rows of the run store, and their signatures, which prove that the product wrote them.

Whoever can write to the database can add a row and a record with its digest. Without the private key they cannot sign
that record. A signature covers the digest and the time of the row, its whole record, and its lineage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from royalty.infra.stores.database import writing_alone
from royalty.infra.stores.lineage import Edge, Recorded, content_of, origin_key, origin_of
from royalty.infra.stores.tables import (
    AnchorRow,
    CoalitionRow,
    CreditTableRow,
    EdgeRow,
    MeasurementRow,
    OriginRow,
    RunRow,
    SignatureRow,
    StageRow,
)

RECORDED: tuple[type[Any], ...] = (StageRow, CoalitionRow, MeasurementRow, RunRow, AnchorRow, CreditTableRow)
"""Tables whose rows have a record."""

Sealed = Literal["rows", "links"]
"""What is signed in the database: records of rows, and links of chains (`royalty.infra.stores.links`)."""
COVERED = "its record, its time or its lineage"


class Seal(Protocol):
    """Signs records and links, for example with the key of checkpoints."""

    def sign(self, document: Mapping[str, Any]) -> tuple[str, str]:
        """Identification of the key, and the signature."""

    def fault(self, document: Mapping[str, Any], key: str, signature: str, covered: str) -> str | None:
        """Why a signature does not count; None if it does.

        Args:
            covered: what a signature of such a document covers, for the sentence.
        """

    def seals(self, what: Sealed) -> bool:
        """Whether these are signed already. If not, those that are there are signed as they are, once."""

    def start_sealing(self, what: Sealed, earlier: int) -> None:
        """Keep, apart from the database, that these are signed from now on, and how many earlier ones were."""


class Written(NamedTuple):
    """A row as it is now: the digest of its content, and its time."""

    content: str
    created_at: str


class Records:
    """Writes the records of rows.

    Args:
        seal: None leaves them unsigned, so that no ledger with a seal accepts them.
    """

    def __init__(self, engine: Engine, seal: Seal | None) -> None:
        self.engine, self.seal = engine, seal

    def prepare(self) -> None:
        """When a home is opened, and before a row is written: sign the records of earlier versions, if none is signed.

        It is done once, because later nobody can tell such a record from one that was added by hand.

        Raises:
            StoreError: there is no key to sign them with; or it cannot be kept that they were signed.
        """
        if self.seal is None or self.seal.seals("rows"):
            return
        signed = 0
        with writing_alone(self.engine) as session:
            if session.scalars(select(SignatureRow).limit(1)).first() is None:
                for run, document in documents(session, written_rows(session)):
                    session.add(self._signature(self.seal, run, document))
                    signed += 1
        self.seal.start_sealing("rows", signed)

    def add(self, session: Session, row: Recorded, edges: Iterable[Edge] = (), flow_run: str | None = None) -> None:
        """Write the record, lineage and signature of a row that was just written; its number and time are known."""
        origin, lineage = origin_of(row, flow_run), [EdgeRow(**asdict(edge)) for edge in edges]
        session.add(origin)
        session.add_all(lineage)
        if self.seal is not None:
            made_from = [(edge.child, edge.parent, edge.role) for edge in lineage]
            document = _document(origin, row.created_at, made_from)
            session.add(self._signature(self.seal, origin.run, document))

    @staticmethod
    def _signature(seal: Seal, run: str, document: Mapping[str, Any]) -> SignatureRow:
        key, value = seal.sign(document)
        return SignatureRow(run=run, key=key, value=value)


def written_rows(session: Session) -> dict[str, Written]:
    """Every row that has a record, as it is now, by the key of the record."""
    rows = (row for kind in RECORDED for row in session.scalars(select(kind)))
    return {origin_key(row): Written(content_of(row), row.created_at) for row in rows}


def documents(session: Session, rows: Mapping[str, Written]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and signed document of the record of each of these rows.

    Args:
        rows: result of `written_rows`.
    """
    lineage = defaultdict[str, list[tuple[str, str, str]]](list)
    for run, *edge in session.execute(select(EdgeRow.run, EdgeRow.child, EdgeRow.parent, EdgeRow.role)):
        lineage[run].append((edge[0], edge[1], edge[2]))
    for origin in session.execute(select(*OriginRow.__table__.columns).order_by(OriginRow.run)):
        if origin.run in rows:
            yield origin.run, _document(origin, rows[origin.run].created_at, lineage.get(origin.run, ()))


def _document(origin: Any, created_at: str, lineage: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """What is signed of a record.

    Args:
        origin: columns of the record.
        created_at: time of its row.
        lineage: child, parent and role of each edge that was recorded with it.
    """
    return {
        "royalty": "row of the run store",
        "row": origin.run,
        "content": origin.content,
        "written": created_at,
        "flow_run": origin.flow_run,
        "commit": origin.commit,
        "recorded": origin.created_at,
        "lineage": sorted(map(list, lineage)),
    }


def unsigned_record(session: Session, rows: Mapping[str, Written], seal: Seal) -> tuple[str, str] | None:
    """Key of the first record that no accepted key signed as it is, and why.

    Args:
        rows: result of `written_rows`.
    """
    signatures = {row.run: (row.key, row.value) for row in session.execute(select(*SignatureRow.__table__.columns))}
    for run, document in documents(session, rows):
        if run not in signatures:
            return run, "its record is not signed, so the product did not write it"
        if (why := seal.fault(document, *signatures[run], COVERED)) is not None:
            return run, why
    removed = min(map(str, signatures.keys() - rows.keys()), default=None)
    return None if removed is None else (removed, "it was removed from the run store after it was signed")
