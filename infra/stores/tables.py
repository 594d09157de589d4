"""The tables of the run store and the ledger, as the code sees them; `royalty.infra.stores.migrations` makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {dict[str, Any]: JSON, list[str]: JSON}


class Run(Base):
    """A name and the one configuration it stands for."""

    __tablename__ = "runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    config: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class Stage(Base):
    """A finished stage: what went in, what came out, and how long it took."""

    __tablename__ = "stages"

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    inputs: Mapped[dict[str, Any]]
    outputs: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    created_at: Mapped[str] = mapped_column(default=now)


class Coalition(Base):
    """A coalition's model, trained one way from one seed; without a checkpoint, its training failed."""

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


class Measurement(Base):
    """One global property of a coalition's model, on images drawn from one seed."""

    __tablename__ = "measurements"

    key: Mapped[str] = mapped_column(primary_key=True)
    coalition: Mapped[str] = mapped_column(ForeignKey("coalition_models.key"), index=True)
    property: Mapped[str]
    draw: Mapped[int]
    utility: Mapped[float]
    sample_seconds: Mapped[float]
    measure_seconds: Mapped[float]
    created_at: Mapped[str] = mapped_column(default=now)


class Anchor(Base):
    """The stages whose models a run's coalitions started from; the latest of a name serves its revaluation."""

    __tablename__ = "anchors"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(index=True)
    stages: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class Edge(Base):
    """`child` came from `parent`; see `royalty.infra.stores.lineage`."""

    __tablename__ = "lineage"

    child: Mapped[str] = mapped_column(primary_key=True)
    parent: Mapped[str] = mapped_column(primary_key=True, index=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(primary_key=True, index=True)


class Origin(Base):
    """By which flow run and commit a row of the run store was made, and the digest of what it said then."""

    __tablename__ = "origins"

    run: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[str]
    flow_run: Mapped[str | None]
    commit: Mapped[str]
    created_at: Mapped[str] = mapped_column(default=now)


class CreditTable(Base):
    """The credit that a run came to; the latest of a run is the one to pay."""

    __tablename__ = "credit_tables"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(index=True)
    stage: Mapped[str]
    digest: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[str] = mapped_column(default=now)


class Pool(Base):
    """Money set aside under a name for a period, which may be empty."""

    __tablename__ = "pools"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    period: Mapped[str]
    currency: Mapped[str]
    created_at: Mapped[str] = mapped_column(default=now)


class Policy(Base):
    """The terms that a pool was divided by, under the digest of them."""

    __tablename__ = "policies"

    digest: Mapped[str] = mapped_column(primary_key=True)
    terms: Mapped[dict[str, Any]]
    created_at: Mapped[str] = mapped_column(default=now)


class Statement(Base):
    """One division of one pool by one valuation, or a release of what it held; written after its entries.

    Attributes:
        position: in the chain of all statements; what came first is told by this, and not by the clock.
        source: the run whose credit it is.
        replaces: the division whose entries it takes back.
        previous, hash: of the statement before, and of this one; see `royalty.infra.stores.chain`.
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


class Entry(Base):
    """Money in integer minor units, credited to an account or, negative, taken from it.

    Attributes:
        contributor: whose account; empty for those of the pool itself.
    """

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    statement: Mapped[str]  # its foreign key is of the schema, which defers it; here it would turn the order around
    pool: Mapped[str] = mapped_column(ForeignKey("pools.id"))
    contributor: Mapped[str]
    valuation: Mapped[str]
    kind: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
