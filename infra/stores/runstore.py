"""The run store: which stages and coalitions are finished, and what a run name stands for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from royalty.infra.stores import tables
from royalty.infra.stores.keys import code_commit
from royalty.infra.stores.lineage import Edge, content_of
from royalty.infra.stores.tables import now

Row = TypeVar("Row", tables.Coalition, tables.Measurement)
Record = TypeVar("Record", "CoalitionRecord", "MeasurementRecord")

MOST_KEYS = 10_000
"""Keys in one query; databases bound the parameters of a statement."""


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
    """A coalition's model.

    Attributes:
        seed: of the training that this is; another than was asked for, if that one diverged.
        checkpoint: digest of the model; None if training failed, and `failure` says how.
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
    """`utility` is v(S) by one property and one draw of images, higher is better; times are in seconds."""

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
    """Keys of the stages, by name, that hold the models coalitions start from; when they were first used."""

    name: str
    stages: Mapping[str, str]
    created_at: str


Reread = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class RunStore:
    """Rows are written once, in one transaction each; a key that is there is finished.

    All methods raise StoreError where the database does not answer, as when it was stopped or its disk is full.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def knows(self, name: str) -> bool:
        with Session(self.engine) as session:
            return session.get(tables.Run, name) is not None

    def config(self, name: str) -> Mapping[str, Any] | None:
        """The configuration that a name stands for."""
        with Session(self.engine) as session:
            run = session.get(tables.Run, name)
            return None if run is None else dict(run.config)

    def differences(self, name: str, config: Mapping[str, Any], reread: Reread = dict) -> list[tuple[str, Any, Any]]:
        """Dotted key, then and now, of each value by which a configuration differs from what the name stands for.

        Args:
            reread: see `claim_name`.
        """
        said = self.config(name)
        return [] if said is None else list(_differences(reread(said), config))

    def claim_name(self, name: str, config: Mapping[str, Any], reread: Reread = dict) -> None:
        """Bind a name to a configuration.

        Args:
            reread: makes of a configuration that an earlier version bound the name to what it is now called.

        Raises:
            ConfigConflict: the name stands for another one; shows each differing value.
        """
        with Session(self.engine) as session, session.begin():
            run = session.get(tables.Run, name)
            if run is None:
                session.add(tables.Run(name=name, config=dict(config)))
                return
            differences = list(_differences(reread(run.config), config))
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

    def contents(self, keys: Collection[str]) -> dict[str, str]:
        """Digest of all that each of these rows says now; see `royalty.infra.stores.lineage.content_of`."""
        wanted, said = list(keys), dict[str, str]()
        kinds: tuple[type[Any], ...] = (tables.Stage, tables.Coalition, tables.Measurement)
        with Session(self.engine) as session:
            for kind in kinds:
                for start in range(0, len(wanted), MOST_KEYS):
                    rows = session.scalars(select(kind).where(kind.key.in_(wanted[start : start + MOST_KEYS])))
                    said |= {row.key: content_of(row) for row in rows}
        return said

    def record_stage(self, record: StageRecord, edges: Iterable[Edge] = (), flow_run: str | None = None) -> None:
        """Record a stage, what it came from, and by which flow run it was made, all or nothing."""
        row = tables.Stage(
            key=record.key,
            name=record.name,
            inputs=dict(record.inputs),
            outputs=dict(record.outputs),
            seconds=record.seconds,
        )
        self._insert(row, edges, flow_run)

    def stages(self, *names: str) -> list[StageRecord]:
        """Finished stages of these names, or of all, oldest first."""
        with Session(self.engine) as session:
            chosen = select(tables.Stage)
            chosen = chosen.where(tables.Stage.name.in_(names)) if names else chosen
            rows = session.scalars(chosen.order_by(tables.Stage.created_at, tables.Stage.key))
            return [StageRecord(row.name, row.key, row.inputs, row.outputs, row.seconds, reused=True) for row in rows]

    def coalitions(self, keys: Iterable[str]) -> dict[str, CoalitionRecord]:
        """The finished coalitions among these keys, failed ones included."""
        return self._records(tables.Coalition, CoalitionRecord, keys)

    def all_coalitions(self) -> list[CoalitionRecord]:
        with Session(self.engine) as session:
            return [_as_record(CoalitionRecord, row) for row in session.scalars(select(tables.Coalition))]

    def measurements(self, keys: Iterable[str]) -> dict[str, MeasurementRecord]:
        """The finished measurements among these keys."""
        return self._records(tables.Measurement, MeasurementRecord, keys)

    def record_coalition(
        self, record: CoalitionRecord, edges: Iterable[Edge] = (), flow_run: str | None = None
    ) -> None:
        self._insert(tables.Coalition(**asdict(record)), edges, flow_run)

    def record_measurement(
        self, record: MeasurementRecord, edges: Iterable[Edge] = (), flow_run: str | None = None
    ) -> None:
        self._insert(tables.Measurement(**asdict(record)), edges, flow_run)

    def anchor(self, name: str) -> AnchorRecord | None:
        """The latest anchor of a name."""
        with Session(self.engine) as session:
            newest = select(tables.Anchor).where(tables.Anchor.name == name).order_by(tables.Anchor.id.desc())
            row = session.scalars(newest).first()
            return None if row is None else AnchorRecord(row.name, row.stages, row.created_at)

    def record_anchor(self, name: str, stages: Mapping[str, str]) -> None:
        """Record the stages, unless they are the latest anchor already."""
        latest = self.anchor(name)
        if latest is None or dict(latest.stages) != dict(stages):
            with Session(self.engine) as session, session.begin():
                session.add(tables.Anchor(name=name, stages=dict(stages)))

    def _records(self, table: type[Row], record: type[Record], keys: Iterable[str]) -> dict[str, Record]:
        """Rows of a table as records, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Record] = {}
        with Session(self.engine) as session:
            for start in range(0, len(wanted), MOST_KEYS):
                rows = session.scalars(select(table).where(table.key.in_(wanted[start : start + MOST_KEYS])))
                found |= {row.key: _as_record(record, row) for row in rows}
        return found

    def _insert(
        self,
        row: tables.Stage | tables.Coalition | tables.Measurement,
        edges: Iterable[Edge],
        flow_run: str | None = None,
    ) -> None:
        """Two processes may finish one key; the outputs are equal, so the first row stands."""
        origin = tables.Origin(run=row.key, content=content_of(row), flow_run=flow_run, commit=code_commit())
        try:
            with Session(self.engine) as session, session.begin():
                session.add(row)
                session.flush()  # a key that is there is found out before anything is said of it
                session.add(origin)
                session.add_all(tables.Edge(**asdict(edge)) for edge in edges)
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
