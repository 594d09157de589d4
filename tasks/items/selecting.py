"""Select training items within a budget, and publish the selection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.workspace import Workspace
from royalty.tasks.config.selection import SelectConfig
from royalty.tasks.items.selecting_stages import SELECT_ITEMS, Selected, SelectInputs
from royalty.tasks.items.stages import Sides
from royalty.tasks.items.stored_items import load_values
from royalty.tasks.items.writing import copy_table, datasets_of, params_of
from royalty.tasks.stages.publishing import (
    Contents,
    Published,
    PublishInputs,
    PublishOutputs,
    PublishStage,
    numbers,
    publish,
)
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import selecting_worker
else:
    selecting_worker = Deferred("royalty.tasks.items.selecting_worker")

WRITE_SELECTED = PublishStage("write-selected", PublishInputs, PublishOutputs)


@task(name="select items", cache_policy=NO_CACHE)
def select_all(config: SelectConfig, sides: Sides) -> Selected:
    """Select in one process."""
    inputs = SelectInputs(config.settings.model_dump(mode="json"), sides)
    return run_in_worker(SELECT_ITEMS, inputs, selecting_worker.select, title="Select items", total=config.budget)


@task(name="write selection", cache_policy=NO_CACHE)
def write_selected(
    config: SelectConfig, sides: Sides, selected: Selected, out: Path | None, notes: Sequence[str]
) -> Published:
    """Publish `selected.parquet`, and copy the table to `out`.

    Args:
        notes: sentences on the items.
    """
    outputs = selected.outputs

    def make(space: Workspace) -> Contents:
        return Contents(
            note=" ".join(
                [
                    f"{outputs.selected} of {outputs.items} training items, selected by {config.method}, the most "
                    "useful first. `selected.parquet` has the table.",
                    *notes,
                ]
            ),
            metrics=numbers(outputs.diagnostics),
            shown={"selected": load_values(space.artifacts, outputs.table)},
            files={"selected.parquet": space.artifacts.get(outputs.table)},
            datasets=datasets_of(train=sides.train, val=sides.val),
            tags={"royalty.selected": outputs.table},
        )

    inputs = PublishInputs(
        config.name,
        config.name,
        {"selected": selected.key},
        params_of(config.settings, config.encoding, config),
    )
    published = publish(WRITE_SELECTED, inputs, make)
    copy_table(outputs.table, out)
    return published
