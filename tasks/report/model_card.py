"""The model card of a credited generator, in Markdown: data, contributors, property, credit, licences and limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from royalty.infra.pages.report import NOT_SUMMING
from royalty.models.properties.registry import chosen_property
from royalty.tasks.report.notes import COALITION_MODELS, value_of
from royalty.tasks.report.stages import RunStages
from royalty.tasks.report.text import escaped

ROWS, NAME, LICENCES = 15, 40, 10
"""Most contributors, characters of a name, and licences that the card lists. MLflow stores 5,000 characters."""

VALUES = {
    "shapley": "Shapley values",
    "banzhaf": "Banzhaf values",
    "beta": "Beta values",
    "images": "Faithful group Shapley values",
    "groups": "Parts of Shapley values of groups of contributors",
}


def model_card(name: str, config: Mapping[str, Any], stages: RunStages, table: pd.DataFrame) -> str:
    """Compose the card.

    Args:
        config: the configuration of the run.
        table: the credit table, highest credit first.
    """
    parts = (_model(name, stages), _data(stages), _property(config, stages), _credit(config, stages, table))
    lines = [*(line for part in parts for line in part), *_limits(config, stages)]
    return "\n".join(lines) + "\n"


def _model(name: str, stages: RunStages) -> Iterator[str]:
    base, pruned = stages.train, stages.prune
    yield from (f"# Generator of the run {escaped(name)}", "")
    yield (
        f"An image generator of the kind `{base.inputs.kind}` with {base.outputs.parameters:,} parameters, trained on "
        f"the images of {len(stages.ingest.outputs.players)} contributors, whose credit is below. A smaller copy "
        f"without {pruned.outputs.removed:.0%} of the parameters is logged as `pruned`."
    )
    yield from ("", f"Weights: safetensors, SHA-256 `{base.outputs.model}`.", "")


def _data(stages: RunStages) -> Iterator[str]:
    data = stages.ingest.outputs
    size = " by ".join(str(side) for side in data.shape[1:])
    described = f" of {size} pixels" if size else ""
    yield from ("## Data", "")
    yield f"{data.total_items:,} distinct training images{described}, SHA-256 `{data.train}`."
    if data.shared_items:
        yield f"{data.shared_items:,} of them were provided by more than one contributor, who share their credit."
    yield from ("", "## Licences", "")
    known = {licence: count for licence, count in data.licenses.items() if licence}
    unknown = data.licenses.get("", 0) if data.licenses else data.total_items
    if known:
        yield from ("Of all images brought, held-out ones included:", "")
    for licence, count in sorted(known.items(), key=lambda pair: -pair[1])[:LICENCES]:
        yield f"- {escaped(licence[:NAME])}: {count:,} images"
    if len(known) > LICENCES:
        yield f"- {len(known) - LICENCES} further licences"
    if unknown > 0:
        yield f"- not stated: {unknown:,} images"
    if data.left_out:
        yield f"- left out because of their licence: {sum(data.left_out.values()):,} images"
    if data.not_consented_left_out:
        count = sum(data.not_consented.values())
        yield f"- left out because their contributors do not allow to train on them: {count:,} images"
    yield ""


def _property(config: Mapping[str, Any], stages: RunStages) -> Iterator[str]:
    measured, utility = chosen_property(config["property"]), stages.measure.outputs.utility
    yield from ("## Property", "")
    yield f"{escaped(measured.title)} (`{config['property']}`), higher is better. {escaped(measured.known.meaning)}"
    yield ""
    titles = {
        "base": "this model",
        "pruned": "the pruned model",
        "broken": "the pruned model before its recovery",
        "real": "real images that were held out",
    }
    for model, title in titles.items():
        yield f"- {title}: {_number(utility[model])}"
    yield ""


def _credit(config: Mapping[str, Any], stages: RunStages, table: pd.DataFrame) -> Iterator[str]:
    outputs, level, value = stages.credit.outputs, config["credit"]["confidence"], value_of(stages.credit)
    sums = "They need not sum to" if value in NOT_SUMMING else "They sum to"
    yield from ("## Contributors and credit", "")
    yield (
        f"{VALUES[value]} of the property, from {outputs.trained} models of coalitions. {sums} "
        f"{outputs.grand_utility - outputs.null_utility:+.4g}, the difference between everybody's model "
        f"({_number(outputs.grand_utility)}) and nobody's ({_number(outputs.null_utility)}). In the order of credit, "
        f"with the {level:.0%} interval and the number of training images:"
    )
    yield ""  # no tables: MLflow shows them without space between columns
    for row in table.head(ROWS).to_dict("records"):
        person = escaped(str(row["contributor"])[:NAME])
        interval = f"{row['ci_low']:+.4f} to {row['ci_high']:+.4f}"
        yield f"- {person}: {row['credit']:+.4f} ({interval}), {row['items']:,} images"
    if len(table) > ROWS:
        yield f"\n{len(table) - ROWS} further contributors are in the table `credit.json` of the run."
    yield ""


def _number(value: float) -> str:
    """A value with four significant digits, zeros included."""
    return f"{value:#.4g}".removesuffix(".")


def _limits(config: Mapping[str, Any], stages: RunStages) -> Iterator[str]:
    method = stages.credit.outputs
    yield from ("## Limits", "")
    yield (
        "- The credit is of one global property, and of this set of contributors. It does not say who stands behind a "
        "single generated image."
    )
    yield f"- The model of a coalition is {COALITION_MODELS[config['coalitions']['method']]}."
    if not method.certainty.reached:
        yield f"- Precision: {escaped(method.certainty.error)}."
    yield "- Part of every credit is the step from an untrained model to any trained one."
    yield "- The licences above are those that the image set states; they were not checked."
