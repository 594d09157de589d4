"""Inputs and outputs of the stage that selects training items. Digests identify artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from royalty.tasks.items.stages import Sides
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class SelectInputs:
    """Settings of a selection (`royalty.tasks.config.selection.SelectSettings`), and the items of both sides."""

    config: Mapping[str, Any]
    sides: Sides


@dataclass(frozen=True)
class SelectOutputs:
    """A selection of training items; see `royalty.models.valuation.selection.SelectedItems`.

    Attributes:
        table: digest of the table of selected items (Parquet), in the order of selection.
        items: number of items selected from.
        labels: number of selected items by label; None without labels.
    """

    table: str
    items: int
    selected: int
    labels: dict[str, int] | None
    diagnostics: dict[str, Any]
    busy_seconds: float


SELECT_ITEMS = Stage("select-items", SelectInputs, SelectOutputs)

Selected = Finished[SelectInputs, SelectOutputs]
