"""No statement is written while there are entries of none, or with entries of another pool than its own.

Foreign keys do not tell: SQLite asks them only of connections that turn them on.
"""

from __future__ import annotations

from alembic import op

revision = "3"
down_revision = "2"

STRAY = "NOT EXISTS (SELECT 1 FROM statements WHERE statements.id = entries.statement)"
UNSETTLED = (
    f"EXISTS (SELECT 1 FROM entries WHERE entries.statement <> NEW.id AND {STRAY}) "
    "OR EXISTS (SELECT 1 FROM entries WHERE entries.statement = NEW.id AND entries.pool <> NEW.pool) "
    "OR NOT EXISTS (SELECT 1 FROM pools WHERE pools.id = NEW.pool)"
)
MESSAGE = "every entry is of a statement and its pool: no statement is written while there are others"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER statements_settled BEFORE INSERT ON statements WHEN {UNSETTLED} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
        return
    refusal = f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = '{MESSAGE}';"
    connection.exec_driver_sql(
        "CREATE FUNCTION royalty_settled() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF {UNSETTLED} THEN {refusal} END IF; RETURN NEW; END $$"
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER statements_settled BEFORE INSERT ON statements FOR EACH ROW EXECUTE FUNCTION royalty_settled()"
    )
