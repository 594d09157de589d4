"""Test values of items with planted corruptions: whether the lowest values find them, and what removing them gains."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import flow

from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.tasks.benchmarks.detection import (
    accuracy_of,
    check_corruptions,
    detect,
    read_digits,
    rows_of,
    write_detection,
)
from royalty.tasks.benchmarks.detection_stages import CleanSides
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.items.reading import alike, read
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class DetectionResult:
    """The result of an evaluation with planted corruptions.

    Attributes:
        rows: one for each corruption and method: `auroc`, and `first_fifth`, the share of the planted items that are
            among the fifth of the items with the lowest values.
        accuracy: accuracy of a classifier trained without the items of lowest value, by corruption, method and share
            removed.
        folder: contains both tables and the curves.
    """

    name: str
    rows: list[TableRow]
    accuracy: list[TableRow]
    folder: str
    mlflow_run: str


@flow(name="evaluate-detection", flow_run_name="evaluate detection {config.name}", task_runner=RUNNER)
def detection(config: DetectionConfig) -> DetectionResult:
    """Plant corruptions in a clean set, detect them by the values of its items, and train without the lowest values."""
    check_home(settings().root)
    check_weights(config.encoding.entries)
    sides = clean_sides(config)
    check_corruptions(config, sides)
    detected = [detect(corruption, config, sides) for corruption in config.corruptions]
    published = write_detection(config, detected)
    return DetectionResult(
        name=config.name,
        rows=rows_of(detected),
        accuracy=accuracy_of(detected),
        folder=published.folder,
        mlflow_run=published.run,
    )


def clean_sides(config: DetectionConfig) -> CleanSides:
    """Digests of the configured image sets; of scikit-learn's digits if none are configured."""
    if config.train is None or config.val is None:
        return read_digits()
    train, val = alike(*(read(path, config.encoding.size).outputs for path in (config.train, config.val)))
    return CleanSides(train.items, val.items)
