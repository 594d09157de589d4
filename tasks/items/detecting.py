"""Detect faulty items, and publish the table, the list to fix labels from, and the page of the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.processes.workers import Deferred
from royalty.infra.workspace import Workspace
from royalty.tasks.config.detecting import DetectConfig
from royalty.tasks.items.stages import DETECT_ITEMS, DetectItemsInputs, ItemsDetected, Sides
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
    from royalty.tasks.items import detecting_worker
else:
    detecting_worker = Deferred("royalty.tasks.items.detecting_worker")

WRITE_DETECTED = PublishStage("write-detected", PublishInputs, PublishOutputs)

REVIEW = (
    "id",
    "file_name",
    "source",
    "label",
    "suggested_label",
    "suggested_probability",
    "reason",
    "score",
    "nearest",
)
"""Columns of the list to fix labels from, of those that the table has."""


@task(name="detect faulty items", cache_policy=NO_CACHE)
def detect_all(config: DetectConfig, sides: Sides) -> ItemsDetected:
    """Score all items in one process, and flag them at the false discovery rate."""
    inputs = DetectItemsInputs(config.settings.model_dump(mode="json"), sides)
    return run_in_worker(
        DETECT_ITEMS, inputs, detecting_worker.detect, title="Detect faulty items", total=2 if sides.val else 3
    )


@task(name="write detected items", cache_policy=NO_CACHE)
def write_detected(
    config: DetectConfig, sides: Sides, detected: ItemsDetected, out: Path | None, notes: Sequence[str]
) -> Published:
    """Publish `detected.parquet`, `review.csv` and `detected.html`, and copy the table to `out`.

    Args:
        notes: sentences on the items.
    """
    outputs = detected.outputs

    def make(space: Workspace) -> Contents:
        from royalty.tasks.items.detected_page import page_of

        table = load_values(space.artifacts, outputs.table)
        files = {
            "detected.parquet": space.artifacts.get(outputs.table),
            "review.csv": csv_bytes(review_of(table)),
            "detected.html": page_of(space.artifacts, config, sides, outputs, notes).encode(),
        }
        flat = {f"weight.{kind}": weight for kind, weight in outputs.diagnostics["weights"].items()}
        return Contents(
            note=" ".join(
                [
                    f"{outputs.flagged} of {outputs.items} training items are flagged at a false discovery rate of "
                    f"{config.fdr:g}. `review.csv` lists them, worst first; `detected.html` shows the worst images.",
                    *notes,
                    *([] if sides.val else [f"{note}." for note in outputs.notes]),
                ]
            ),
            metrics=numbers(outputs.diagnostics) | flat,
            shown={"detected": table.drop(columns="nearest_rows")},
            files=files,
            datasets=datasets_of(train=sides.train, val=sides.val),
            tags={"royalty.detected": outputs.table},
        )

    inputs = PublishInputs(
        config.name,
        config.name,
        {"detect": detected.key},
        params_of(config.settings, config.encoding, config),
    )
    published = publish(WRITE_DETECTED, inputs, make)
    copy_table(outputs.table, out)
    return published


def review_of(table: pd.DataFrame) -> pd.DataFrame:
    """The flagged items, lowest score first, with an empty column for the label that a person decides on."""
    flagged = table[table["flagged"]].sort_values("score", kind="stable")
    columns = [name for name in REVIEW if name in table]
    return flagged[columns].assign(new_label="")
