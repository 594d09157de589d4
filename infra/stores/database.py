"""Open the database of run store and ledger, and migrate it to the current schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.private import keep_private

SCHEMA = "10"
"""Version of the schema that this code reads and writes: the newest in `infra/stores/migrations`."""
VERSION_TABLE = "royalty_version"
LOCK = 0x726F79616C7479
"""Key of the PostgreSQL advisory lock that a migration holds until its transaction ends."""
CONNECT_SECONDS = 10
ROWS_AT_ONCE = 50_000
"""Rows that are inserted at once."""
CACHE_KIBIBYTES = 128 * 1024
"""Memory that SQLite takes at most for pages of the database: the index of a million entries is not in order."""


def open_database(url: str) -> Engine:
    """Open a database, and create or migrate its schema.

    Later failures of the database, such as a stop, a lock or a full disk, raise StoreError in the code that uses the
    engine.

    Raises:
        StoreError: the database does not answer, cannot be written, has a newer schema, or belongs to another program.
    """
    engine = _engine(url)
    address = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            if _version(connection, address) != SCHEMA:
                _lock(connection)
                _migrate(connection, _version(connection, address))  # read again: another process may have migrated it
                connection.commit()
    except DBAPIError as error:
        raise StoreError(
            f"cannot open the run store {address}: {' '.join(str(error.orig).split())}. Start the database, or set "
            "ROYALTY_DATABASE_URL to a running one"
        ) from error
    event.listen(engine, "handle_error", _as_store_error)
    return engine


def _as_store_error(failed: ExceptionContext) -> StoreError | None:
    # The ping before use detects closed connections and replaces them, so its failure is not an error.
    if failed.is_pre_ping or not isinstance(failed.sqlalchemy_exception, OperationalError):
        return None
    return StoreError(
        f"the database of run store and ledger failed: {' '.join(str(failed.original_exception).split())}. Start or "
        "repair it, or free some space; finished work is kept, and the same command resumes from there"
    )


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that reads the database as it is at one moment, whatever others write meanwhile."""
    with Session(engine) as session:
        if not _isolated(session):
            session.connection().exec_driver_sql("BEGIN")
        yield session


@contextmanager
def writing_alone(engine: Engine) -> Iterator[Session]:
    """A transaction that others of its kind and migrations wait for; it too reads one moment of the database.

    Others go on adding rows to the run store on PostgreSQL; SQLite has one writer.
    """
    with Session(engine) as session, session.begin():
        if _isolated(session):
            # Locking a table is no query, so that the moment which is read begins after the wait for the others.
            session.execute(text(f"LOCK TABLE {VERSION_TABLE} IN SHARE UPDATE EXCLUSIVE MODE"))
        else:
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
        yield session


def _isolated(session: Session) -> bool:
    """On PostgreSQL, let all queries of a session that begins now see the same moment. SQLite needs a BEGIN for it."""
    if session.get_bind().dialect.name != "postgresql":
        return False
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    return True


def _lock(connection: Connection) -> None:
    """Block other migrations and `writing_alone` until the transaction ends; on SQLite, block all other writers."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    if inspect(connection).has_table(VERSION_TABLE):
        connection.execute(text(f"LOCK TABLE {VERSION_TABLE} IN SHARE UPDATE EXCLUSIVE MODE"))


def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], same: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert many rows: on SQLite by a prepared command, on PostgreSQL by COPY. Triggers see every row.

    Args:
        columns: of the table, in the order of the values.
        same: values of the first columns, which all rows have in common.
        rows: values of the other columns.
    """
    names = ", ".join(columns)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        errors: Any = connection.dialect.dbapi
        try:
            with driver.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row((*same, *row))
        except errors.IntegrityError as error:
            raise IntegrityError(f"COPY {table}", None, error) from error
        return
    command = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.exec_driver_sql(command, [(*same, *row) for row in rows[start : start + ROWS_AT_ONCE]])


def _engine(url: str) -> Engine:
    try:
        # Connections that the server has closed, for example by a restart, are replaced before use.
        engine = create_engine(url, pool_pre_ping=True)
    except ArgumentError as error:
        raise StoreError(
            f"ROYALTY_DATABASE_URL must be a URL such as postgresql+psycopg://user:password@host/database: {error}"
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the driver of ROYALTY_DATABASE_URL is not installed: {error}. Install the driver of postgresql+psycopg "
            "with `pip install 'royalty[postgres]'`"
        ) from None
    dialect = engine.dialect.name
    if dialect == "sqlite":
        if engine.url.database and not engine.url.database.startswith((":", "file:")):
            _make_file(Path(engine.url.database))
        event.listen(engine, "connect", _prepare_sqlite)
    elif dialect == "postgresql":
        event.listen(engine, "do_connect", _limit_waiting)
    else:
        raise StoreError(f"run store and ledger need SQLite or PostgreSQL, got {dialect}; change ROYALTY_DATABASE_URL")
    return engine


def _make_file(database: Path) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        keep_private(database)
    except OSError as error:
        raise StoreError(
            f"cannot open the run store in {database.parent}: {error.strerror}. Set ROYALTY_HOME to a writable folder"
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Write-ahead logging lets workers read while another writes; with FULL, committed rows survive a power failure.
    pragmas = "busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"
    for pragma in (*pragmas, f"cache_size=-{CACHE_KIBIBYTES}"):
        connection.execute(f"PRAGMA {pragma}")


def _limit_waiting(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    parameters.setdefault("connect_timeout", CONNECT_SECONDS)


def _version(connection: Connection, address: str) -> str | None:
    """Version of the schema; None before the first migration.

    Raises:
        StoreError: the schema is newer than this code, or belongs to another program.
    """
    tables = inspect(connection)
    if not tables.has_table(VERSION_TABLE):
        if tables.has_table("alembic_version"):
            raise StoreError(
                f"{address} is the database of another program, such as Prefect or MLflow; set ROYALTY_DATABASE_URL "
                "to a separate database"
            )
        return None
    version = str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    if version not in _known():
        raise StoreError(
            f"{address} has schema version {version}, but this version of Royalty supports at most {SCHEMA}; install "
            "the version of Royalty that last opened it, or set ROYALTY_DATABASE_URL to another database"
        )
    return version


def _known() -> set[str]:
    return {str(version) for version in range(1, int(SCHEMA) + 1)}


def _migrate(connection: Connection, version: str | None) -> None:
    """Run all pending migrations in the transaction of the connection, so that all of them are applied or none."""
    if version == SCHEMA:
        return
    from alembic.runtime.environment import EnvironmentContext  # slow to import, and needed only once for each home

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
