"""Acts of people, beside the ledger: cases, opt-outs and approvals, chained and only added to."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, Index, Integer, MetaData, String, Table

from royalty.infra.stores.chain import GENESIS

revision = "6"
down_revision = "5"

METADATA = MetaData()
ACTS = Table(
    "acts",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("subject", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("body", JSON, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("created_at", String, nullable=False),
)
Index("acts_of", ACTS.c.subject, ACTS.c.reference)

LAST = f"COALESCE((SELECT hash FROM acts ORDER BY position DESC LIMIT 1), '{GENESIS}')"
UNCHAINED = f"NEW.position <> (SELECT COALESCE(MAX(position), 0) + 1 FROM acts) OR NEW.previous <> {LAST}"
CHAINED = "an act follows the last one, whose hash it holds"
KEPT = "acts are only added: a change or removal is refused"


def upgrade() -> None:
    connection = op.get_bind()
    METADATA.create_all(connection)
    if connection.dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER acts_no_{event.lower()} BEFORE {event} ON acts "
                f"BEGIN SELECT RAISE(ABORT, '{KEPT}'); END"
            )
        # It also refuses INSERT OR REPLACE, whose row is not in the next position.
        connection.exec_driver_sql(
            f"CREATE TRIGGER acts_chained BEFORE INSERT ON acts WHEN {UNCHAINED} "
            f"BEGIN SELECT RAISE(ABORT, '{CHAINED}'); END"
        )
        return
    for name, condition, message in (("kept", "TRUE", KEPT), ("acts_chained", UNCHAINED, CHAINED)):
        refusal = f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = '{message}';"
        connection.exec_driver_sql(
            f"CREATE FUNCTION royalty_{name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF {condition} THEN {refusal} END IF; RETURN NEW; END $$"
        )
    for event, scope in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        connection.exec_driver_sql(
            f"CREATE TRIGGER acts_no_{event.split()[0].lower()} BEFORE {event} ON acts FOR EACH {scope} "
            "EXECUTE FUNCTION royalty_kept()"
        )
    connection.exec_driver_sql(
        "CREATE TRIGGER acts_chained BEFORE INSERT ON acts FOR EACH ROW EXECUTE FUNCTION royalty_acts_chained()"
    )
