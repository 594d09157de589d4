"""A record of the content of every row of the run store, so that a row without one was added by hand.

Until now runs, anchors and credit had no record, and rows of the first versions had none either. Those that are there
are recorded as they are.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from royalty.infra.stores.keys import digest_of

revision = "8"
down_revision = "7"

KEYS = {
    "stages": "key",
    "coalition_models": "key",
    "measurements": "key",
    "runs": "name",
    "anchors": "id",
    "credit_tables": "id",
}


def upgrade() -> None:
    connection, schema = op.get_bind(), sa.MetaData()
    origins = sa.Table("origins", schema, autoload_with=connection)
    recorded = set(connection.scalars(sa.select(origins.c.run)))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for name, key in KEYS.items():
        table = sa.Table(name, schema, autoload_with=connection)
        columns = [column.name for column in table.columns if column.name != "created_at"]
        for row in connection.execute(sa.select(table)).mappings().all():
            identity = row[key] if key == "key" else f"{name} {row[key]}"
            if identity not in recorded:
                content = json.loads(json.dumps({column: row[column] for column in columns}))
                values = {"run": identity, "content": digest_of(content), "commit": "", "created_at": now}
                connection.execute(origins.insert().values(flow_run=None, **values))
