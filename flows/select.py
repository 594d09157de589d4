"""Select the training items that stand for a clean validation set, within a budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_select_config
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.flows.transport import read_sides
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.budget import check_budget
from royalty.tasks.config.selection import SelectConfig
from royalty.tasks.items.reading import read
from royalty.tasks.items.selecting import select_all, write_selected
from royalty.tasks.items.writing import check_out
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class SelectResult:
    """The result of a selection.

    Attributes:
        items: number of items selected from.
        selected: number of items selected.
        labels: number of selected items by label; None without labels.
        table: digest of the table of selected items.
        folder: contains `selected.parquet`.
        diagnostics: `distance` of the selection from validation, `weighted_distance`, `copies`, and others; see
            `royalty.models.valuation.selection.SelectedItems`.
        notes: sentences on the items that a reader must know.
    """

    name: str
    items: int
    selected: int
    labels: dict[str, int] | None
    table: str
    folder: str
    mlflow_run: str
    diagnostics: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@flow(name="select", flow_run_name=named("select"), task_runner=RUNNER)
@explained
def select(config: SelectConfig | dict[str, Any] | str, out: Path | None = None) -> SelectResult:
    """Select training items within a budget. Finished work is reused, also from other runs.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
        out: file to write the table to: .parquet or .csv.
    """
    config = as_select_config(config)
    check_out(out)
    check_home(settings())
    check_weights(config.encoding.entries)
    listed = read(config.train, config.encoding.size, policy=config.policy).outputs
    check_budget(config.budget, listed.count)
    sides, notes = read_sides(config.train, config.val, config.encoding, config.seed, config.policy)
    selected = select_all(config, sides)
    published = write_selected(config, sides, selected, out, notes)
    outputs = selected.outputs
    return SelectResult(
        name=config.name,
        items=outputs.items,
        selected=outputs.selected,
        labels=outputs.labels,
        table=outputs.table,
        folder=published.folder,
        mlflow_run=published.run,
        diagnostics=outputs.diagnostics,
        notes=notes,
    )
