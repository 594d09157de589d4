"""A stage: a function that takes a frozen dataclass and gives one.

Both are kept in the run store as JSON; with the code that runs, the first determines the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from royalty.infra.stores.keys import code_version, digest_of

if TYPE_CHECKING:
    from royalty.infra.stores.runstore import StageRecord
    from royalty.infra.workspace import Workspace

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")

TableRow = dict[str, Any]
"""A row of a result table, by column: text, integers and floating-point numbers; None for an undefined number."""


@dataclass(frozen=True)
class Finished(Generic[Inputs, Outputs]):
    """A finished stage.

    Attributes:
        key: hash of everything that determines the outputs.
        outputs: digests and scalars.
        seconds: wall time when it was computed.
        reused: found in the run store rather than computed now.
    """

    name: str
    key: str
    inputs: Inputs
    outputs: Outputs
    seconds: float
    reused: bool

    @property
    def busy_seconds(self) -> float:
        """How much of its time was training, sampling and measuring; 0 of a stage that does not say."""
        return float(getattr(self.outputs, "busy_seconds", 0.0))


@dataclass(frozen=True)
class Stage(Generic[Inputs, Outputs]):
    """The name of a stage in the run store, and the dataclasses of what it takes and gives."""

    name: str
    inputs: type[Inputs]
    outputs: type[Outputs]

    def key(self, inputs: Inputs, modules: Iterable[str]) -> str:
        """Hash of all that determines what the stage makes: inputs, and the code as it is now.

        Args:
            modules: that the stage runs, apart from what they import themselves.
        """
        return digest_of({"stage": self.name, "inputs": as_json(inputs), "code": code_version(*sorted(set(modules)))})

    def finished(self, record: StageRecord) -> Finished[Inputs, Outputs]:
        """A record of the run store as what it says."""
        return Finished(
            record.name,
            record.key,
            _adapter(self.inputs).validate_python(record.inputs),
            _adapter(self.outputs).validate_python(record.outputs),
            record.seconds,
            record.reused,
        )

    def latest(self, space: Workspace) -> list[Finished[Inputs, Outputs]]:
        """Every record of this stage, in the order in which they were made."""
        return [self.finished(record) for record in space.runs.stages(self.name)]

    def kept(self, space: Workspace, key: str) -> Finished[Inputs, Outputs] | None:
        """The record of a key."""
        record = space.runs.stage(key)
        return None if record is None else self.finished(record)


def as_json(value: Any) -> dict[str, Any]:
    """A dataclass as it is kept: with JSON's types alone."""
    return dict(_adapter(type(value)).dump_python(value, mode="json"))


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Of a dataclass, made once: it takes milliseconds."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
