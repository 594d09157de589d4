"""Ledger of pools by period, balanced and chained statements, and triggers that keep all of it as it was written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from royalty.infra.stores.chain import GENESIS, pool_key, statement_hash
from royalty.infra.stores.migrations.triggers import create_triggers

revision = "2"
down_revision = "1"

METADATA = MetaData()
POOLS = Table(
    "pools",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("period", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("created_at", String, nullable=False),
    UniqueConstraint("name", "period"),
)
POLICIES = Table(
    "policies",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("terms", JSON, nullable=False),
    Column("created_at", String, nullable=False),
)
CREDIT_TABLES = Table(
    "credit_tables",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String, nullable=False, index=True),
    Column("stage", String, nullable=False),
    Column("digest", String, nullable=False, index=True),
    Column("created_at", String, nullable=False),
)
STATEMENTS = Table(
    "statements",
    METADATA,
    Column("id", String, primary_key=True),
    Column("position", Integer, nullable=False, unique=True),
    Column("pool", String, ForeignKey("pools.id"), nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("valuation", String, nullable=False),
    Column("source", String),
    Column("policy", String, ForeignKey("policies.digest")),
    Column("amount_minor", BigInteger, nullable=False),
    Column("replaces", String, ForeignKey("statements.id"), unique=True),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("created_at", String, nullable=False),
)
FIRST = "kind = 'division' AND replaces IS NULL"
Index(
    "one_first_division",
    STATEMENTS.c.pool,
    unique=True,
    sqlite_where=text(FIRST),
    postgresql_where=text(FIRST),
)
ENTRIES = Table(
    "entries",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    # Deferred, as entries are written before the statement that closes them.
    Column(
        "statement",
        String,
        ForeignKey("statements.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        index=True,
    ),
    Column("pool", String, ForeignKey("pools.id"), nullable=False),
    Column("contributor", String, nullable=False),
    Column("valuation", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    UniqueConstraint("pool", "contributor", "valuation", "kind"),
)


def upgrade() -> None:
    connection = op.get_bind()
    statements = connection.execute(text("SELECT * FROM statements")).mappings().all()
    entries = connection.execute(text("SELECT * FROM entries ORDER BY id")).mappings().all()
    reports = connection.execute(_stages("report")).mappings().all()
    credits = {row["key"]: row for row in connection.execute(_stages("credit")).mappings()}
    op.drop_table("entries")
    op.drop_table("statements")
    METADATA.create_all(connection)
    create_triggers(connection)
    _adopt(connection, statements, entries)
    for report in reports:  # which credit each run came to, in the order of their reports
        credit = credits.get(report["inputs"]["stages"].get("credit"))
        if credit is not None:
            row = {"run": report["inputs"]["name"], "stage": credit["key"], "digest": credit["outputs"]["table"]}
            connection.execute(CREDIT_TABLES.insert().values(**row, created_at=report["created_at"]))


def _stages(name: str) -> Any:
    stages = Table(
        "stages",
        MetaData(),
        Column("key", String),
        Column("name", String),
        Column("inputs", JSON),
        Column("outputs", JSON),
        Column("created_at", String),
    )
    return stages.select().where(stages.c.name == name).order_by(stages.c.created_at)


def _adopt(connection: Connection, statements: Sequence[Any], entries: Sequence[Any]) -> None:
    """Write statements of the first ledger in the order in which they were posted.

    They did not say what their pool held beyond what they posted, so that counts as the whole of it.
    """
    by_statement: dict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        by_statement[entry["statement"]].append(entry)
    order = {identity: rows[0]["id"] for identity, rows in by_statement.items()}
    latest: dict[str, str] = {}
    pools: dict[str, dict[str, str]] = {}
    previous = GENESIS
    for position, old in enumerate(sorted(statements, key=lambda row: order.get(row["id"], 0)), start=1):
        name, posted = old["pool"], by_statement[old["id"]]
        if name not in pools:
            currency = posted[0]["currency"] if posted else "XXX"
            pools[name] = {"id": pool_key(name, ""), "name": name, "period": "", "currency": currency}
            connection.execute(POOLS.insert().values(**pools[name], created_at=old["created_at"]))
        pool = pools[name]
        rows = [
            {
                "statement": old["id"],
                "pool": pool["id"],
                **{part: entry[part] for part in ("contributor", "valuation", "kind", "amount_minor", "currency")},
            }
            for entry in posted
        ]
        rows += _against(rows, old["valuation"])
        statement = {
            "id": old["id"],
            "position": position,
            "pool": pool["id"],
            "kind": "division",
            "valuation": old["valuation"],
            "source": None,
            "policy": None,
            "amount_minor": -sum(row["amount_minor"] for row in rows if row["kind"] == "pool"),
            "replaces": latest.get(name),
            "previous": previous,
            "created_at": old["created_at"],
        }
        latest[name], previous = old["id"], statement_hash(statement, pool, rows, previous)
        if rows:
            connection.execute(ENTRIES.insert(), rows)
        connection.execute(STATEMENTS.insert().values(**statement, hash=previous))


def _against(rows: Sequence[dict[str, Any]], valuation: str) -> list[dict[str, Any]]:
    """The pool's side of what was posted, and of what was taken back."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        taken_back = row["kind"].endswith("reversal")
        sums[row["valuation"] if taken_back else valuation, "pool-reversal" if taken_back else "pool"] -= row[
            "amount_minor"
        ]
    return [
        {**rows[0], "contributor": "", "valuation": of, "kind": kind, "amount_minor": amount}
        for (of, kind), amount in sums.items()
    ]
