"""Rows of the run store as the stages that they record, whichever version of this package wrote them."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from royalty.infra.stores.runstore import StageRecord
from royalty.tasks.stages.stage import Finished, Stage

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


def readable(stage: Stage[Inputs, Outputs], row: StageRecord) -> Finished[Inputs, Outputs] | None:
    """What a row records; None if an earlier version recorded it with other fields."""
    try:
        return stage.finished(row)
    except ValidationError:
        return None
