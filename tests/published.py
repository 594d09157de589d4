"""The MLflow runs of a home, and which of them `royalty trace` does not know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

FINISHED = """
select run_uuid, name from runs where status = 'FINISHED' and lifecycle_stage = 'active'
and run_uuid not in (select run_uuid from tags where key = 'mlflow.parentRunId')
"""


def untraceable(home: Path) -> list[str]:
    """Names of finished MLflow runs at the top level that are not known by their ids; none without a local store."""
    from royalty.infra.settings import Settings
    from royalty.infra.workspace import open_workspace
    from royalty.models.base.errors import InputError
    from royalty.tasks.report.trace_id import identify

    store = home / "mlflow" / "mlflow.db"
    if not (store.exists() and (home / "royalty.db").exists()):
        return []
    with closing(sqlite3.connect(store)) as database:
        runs = database.execute(FINISHED).fetchall()
    space, lost = open_workspace(Settings(home=home)), []
    for run, name in runs:
        try:
            identify(space, run)
        except InputError:
            lost.append(name)
    return lost
