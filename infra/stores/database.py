"""The database of run store and ledger: opened, and brought to the schema of this version."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from royalty.infra.stores.artifacts import StoreError

SCHEMA = "3"
"""Version of the schema that this code reads and writes: the newest in `infra/stores/migrations`."""
VERSION_TABLE = "royalty_version"
LOCK = 0x726F79616C7479
"""Of PostgreSQL's advisory locks: who migrates or posts holds it until its transaction ends."""
CONNECT_SECONDS = 10


def open_database(url: str) -> Engine:
    """An engine on a database of this schema; an older one is migrated, a new one made.

    Whatever reads or writes by it raises StoreError where the database fails later: stopped, locked, its disk full.

    Raises:
        StoreError: the database does not answer, cannot be written, is of a newer schema, or is not Royalty's.
    """
    engine = _engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            if _version(connection, shown) != SCHEMA:
                lock(connection)
                _migrate(connection, _version(connection, shown))  # which another process may have done meanwhile
                connection.commit()
    except DBAPIError as error:
        raise StoreError(
            f"cannot open the run store {shown}: {' '.join(str(error.orig).split())}. Start the database, or set "
            "ROYALTY_DATABASE_URL to one that answers"
        ) from error
    event.listen(engine, "handle_error", _as_store_error)
    return engine


def _as_store_error(failed: ExceptionContext) -> StoreError | None:
    # The ping finds out whether a pooled connection still lives, and replaces it itself.
    if failed.is_pre_ping or not isinstance(failed.sqlalchemy_exception, OperationalError):
        return None
    return StoreError(
        f"run store and ledger need their database to answer: {' '.join(str(failed.original_exception).split())}. "
        "Start or mend it, or free some space; what is finished is kept, and the same command goes on from there"
    )


def lock(connection: Connection) -> None:
    """Until the transaction ends, nobody else migrates or posts; on SQLite, nobody else writes."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})


def _engine(url: str) -> Engine:
    try:
        # A connection that the server has closed meanwhile, as by a restart, is replaced before it is used.
        engine = create_engine(url, pool_pre_ping=True)
    except ArgumentError as error:
        raise StoreError(
            f"ROYALTY_DATABASE_URL is a URL such as postgresql+psycopg://user:password@host/database: {error}"
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the driver of ROYALTY_DATABASE_URL is not installed: {error}. `pip install 'royalty[postgres]'` installs "
            "that of postgresql+psycopg"
        ) from None
    dialect = engine.dialect.name
    if dialect == "sqlite":
        if engine.url.database:
            _make_folder(Path(engine.url.database).parent)
        event.listen(engine, "connect", _prepare_sqlite)
    elif dialect == "postgresql":
        event.listen(engine, "do_connect", _limit_waiting)
    else:
        raise StoreError(f"run store and ledger are kept in SQLite or PostgreSQL; ROYALTY_DATABASE_URL names {dialect}")
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot open the run store in {folder}: {error.strerror}. Set ROYALTY_HOME to a folder that can be written"
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Write-ahead logging lets workers read while one writes; FULL makes a committed row survive power loss.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _limit_waiting(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    parameters.setdefault("connect_timeout", CONNECT_SECONDS)


def _version(connection: Connection, shown: str) -> str | None:
    """Of the schema; None before the first migration.

    Raises:
        StoreError: it is newer than this code, or another program's.
    """
    tables = inspect(connection)
    if not tables.has_table(VERSION_TABLE):
        if tables.has_table("alembic_version"):
            raise StoreError(
                f"{shown} is the database of another program, as Prefect's or MLflow's; give run store and ledger one "
                "of their own in ROYALTY_DATABASE_URL"
            )
        return None
    version = str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    if version not in _known():
        raise StoreError(
            f"{shown} has schema version {version}, and this Royalty knows {SCHEMA} at most; install the version of "
            "Royalty that last opened it, or set ROYALTY_DATABASE_URL to another database"
        )
    return version


def _known() -> set[str]:
    return {str(version) for version in range(1, int(SCHEMA) + 1)}


def _migrate(connection: Connection, version: str | None) -> None:
    """Run the migrations that are left, in the transaction of the connection: all of them, or none."""
    if version == SCHEMA:
        return
    from alembic.runtime.environment import EnvironmentContext  # takes a while to import, and is needed once a home

    script, config = _script(), _config()

    def upgrade(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs(SCHEMA, revision)

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@lru_cache
def _script() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())
