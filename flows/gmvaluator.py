"""Value training images by the generated images that they stand behind: GMValuator, without training anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from royalty.flows.credit import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.items.gmvaluator import match, write_matches
from royalty.tasks.items.valuing import alike, check_out, embed, read
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class MatchResult:
    """What a match left.

    Attributes:
        items, generated: how many training images were valued, by how many generated ones.
        table, contributions: digests of the tables of values, and of who stands behind which image.
        contributors: total value by name, highest first; None if the training set names none.
        folder: holds both tables and the pictures.
        diagnostics: see `royalty.models.valuation.gmvaluator.gmvaluator_values`.
    """

    name: str
    items: int
    generated: int
    table: str
    contributions: str
    contributors: dict[str, float] | None
    folder: str
    mlflow_run: str
    diagnostics: dict[str, Any]


@flow(name="gmvaluator", task_runner=RUNNER)
def gmvaluator(config: GMValuatorConfig, out: Path | None = None) -> MatchResult:
    """Embed both sets, match them, and write what was found. What is finished already is reused."""
    check_out(out)
    check_home(settings().root)
    check_weights(*config.matching.chosen)
    train, generated = alike(read(config.train, config.size), read(config.generated, config.size))
    encoder = ""
    if train.outputs["shape"] is not None or generated.outputs["shape"] is not None:
        embed(train, config.matching.encoder, "")
        encoder = embed(generated, config.matching.encoder, "").outputs["encoder"]
    matched = match(train.outputs, generated.outputs, encoder, config.matching)
    sides = {"train": train.outputs["items"], "generated": generated.outputs["items"]}
    written = write_matches(config, sides, matched, out)
    found = matched.outputs
    return MatchResult(
        name=config.name,
        items=found["items"],
        generated=found["generated"],
        table=found["table"],
        contributions=found["contributions"],
        contributors=found["contributors"],
        folder=written.outputs["folder"],
        mlflow_run=written.outputs["run"],
        diagnostics=found["diagnostics"],
    )
