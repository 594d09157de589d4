"""Signatures of acts and statements, so that one that the product did not write is noticed.

Those that are there are signed once, by the first process that has the key; see `royalty.infra.stores.links`.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, String

revision = "10"
down_revision = "9"

TABLE = "link_signatures"
MESSAGE = "signatures are append-only"


def upgrade() -> None:
    connection = op.get_bind()
    keys = Column("chain", String, primary_key=True), Column("position", Integer, primary_key=True, autoincrement=False)
    op.create_table(TABLE, *keys, *(Column(name, String, nullable=False) for name in ("key", "value")))
    if connection.dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER {TABLE}_no_{event.lower()} BEFORE {event} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}: {event} of {TABLE} is refused'); END"
            )
        # INSERT OR REPLACE deletes without asking the trigger on DELETE.
        connection.exec_driver_sql(
            f"CREATE TRIGGER {TABLE}_no_replace BEFORE INSERT ON {TABLE} "
            f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE chain = NEW.chain AND position = NEW.position) "
            "BEGIN SELECT RAISE(ABORT, 'UNIQUE: this signature is there'); END"
        )
        return
    for event, scope in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        connection.exec_driver_sql(
            f"CREATE TRIGGER {TABLE}_no_{event.split()[0].lower()} BEFORE {event} ON {TABLE} FOR EACH {scope} "
            "EXECUTE FUNCTION royalty_run_store_append_only()"
        )
