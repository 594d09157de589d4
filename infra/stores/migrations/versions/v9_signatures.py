"""Signatures of the records of rows, so that a row that the product did not write is noticed.

Rows that are there are signed once, by the first process that has the key; see `royalty.infra.stores.records`.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "9"
down_revision = "8"

MESSAGE = "the run store is append-only"


def upgrade() -> None:
    connection = op.get_bind()
    columns = (Column(name, String, nullable=False) for name in ("key", "value"))
    op.create_table("signatures", Column("run", String, primary_key=True), *columns)
    if connection.dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER signatures_no_{event.lower()} BEFORE {event} ON signatures "
                f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}: {event} of signatures is refused'); END"
            )
        # INSERT OR REPLACE deletes without asking the trigger on DELETE.
        connection.exec_driver_sql(
            "CREATE TRIGGER signatures_no_replace BEFORE INSERT ON signatures "
            "WHEN EXISTS (SELECT 1 FROM signatures WHERE run = NEW.run) "
            "BEGIN SELECT RAISE(ABORT, 'UNIQUE: this signature is there'); END"
        )
        return
    for event, scope in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        connection.exec_driver_sql(
            f"CREATE TRIGGER signatures_no_{event.split()[0].lower()} BEFORE {event} ON signatures FOR EACH {scope} "
            "EXECUTE FUNCTION royalty_run_store_append_only()"
        )
