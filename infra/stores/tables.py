"""ORM classes of the tables of the run store and the ledger; `royalty.infra.stores.migrations` creates the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def moment() -> str:
    """Now, to the microsecond, so that rows of one second keep their order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {dict[str, Any]: JSON, list[str]: JSON}


class RunRow(Base):
    """A run name and the configuration that it is bound to."""

    __tablename__ = "runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    config: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class StageRow(Base):
    """A finished stage: its inputs, outputs and duration."""

    __tablename__ = "stages"

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    inputs: Mapped[dict[str, Any]]
    outputs: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    created_at: Mapped[str] = mapped_column(default=moment)


class CoalitionRow(Base):
    """The model of a coalition, trained by one method from one seed; `checkpoint` is null if its training failed."""

    __tablename__ = "coalition_models"

    key: Mapped[str] = mapped_column(primary_key=True)
    members: Mapped[list[str]]
    method: Mapped[str]
    seed: Mapped[int]
    items: Mapped[int]
    train_seconds: Mapped[float]
    device: Mapped[str]
    checkpoint: Mapped[str | None]
    failure: Mapped[str | None]
    created_at: Mapped[str] = mapped_column(default=now)


class MeasurementRow(Base):
    """The value of one global property for a coalition's model, on images drawn from one seed."""

    __tablename__ = "measurements"

    key: Mapped[str] = mapped_column(primary_key=True)
    coalition: Mapped[str] = mapped_column(ForeignKey("coalition_models.key"), index=True)
    property: Mapped[str]
    draw: Mapped[int]
    utility: Mapped[float]
    sample_seconds: Mapped[float]
    measure_seconds: Mapped[float]
    created_at: Mapped[str] = mapped_column(default=now)


class AnchorRow(Base):
    """The stages whose models a run's coalitions started from; a revaluation uses the latest row of its name."""

    __tablename__ = "anchors"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(index=True)
    stages: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class EdgeRow(Base):
    """`child` came from `parent`; see `royalty.infra.stores.lineage`."""

    __tablename__ = "lineage"

    child: Mapped[str] = mapped_column(primary_key=True)
    parent: Mapped[str] = mapped_column(primary_key=True, index=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(primary_key=True, index=True)


class OriginRow(Base):
    """The flow run and commit that created a row of the run store, and the digest of the row's content then."""

    __tablename__ = "origins"

    run: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[str]
    flow_run: Mapped[str | None]
    commit: Mapped[str]
    created_at: Mapped[str] = mapped_column(default=now)


class SignatureRow(Base):
    """The signature of a record of `origins`; see `royalty.infra.stores.records`."""

    __tablename__ = "signatures"

    run: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    value: Mapped[str]


class LinkSignatureRow(Base):
    """The signature of an act or a statement by its position; see `royalty.infra.stores.links`."""

    __tablename__ = "link_signatures"

    chain: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    value: Mapped[str]


class CreditTableRow(Base):
    """The credit table of a run; the latest row of a run is the one to pay."""

    __tablename__ = "credit_tables"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(index=True)
    stage: Mapped[str]
    digest: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[str] = mapped_column(default=now)


class PoolRow(Base):
    """A pool of money, with a name and a period, which may be empty."""

    __tablename__ = "pools"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    period: Mapped[str]
    currency: Mapped[str]
    created_at: Mapped[str] = mapped_column(default=now)


class PolicyRow(Base):
    """Terms that a pool was divided by, keyed by their digest."""

    __tablename__ = "policies"

    digest: Mapped[str] = mapped_column(primary_key=True)
    terms: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class EvidenceRow(Base):
    """What a statement rests on: digests of rows, files and payees, keyed by the digest of all of it."""

    __tablename__ = "evidence"

    digest: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class StatementRow(Base):
    """One division of a pool by one valuation, or a release of held money; written after its entries.

    Attributes:
        position: position in the chain of all statements, which defines their order; the clock does not.
        source: the run that the credit comes from.
        replaces: the division whose entries this one reverses.
        previous, hash: hash of the previous statement, and of this one; see `royalty.infra.stores.chain`.
        version: version of the hash. Statements of version 1 have no evidence, body and totals.
        evidence: digest of what the division rests on; null if it was posted without.
        body, totals: digest of the entries; number and sum of them by kind.
    """

    __tablename__ = "statements"

    id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    pool: Mapped[str] = mapped_column(ForeignKey("pools.id"))
    kind: Mapped[str]
    valuation: Mapped[str]
    source: Mapped[str | None]
    policy: Mapped[str | None] = mapped_column(ForeignKey("policies.digest"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    replaces: Mapped[str | None]
    previous: Mapped[str]
    hash: Mapped[str]
    created_at: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)
    evidence: Mapped[str | None]
    body: Mapped[str | None]
    totals: Mapped[dict[str, Any] | None]


class EntryRow(Base):
    """Money in integer minor units, added to an account or, if negative, taken from it.

    Attributes:
        contributor: owner of the account; empty for the pool's own accounts.
        valuation: digest of the credit table. If the pool followed another table in between, `@` and the ID of the
            statement that this return to the table corrects come after it.
    """

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    statement: Mapped[
        str
    ]  # foreign key in the schema only, where it is deferred; here it would make the ORM insert the statement first
    pool: Mapped[str] = mapped_column(ForeignKey("pools.id"))
    contributor: Mapped[str]
    valuation: Mapped[str]
    kind: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]


class ActRow(Base):
    """What a person did in a case, an opt-out or an approval; see `royalty.infra.ledger.acts`.

    Attributes:
        position: position in the chain of all acts.
        reference: ID of the case, opt-out or approval.
        body: what the act says.
        previous, hash: hash of the previous act, and of this one; see `royalty.infra.stores.chain`.
    """

    __tablename__ = "acts"

    position: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str]
    reference: Mapped[str]
    kind: Mapped[str]
    actor: Mapped[str]
    body: Mapped[dict[str, Any]]
    previous: Mapped[str]
    hash: Mapped[str]
    created_at: Mapped[str]
