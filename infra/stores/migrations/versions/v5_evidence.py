"""Evidence under the hash of statements, and rows of the run store that are only added.

Statements that are there keep version 1, whose hash covers their entries directly and no evidence.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Integer, String

revision = "5"
down_revision = "4"

RUN_STORE = ("runs", "stages", "coalition_models", "measurements", "anchors", "lineage", "origins")
MESSAGE = "the run store is append-only"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Rows that earlier migrations of this transaction wrote are checked at its end; a table that waits for such a
        # check cannot be altered.
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    for column in (
        Column("version", Integer, nullable=False, server_default="1"),
        Column("evidence", String, nullable=True),
        Column("body", String, nullable=True),
        Column("totals", JSON, nullable=True),
    ):
        op.add_column("statements", column)
    op.create_table(
        "evidence",
        Column("digest", String, primary_key=True),
        Column("content", JSON, nullable=False),
        Column("created_at", String, nullable=False),
    )
    commands = _sqlite() if connection.dialect.name == "sqlite" else _postgresql()
    for command in commands:
        connection.exec_driver_sql(command)


def _sqlite() -> list[str]:
    commands = []
    for table in ("evidence", *RUN_STORE):
        message = "the ledger is append-only" if table == "evidence" else MESSAGE
        for event in ("UPDATE", "DELETE"):
            commands.append(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{message}: {event} of {table} is refused'); END"
            )
    # INSERT OR REPLACE deletes without asking the trigger on DELETE.
    for table, key in (("evidence", "digest"), ("runs", "name"), ("stages", "key"), ("origins", "run")):
        commands.append(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) "
            f"BEGIN SELECT RAISE(ABORT, 'UNIQUE: this row of {table} is there'); END"
        )
    return commands


def _postgresql() -> list[str]:
    changed = f"'{MESSAGE}: ' || TG_OP || ' of ' || TG_TABLE_NAME || ' is refused'"
    refusal = f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = {changed};"
    commands = [
        "CREATE FUNCTION royalty_run_store_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {refusal} RETURN NULL; END $$"
    ]
    for table in ("evidence", *RUN_STORE):
        function = "royalty_append_only" if table == "evidence" else "royalty_run_store_append_only"
        commands += [
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        ]
    return commands
