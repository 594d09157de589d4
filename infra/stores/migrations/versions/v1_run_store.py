"""Run store, lineage and first ledger. What a home from before migrations has of it stays as it is."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, MetaData, String, Table, UniqueConstraint

revision = "1"
down_revision = None

METADATA = MetaData()


def _table(name: str, *columns: Column | UniqueConstraint) -> None:
    Table(name, METADATA, *columns, Column("created_at", String, nullable=False))


def _text(name: str, *, index: bool = False, nullable: bool = False) -> Column:
    return Column(name, String, index=index, nullable=nullable)


def _key(name: str) -> Column:
    return Column(name, String, primary_key=True)


_table("runs", _key("name"), Column("config", JSON, nullable=False))
_table(
    "stages",
    _key("key"),
    _text("name", index=True),
    Column("inputs", JSON, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("seconds", Float, nullable=False),
)
_table(
    "coalition_models",
    _key("key"),
    Column("members", JSON, nullable=False),
    _text("method"),
    Column("seed", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("train_seconds", Float, nullable=False),
    _text("device"),
    _text("checkpoint", nullable=True),
    _text("failure", nullable=True),
)
_table(
    "measurements",
    _key("key"),
    Column("coalition", String, ForeignKey("coalition_models.key"), index=True, nullable=False),
    _text("property"),
    Column("draw", Integer, nullable=False),
    Column("utility", Float, nullable=False),
    Column("sample_seconds", Float, nullable=False),
    Column("measure_seconds", Float, nullable=False),
)
_table(
    "anchors",
    Column("id", Integer, primary_key=True, autoincrement=True),
    _text("name", index=True),
    Column("stages", JSON, nullable=False),
)
Table(
    "lineage",
    METADATA,
    _key("child"),
    Column("parent", String, primary_key=True, index=True),
    _key("role"),
    Column("run", String, primary_key=True, index=True),
)
_table("origins", _key("run"), _text("content"), _text("flow_run", nullable=True), _text("commit"))
_table(
    "statements",
    _key("id"),
    _text("pool", index=True),
    _text("valuation"),
    Column("sequence", Integer, nullable=False),
    UniqueConstraint("pool", "valuation"),
    UniqueConstraint("pool", "sequence"),
)
_table(
    "entries",
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("statement", String, ForeignKey("statements.id"), nullable=False),
    _text("pool"),
    _text("contributor"),
    _text("valuation"),
    _text("kind"),
    Column("amount_minor", Integer, nullable=False),
    _text("currency"),
    UniqueConstraint("pool", "contributor", "valuation", "kind"),
)


def upgrade() -> None:
    METADATA.create_all(op.get_bind(), checkfirst=True)
