"""A stage: a function from one frozen dataclass to another.

Both are stored in the run store as JSON. The inputs and the code determine the outputs.
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
        reused: loaded from the run store rather than computed.
    """

    name: str
    key: str
    inputs: Inputs
    outputs: Outputs
    seconds: float
    reused: bool

    @property
    def busy_seconds(self) -> float:
        """Seconds of training, sampling and measuring; 0 for a stage that does not record it."""
        return float(getattr(self.outputs, "busy_seconds", 0.0))


@dataclass(frozen=True)
class Stage(Generic[Inputs, Outputs]):
    """The name of a stage in the run store, and the dataclasses of its inputs and outputs."""

    name: str
    inputs: type[Inputs]
    outputs: type[Outputs]

    def key(self, inputs: Inputs, modules: Iterable[str]) -> str:
        """Hash of everything that determines the outputs: the inputs and the present code.

        Args:
            modules: modules with the code of the stage; their imports are included.
        """
        return digest_of({"stage": self.name, "inputs": as_json(inputs), "code": code_version(*sorted(set(modules)))})

    def finished(self, record: StageRecord) -> Finished[Inputs, Outputs]:
        """Parse a record of the run store."""
        return Finished(
            record.name,
            record.key,
            _adapter(self.inputs).validate_python(record.inputs),
            _adapter(self.outputs).validate_python(record.outputs),
            record.seconds,
            record.reused,
        )

    def latest(self, space: Workspace) -> list[Finished[Inputs, Outputs]]:
        """All records of this stage, oldest first."""
        return [self.finished(record) for record in space.runs.stages(self.name)]

    def kept(self, space: Workspace, key: str) -> Finished[Inputs, Outputs] | None:
        """The record of a key; None if there is none."""
        record = space.runs.stage(key)
        return None if record is None else self.finished(record)


def as_json(value: Any) -> dict[str, Any]:
    """Convert a dataclass to JSON types, as the run store holds it."""
    return dict(_adapter(type(value)).dump_python(value, mode="json"))


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """The type adapter of a dataclass. Building one takes milliseconds, so they are cached."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
