"""Read rows of the run store that an earlier version may have written."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from royalty.infra.stores.runstore import StageRecord
from royalty.tasks.stages.stage import Finished, Stage

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


def readable(stage: Stage[Inputs, Outputs], row: StageRecord) -> Finished[Inputs, Outputs] | None:
    """Parse a row as a finished stage; None if an earlier version wrote it with other fields."""
    try:
        return stage.finished(row)
    except ValidationError:
        return None
