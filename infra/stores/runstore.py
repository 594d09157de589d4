"""The run store: the finished stages and coalitions, and the configuration of each run name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from royalty.infra.errors import Refusal
from royalty.infra.stores import tables
from royalty.infra.stores.keys import code_commit
from royalty.infra.stores.lineage import Edge, content_of
from royalty.infra.stores.records import Records, Seal
from royalty.infra.stores.tables import now

Row = TypeVar("Row", tables.CoalitionRow, tables.MeasurementRow)
Record = TypeVar("Record", "CoalitionRecord", "MeasurementRecord")

MOST_KEYS = 10_000
"""Keys in one query; databases limit the number of parameters."""


class ConfigConflict(Refusal, ValueError):
    """A run name is already bound to another configuration."""


@dataclass(frozen=True)
class StageRecord:
    """A finished stage.

    Attributes:
        key: hash of everything that determines the outputs.
        outputs: digests and scalars.
        seconds: wall time of the computation.
        reused: the stage was found in the run store instead of computed now.
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
    """The model of a coalition.

    Attributes:
        seed: seed of the training; it differs from the requested one if that training diverged.
        checkpoint: digest of the model; None if training failed, with the reason in `failure`.
    """

    key: str
    members: list[str]
    method: str
    seed: int
    items: int
    train_seconds: float
    device: str
    checkpoint: str | None
    failure: str | None = None
    created_at: str = field(default_factory=now)


@dataclass(frozen=True)
class MeasurementRecord:
    """A measured utility v(S), by one property and one draw of images. Higher is better; times are in seconds."""

    key: str
    coalition: str
    property: str
    draw: int
    utility: float
    sample_seconds: float
    measure_seconds: float
    created_at: str = field(default_factory=now)


@dataclass(frozen=True)
class AnchorRecord:
    """Keys, by name, of the stages whose models coalitions start from, and the time when they were first used."""

    name: str
    stages: Mapping[str, str]
    created_at: str


Reread = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class RunStore:
    """Each row is written once, in one transaction; a key that is present is finished.

    All methods raise StoreError if the database does not answer, for example when it was stopped or its disk is full.

    Args:
        seal: signs the record of each row.
    """

    def __init__(self, engine: Engine, seal: Seal | None = None) -> None:
        self.engine, self.records = engine, Records(engine, seal)

    def knows(self, name: str) -> bool:
        with Session(self.engine) as session:
            return session.get(tables.RunRow, name) is not None

    def config(self, name: str) -> Mapping[str, Any] | None:
        """The configuration that a name is bound to."""
        with Session(self.engine) as session:
            run = session.get(tables.RunRow, name)
            return None if run is None else dict(run.config)

    def differences(self, name: str, config: Mapping[str, Any], reread: Reread = dict) -> list[tuple[str, Any, Any]]:
        """Dotted key, old and new value of each difference between the configuration of a name and this one.

        Args:
            reread: see `claim_name`.
        """
        recorded = self.config(name)
        return [] if recorded is None else list(_differences(reread(recorded), config))

    def claim_name(self, name: str, config: Mapping[str, Any], reread: Reread = dict) -> None:
        """Bind a name to a configuration.

        Args:
            reread: converts a configuration written by an earlier version to today's keys.

        Raises:
            ConfigConflict: the name is bound to another configuration; the message shows each differing value.
        """
        self.records.prepare()
        with Session(self.engine) as session, session.begin():
            run = session.get(tables.RunRow, name)
            if run is None:
                run = tables.RunRow(name=name, config=dict(config))
                session.add(run)
                session.flush()
                self.records.add(session, run)
                return
            differences = list(_differences(reread(run.config), config))
        if differences:
            raise ConfigConflict(
                f"a run name stands for one configuration; {name!r} was started with another:\n"
                + "\n".join(f"  {path}: was {old!r}, is now {new!r}" for path, old, new in differences)
                + "\nUse another name for this run (`--name NAME`, or `name:` in the file), which still reuses "
                "unchanged stages; or restore the old values."
            )

    def stage(self, key: str) -> StageRecord | None:
        with Session(self.engine) as session:
            row = session.get(tables.StageRow, key)
            if row is None:
                return None
            return StageRecord(row.name, row.key, row.inputs, row.outputs, row.seconds, reused=True)

    def contents(self, keys: Collection[str]) -> dict[str, str]:
        """Digest of the current content of each of these rows; see `royalty.infra.stores.lineage.content_of`."""
        wanted, contents = list(keys), dict[str, str]()
        kinds: tuple[type[Any], ...] = (tables.StageRow, tables.CoalitionRow, tables.MeasurementRow)
        with Session(self.engine) as session:
            for kind in kinds:
                for start in range(0, len(wanted), MOST_KEYS):
                    rows = session.scalars(select(kind).where(kind.key.in_(wanted[start : start + MOST_KEYS])))
                    contents |= {row.key: content_of(row) for row in rows}
        return contents

    def record_stage(self, record: StageRecord, edges: Iterable[Edge] = (), flow_run: str | None = None) -> None:
        """Record a stage with its lineage and the flow run that created it, in one transaction."""
        row = tables.StageRow(
            key=record.key,
            name=record.name,
            inputs=dict(record.inputs),
            outputs=dict(record.outputs),
            seconds=record.seconds,
        )
        self._insert(row, edges, flow_run)

    def stages(self, *names: str) -> list[StageRecord]:
        """Finished stages of these names, or all finished stages, oldest first."""
        with Session(self.engine) as session:
            query = select(tables.StageRow)
            query = query.where(tables.StageRow.name.in_(names)) if names else query
            rows = session.scalars(query.order_by(tables.StageRow.created_at, tables.StageRow.key))
            return [StageRecord(row.name, row.key, row.inputs, row.outputs, row.seconds, reused=True) for row in rows]

    def coalitions(self, keys: Iterable[str]) -> dict[str, CoalitionRecord]:
        """The finished coalitions among these keys, failed ones included."""
        return self._records(tables.CoalitionRow, CoalitionRecord, keys)

    def all_coalitions(self) -> list[CoalitionRecord]:
        with Session(self.engine) as session:
            return [_as_record(CoalitionRecord, row) for row in session.scalars(select(tables.CoalitionRow))]

    def measurements(self, keys: Iterable[str]) -> dict[str, MeasurementRecord]:
        """The finished measurements among these keys."""
        return self._records(tables.MeasurementRow, MeasurementRecord, keys)

    def record_coalition(
        self, record: CoalitionRecord, edges: Iterable[Edge] = (), flow_run: str | None = None
    ) -> None:
        self._insert(tables.CoalitionRow(**asdict(record)), edges, flow_run)

    def record_measurement(
        self, record: MeasurementRecord, edges: Iterable[Edge] = (), flow_run: str | None = None
    ) -> None:
        self._insert(tables.MeasurementRow(**asdict(record)), edges, flow_run)

    def anchor(self, name: str) -> AnchorRecord | None:
        """The latest anchor of a name."""
        with Session(self.engine) as session:
            newest = select(tables.AnchorRow).where(tables.AnchorRow.name == name).order_by(tables.AnchorRow.id.desc())
            row = session.scalars(newest).first()
            return None if row is None else AnchorRecord(row.name, row.stages, row.created_at)

    def record_anchor(self, name: str, stages: Mapping[str, str]) -> None:
        """Record the stages, unless they already are the latest anchor."""
        latest = self.anchor(name)
        if latest is None or dict(latest.stages) != dict(stages):
            self.records.prepare()
            with Session(self.engine) as session, session.begin():
                anchor = tables.AnchorRow(name=name, stages=dict(stages))
                session.add(anchor)
                session.flush()
                self.records.add(session, anchor)

    def _records(self, table: type[Row], record: type[Record], keys: Iterable[str]) -> dict[str, Record]:
        """Rows of a table as records, by key."""
        wanted = list(dict.fromkeys(keys))
        records: dict[str, Record] = {}
        with Session(self.engine) as session:
            for start in range(0, len(wanted), MOST_KEYS):
                rows = session.scalars(select(table).where(table.key.in_(wanted[start : start + MOST_KEYS])))
                records |= {row.key: _as_record(record, row) for row in rows}
        return records

    def _insert(
        self,
        row: tables.StageRow | tables.CoalitionRow | tables.MeasurementRow,
        edges: Iterable[Edge],
        flow_run: str | None = None,
    ) -> None:
        """Insert a row with its record and edges. If another process has inserted the key, its equal row is kept."""
        self.records.prepare()
        code_commit()  # starts a process the first time, which should not be while the database is locked
        try:
            with Session(self.engine) as session, session.begin():
                session.add(row)
                session.flush()  # fails on an existing key before record and edges are added
                self.records.add(session, row, edges, flow_run)
        except IntegrityError:
            with Session(self.engine) as session:
                if session.get(type(row), row.key) is None:
                    raise


def _as_record(record: type[Record], row: Any) -> Record:
    return record(**{field.name: getattr(row, field.name) for field in fields(record)})


def _differences(old: Any, new: Any, path: str = "") -> Iterable[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new
