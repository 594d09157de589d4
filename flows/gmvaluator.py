"""Value training images by their contributions to generated images: GMValuator, which trains nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_gmvaluator_config
from royalty.flows.embedding import embed_items
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.data.permission import refusal_notes
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.items.gmvaluator import match
from royalty.tasks.items.reading import alike, common_side, read
from royalty.tasks.items.writing import check_out, write_matches
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class MatchResult:
    """The result of matching generated images with training images.

    Attributes:
        items, generated: numbers of training images and of generated images.
        table, contributions: digests of the table of values, and of the table of contributions to each image.
        contributors: total value by name, highest first; None if the training set names no contributors.
        folder: contains both tables and the pictures.
        diagnostics: see `royalty.models.valuation.gmvaluator.gmvaluator_values`.
        notes: sentences on the images that a reader must know.
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
    notes: list[str] = field(default_factory=list)


@flow(name="gmvaluator", flow_run_name=named("gmvaluator"), task_runner=RUNNER)
@explained
def gmvaluator(config: GMValuatorConfig | dict[str, Any] | str, out: Path | None = None) -> MatchResult:
    """Embed both sets, match them, and write the tables. Finished work is reused.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
    """
    config = as_gmvaluator_config(config)
    check_out(out)
    check_home(settings())
    check_weights(config.matching.entries)
    size = config.size or common_side(config.train, config.generated)
    listed = read(config.train, size, policy=config.policy).outputs
    train, generated = alike(listed, read(config.generated, size).outputs)
    encoder = ""
    if train.shape is not None or generated.shape is not None:
        seen_at = config.matching.seen_at(train.shape)
        embed_items(train, config.matching.encoder, "", seen_at)
        encoder = embed_items(generated, config.matching.encoder, "", seen_at).outputs.encoder
    matched = match(train, generated, encoder, config.matching)
    notes = list(refusal_notes(listed))
    published = write_matches(config, train.items, generated.items, matched, out, notes)
    outputs = matched.outputs
    return MatchResult(
        name=config.name,
        items=outputs.items,
        generated=outputs.generated,
        table=outputs.table,
        contributions=outputs.contributions,
        contributors=outputs.contributors,
        folder=published.folder,
        mlflow_run=published.run,
        diagnostics=outputs.diagnostics,
        notes=notes,
    )
