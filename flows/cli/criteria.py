"""The commands `royalty evaluate identity|attributes|membership|outliers|efficiency`: GMValuator's criteria."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Name, SourceOf, working

if TYPE_CHECKING:
    from royalty.flows.criteria import CriteriaResult
    from royalty.tasks.benchmarks.criterion_stages import CriterionName

HELP: Mapping[CriterionName, str] = {
    "identity": "Measure the share of the most valuable training images that have the class of the generated image.",
    "attributes": "Measure the share of the most valuable training images that have one or two attributes of the "
    "generated image.",
    "membership": "Test whether training images are valued higher than held-out images of their class.",
    "outliers": "Add noise to some training images, and report where their values rank.",
    "causes": "Train generators again without the most valuable images, and measure the effect on generated images.",
    "efficiency": "Measure the seconds per generated image of GMValuator, VAE-TracIn and IF4GAN.",
}

COLUMNS = {
    "identity": ("generator", "method", "label", "images", "k", "share", "stderr", "chance"),
    "attributes": ("generator", "method", "attributes", "k", "share", "stderr", "chance"),
    "membership": ("generator", "method", "split", "trained", "held_out", "t", "p", "effect"),
    "outliers": ("generator", "method", "planted", "items", "percentile", "auroc"),
    "causes": ("method", "seeds", "effect", "ahead", "stderr", "p", "images"),
    "single-images": ("method", "tried", "seeds", "effect", "stderr", "p", "images"),
    "efficiency": (
        *("generator", "method", "prepared", "alone", "together", "total"),
        *("alone_ratio", "together_ratio"),
    ),
    "sensitivity": ("generator", "method", "label", "k", "images", "mean", "deviation", "chance"),
    "calibration": ("generator", "method", "top", "with", "without"),
    "subsets": ("method", "subsets", "lds", "low", "high", "wide_low", "wide_high", "p"),
    "subset-differences": ("first", "second", "difference", "low", "high", "p", "wide_low", "wide_high", "wide_p"),
    "poor-images": ("generator", "method", "poor", "good_quality", "poor_quality", "with", "without"),
    "distances": ("generator", "method", "attributes", "contributors", "distance", "random", "deviation", "training"),
}
"""Columns that the terminal shows; the tables on disk have all columns, and there are more tables."""

TITLES = {
    "sensitivity": "Results with fewer generated images, ten random draws of each number",
    "single-images": "Effect of the items behind single images, against those behind others",
    "subsets": "Linear datamodeling score of images, by random subsets",
    "subset-differences": "Differences of these scores",
    "poor-images": "Mean percentile of images with noise, with and without image quality",
    "distances": "Distance of the most valuable images from generated ones, by attributes",
    "calibration": "Mean score of the highest contributions, with and without image quality",
}


WORKS = (
    "royalty.tasks.benchmarks.criteria_worker",
    "royalty.tasks.benchmarks.causes_worker",
    "royalty.tasks.benchmarks.classes_worker",
    "royalty.tasks.benchmarks.contributors_worker",
    "royalty.tasks.benchmarks.efficiency_worker",
    "royalty.tasks.benchmarks.generators_worker",
    "royalty.tasks.benchmarks.halves_worker",
    "royalty.tasks.benchmarks.influence_worker",
    "royalty.tasks.benchmarks.subsets_worker",
    "royalty.tasks.benchmarks.training_sets_worker",
    "royalty.tasks.items.gmvaluator_worker",
)
"""Modules of the criteria's worker processes."""


def add_criteria(evaluate: typer.Typer) -> None:
    """Add the commands to `royalty evaluate`."""
    for criterion, text in HELP.items():
        evaluate.command(criterion, help=text)(_command(criterion))


def _command(criterion: CriterionName) -> Any:
    def command(
        train: SourceOf = None,
        generated: SourceOf = None,
        config: ConfigFile = None,
        name: Name = None,
        as_json: AsJson = False,
    ) -> None:
        from royalty.flows.configuration import load_criteria_config

        configuration = load_criteria_config(config, {"train": train, "generated": generated, "name": name})
        with working(
            None, flow="royalty.flows.criteria", works=WORKS, show_progress=not as_json, configs=[configuration]
        ):
            from royalty.flows.criteria import CRITERIA

            result = CRITERIA[criterion](configuration)
        if as_json:
            sys.stdout.write(json.dumps(asdict(result)) + "\n")
        else:
            _print(result)

    return command


def _print(result: CriteriaResult) -> None:
    from royalty.infra.pages.terminal import console, print_run, print_table

    for name, rows in {result.criterion: result.rows, **result.more}.items():
        if name in TITLES:
            console.print(TITLES[name])
        if columns := COLUMNS.get(name):
            print_table([column.replace("_", " ") for column in columns], [_cells(row, columns) for row in rows])
    if result.accuracy is not None:
        console.print(f"Classes come from a classifier with {result.accuracy:.1%} accuracy on held-out images")
    console.print(f"Table       {result.folder}/{result.criterion}.csv", soft_wrap=True)
    print_run(result.mlflow_run)


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    values = ["" if (value := row.get(column)) is None else value for column in columns]
    return [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
