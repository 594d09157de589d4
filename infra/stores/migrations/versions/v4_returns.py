"""A pool returns to an earlier credit table only by correcting the statement that it follows now.

The entries of a return name that statement after the digest of the table, so that each statement is corrected back to a
table at most once.
"""

from __future__ import annotations

from alembic import op

revision = "4"
down_revision = "3"

CURRENT = (
    "COALESCE((SELECT id FROM statements WHERE pool = NEW.pool AND kind IN ('division', 'correction') "
    "ORDER BY position DESC LIMIT 1), 'none')"
)
KINDS = "NEW.kind IN ('payment', 'held', 'account', 'pool', 'reserve', 'claims')"
# `replace` tells on either database, and without wildcards, whether a text contains another one.
IS_RETURN = "NEW.valuation <> replace(NEW.valuation, '@', '')"
ELSEWHERE = f"{KINDS} AND {IS_RETURN} AND NEW.valuation = replace(NEW.valuation, '@' || {CURRENT}, '')"
MESSAGE = "a return to an earlier credit table corrects the last division or correction of its pool"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER entries_return BEFORE INSERT ON entries WHEN {ELSEWHERE} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
        return
    refusal = f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = '{MESSAGE}';"
    body = f"BEGIN IF {ELSEWHERE} THEN {refusal} END IF; RETURN NEW; END"
    connection.exec_driver_sql(f"CREATE FUNCTION royalty_return() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    connection.exec_driver_sql(
        "CREATE TRIGGER entries_return BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION royalty_return()"
    )
