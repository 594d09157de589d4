"""Ask first what is rarely true of an entry, so that SQLite writes a million of them in half the time.

The condition of the trigger on returns is the same; SQLite makes the list of kinds anew for every row that gets there.
PostgreSQL keeps such lists, so that nothing changes there.
"""

from __future__ import annotations

from alembic import op

from royalty.infra.stores.migrations.versions.v4_returns import ELSEWHERE, MESSAGE

revision = "7"
down_revision = "6"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        condition = f"instr(NEW.valuation, '@') > 0 AND {ELSEWHERE}"
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS entries_return")
        connection.exec_driver_sql(
            f"CREATE TRIGGER entries_return BEFORE INSERT ON entries WHEN {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
