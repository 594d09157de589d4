"""Detect faulty training items by a clean validation set, or by each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_detect_config
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.flows.transport import read_sides
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.tasks.config.detecting import DetectConfig
from royalty.tasks.items.detecting import detect_all, write_detected
from royalty.tasks.items.writing import check_out
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class DetectResult:
    """The result of a detection.

    Attributes:
        items: number of items checked.
        flagged: number of items flagged at the false discovery rate `fdr`.
        table: digest of the table of scores.
        folder: contains `detected.parquet`, `review.csv` and `detected.html`.
        notes: sentences on the result that a reader must know.
        calibrated: whether p-values are ranks among clean items; False without validation.
        diagnostics: diagnostics of the detector.
    """

    name: str
    items: int
    flagged: int
    fdr: float
    table: str
    folder: str
    mlflow_run: str
    notes: list[str]
    calibrated: bool
    diagnostics: dict[str, Any]


@flow(name="detect", flow_run_name=named("detect"), task_runner=RUNNER)
@explained
def detect(config: DetectConfig | dict[str, Any] | str, out: Path | None = None) -> DetectResult:
    """Score every training item by clean items, or without them by each other, and flag faulty ones.

    Finished work is reused, also from other runs.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
        out: file to write the table to: .parquet or .csv.
    """
    config = as_detect_config(config)
    check_out(out)
    check_home(settings())
    check_weights(config.encoding.entries)
    sides, notes = read_sides(config.train, config.val, config.encoding, config.seed, config.policy)
    detected = detect_all(config, sides)
    published = write_detected(config, sides, detected, out, notes)
    return DetectResult(
        name=config.name,
        items=detected.outputs.items,
        flagged=detected.outputs.flagged,
        fdr=config.fdr,
        table=detected.outputs.table,
        folder=published.folder,
        mlflow_run=published.run,
        notes=[*notes, *detected.outputs.notes],
        calibrated=bool(sides.val),
        diagnostics=detected.outputs.diagnostics,
    )
