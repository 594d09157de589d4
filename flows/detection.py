"""Test values of items with planted corruptions: whether the lowest values find them, and what removing them gains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from prefect import flow

from royalty.flows.mistakes import explained
from royalty.flows.runner import RUNNER
from royalty.infra.processes.workers import ProcessFailed
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.benchmarks.ablation import ablate, ablated_rows, ablation_summary_of
from royalty.tasks.benchmarks.detection import (
    accuracy_of,
    check_corruptions,
    check_sweep,
    comparison_of,
    detect,
    discoveries_of,
    read_digits,
    removal_of,
    rows_of,
    sweep,
    swept_rows,
    validation_summary_of,
    write_detection,
)
from royalty.tasks.benchmarks.detection_stages import CleanSides
from royalty.tasks.benchmarks.distance_curve import check_amounts, correlation_of, curve_rows, measure_curve
from royalty.tasks.benchmarks.draws import summary_of
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.items.reading import alike, read
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class DetectionResult:
    """The result of an evaluation with planted corruptions.

    Attributes:
        summary: one row for each corruption and method: mean `auroc` over draws, and its 95% interval `low` to `high`.
        comparison: AUROC of the detector less that of each other method on the same draws, with interval and `p`.
        rows: one for each corruption, draw and method: `auroc`; `first_fifth`, the share of the planted items that are
            among the fifth of the items with the lowest values; and `first_500`, the number of them among the 500 items
            with the lowest values, as LAVA's paper counts images of an irrelevant class.
        accuracy: `accuracy` and `attack_success` of a linear `classifier`, and of a `network` if `network_steps` are
            set, trained without the items of lowest value, by corruption, draw, method and fraction `removed`.
            `attack_success` is the fraction of unseen images with the trigger of a backdoor that the classifier takes
            for its label, or 1 if it takes the image that poisoned images collide with for theirs; None: there is no
            attack.
        removal: the same over draws: the `mean` of each `measure`, with its 95% interval.
        discoveries: what the detector flags at each false discovery rate `fdr`, over draws: the `mean` of each
            `measure`, with its 95% interval: the number `flagged`, the fraction `fdp` of these that is not planted, and
            `power`, the fraction of the planted items among them; empty without the detector.
        validation: one row for each corruption, or `all`, method and validation set: mean `auroc` over draws, and its
            95% interval; empty without `validation`.
        distance: one row for each corruption that is planted in a fraction of the items, draw, `amount` and
            `classifier`: the `distance` of training from validation, its `share` of the mean distance of two items, and
            the `accuracy`; empty without `distance`.
        correlation: rank `correlation` of distance and accuracy over the sets of a draw, by classifier and corruption,
            or `all`: its mean over draws and 95% interval.
        ablation: mean `auroc` over draws, and its 95% interval, by `setting`, its `value`, method, and corruption, or
            `all`; empty without `ablation`.
        failed: what was not measured, and why.
        folder: contains the tables and the curves.
    """

    name: str
    summary: list[TableRow]
    comparison: list[TableRow]
    rows: list[TableRow]
    accuracy: list[TableRow]
    removal: list[TableRow]
    discoveries: list[TableRow]
    validation: list[TableRow]
    distance: list[TableRow]
    correlation: list[TableRow]
    ablation: list[TableRow]
    failed: list[str]
    folder: str
    mlflow_run: str


class DetectionFailed(InputError):
    """A part of the evaluation failed.

    Attributes:
        result: what was measured.
    """

    def __init__(self, result: DetectionResult) -> None:
        failed = "\n".join(f"- {message}" for message in result.failed)
        super().__init__(
            f"{len(result.failed)} parts of {result.name} failed; the others are measured and published, and a "
            f"repeated call keeps them:\n{failed}"
        )
        self.result = result


@flow(name="evaluate-detection", flow_run_name="evaluate detection {config.name}", task_runner=RUNNER)
@explained
def detection(config: DetectionConfig) -> DetectionResult:
    """Plant corruptions in a clean set, detect them by the values of its items, and train without the lowest values.

    Raises:
        DetectionFailed: a part failed, after the others were measured and published.
    """
    check_home(settings())
    check_weights(config.encoding.entries)
    for encoding in config.encodings:
        check_weights(encoding.entries)
    sides = clean_sides(config)
    check_corruptions(config, sides)
    if config.validation is not None:
        check_sweep(config, config.validation, sides)
    if config.distance is not None:
        check_amounts(config, config.distance, sides)
    detected, swept, measured, ablated, failed = [], [], [], [], []
    for corruption, draw in product(config.corruptions, range(config.draws)):
        part = f"{corruption}, draw {draw + 1}"
        try:
            detected.append(detect(corruption, draw, config, sides))
            failed += [f"{part}, {method}: {message}" for method, message in detected[-1].outputs.failed.items()]
            if config.validation is not None:
                swept.append(sweep(corruption, draw, config, config.validation, sides))
                failed += [f"{part}, {place}: {message}" for place, message in swept[-1].outputs.failed.items()]
            if config.distance is not None and corruption in config.by_fraction:
                measured.append(measure_curve(corruption, draw, config, config.distance, sides))
            if config.ablation is not None:
                ablated.append(ablate(corruption, draw, config, config.ablation, sides))
                failed += [f"{part}, {place}: {message}" for place, message in ablated[-1].outputs.failed.items()]
        except (InputError, ProcessFailed) as error:
            failed.append(f"{part}: {error}")
    if not rows_of(detected):
        raise InputError("no method could look for any corruption:\n" + "\n".join(failed))
    published = write_detection(config, detected, swept, measured, ablated)
    rows, by_amount = rows_of(detected), curve_rows(measured)
    result = DetectionResult(
        name=config.name,
        summary=summary_of(rows),
        comparison=comparison_of(rows),
        rows=rows,
        accuracy=accuracy_of(detected),
        removal=removal_of(detected),
        discoveries=discoveries_of(detected),
        validation=validation_summary_of(swept_rows(swept)),
        distance=by_amount,
        correlation=correlation_of(by_amount),
        ablation=ablation_summary_of(ablated_rows(ablated)),
        failed=failed,
        folder=published.folder,
        mlflow_run=published.run,
    )
    if failed:
        raise DetectionFailed(result)
    return result


def clean_sides(config: DetectionConfig) -> CleanSides:
    """Digests of the configured image sets; of scikit-learn's digits if none are configured."""
    if config.train is None or config.val is None:
        return read_digits()
    train, val = alike(*(read(path, config.encoding.size).outputs for path in (config.train, config.val)))
    return CleanSides(train.items, val.items)
