"""The run store: which stages and coalitions are finished, and what a run name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from infra import tables
from infra.artifacts import StoreError


class ConfigConflict(ValueError):
    """A run name already stands for another configuration."""


@dataclass(frozen=True)
class StageRecord:
    """A finished stage.

    Attributes:
        key: hash of everything that determines the outputs.
        outputs: digests and scalars.
        seconds: wall time when it was computed.
        reused: found in the run store rather than computed now.
    """

    name: str
    key: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    seconds: float
    reused: bool = False

    def with_outputs(self, **outputs: Any) -> StageRecord:
        return replace(self, outputs={**self.outputs, **outputs})


@dataclass(frozen=True)
class CoalitionRecord:
    """A measured coalition; `utility` is v(S), higher is better, times are in seconds."""

    key: str
    members: list[str]
    seed: int
    items: int
    utility: float
    train_seconds: float
    sample_seconds: float
    measure_seconds: float
    wall_seconds: float
    device: str
    checkpoint: str


class RunStore:
    """Rows are written once, in one transaction each; a key that is there is finished."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def knows(self, name: str) -> bool:
        with Session(self.engine) as session:
            return session.get(tables.Run, name) is not None

    def claim_name(self, name: str, config: Mapping[str, Any]) -> None:
        """Bind a name to a configuration.

        Raises:
            ConfigConflict: the name stands for another one; shows each differing value.
        """
        with Session(self.engine) as session, session.begin():
            run = session.get(tables.Run, name)
            if run is None:
                session.add(tables.Run(name=name, config=dict(config)))
                return
            differences = list(_differences(run.config, config))
        if differences:
            raise ConfigConflict(
                f"a run name stands for one configuration; {name!r} was started with another:\n"
                + "\n".join(f"  {path}: was {old!r}, is now {new!r}" for path, old, new in differences)
                + "\nGive this run a name of its own (`--name NAME`, or `name:` in the file): stages that did not "
                "change are reused all the same. Or restore the value."
            )

    def stage(self, key: str) -> StageRecord | None:
        with Session(self.engine) as session:
            row = session.get(tables.Stage, key)
            if row is None:
                return None
            return StageRecord(row.name, row.key, row.inputs, row.outputs, row.seconds, reused=True)

    def record_stage(self, record: StageRecord) -> None:
        row = tables.Stage(
            key=record.key,
            name=record.name,
            inputs=dict(record.inputs),
            outputs=dict(record.outputs),
            seconds=record.seconds,
        )
        self._insert(row)

    def coalitions(self, keys: Iterable[str]) -> dict[str, CoalitionRecord]:
        """The finished coalitions among these keys."""
        with Session(self.engine) as session:
            rows = session.scalars(select(tables.Coalition).where(tables.Coalition.key.in_(list(keys))))
            fields = CoalitionRecord.__dataclass_fields__
            return {row.key: CoalitionRecord(**{name: getattr(row, name) for name in fields}) for row in rows}

    def record_coalition(self, record: CoalitionRecord) -> None:
        self._insert(tables.Coalition(**asdict(record)))

    def _insert(self, row: tables.Stage | tables.Coalition) -> None:
        """Two processes may finish one key; the outputs are equal, so the first row stands."""
        try:
            with Session(self.engine) as session, session.begin():
                session.add(row)
        except IntegrityError:
            with Session(self.engine) as session:
                if session.get(type(row), row.key) is None:
                    raise
        except OperationalError as error:
            raise StoreError(
                f"cannot write the run store: {error.orig}. Free some space or mend the database; what is finished is "
                "kept and the next run goes on from there"
            ) from error


def open_database(url: str) -> Engine:
    """An engine with all tables present.

    Raises:
        StoreError: the database cannot be opened or written.
    """
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        tables.Base.metadata.create_all(engine)
    except OperationalError as error:
        raise StoreError(f"cannot open the run store {url}: {error.orig}") from error
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Write-ahead logging lets workers read while one writes; FULL makes a committed row survive power loss.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _differences(old: Any, new: Any, path: str = "") -> Iterable[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new
