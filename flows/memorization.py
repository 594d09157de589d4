"""Test whether generated images are copies of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_memorization_config
from royalty.flows.embedding import embed_items
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.config.memorization import MemorizationConfig
from royalty.tasks.items.memorization import judge_memorization, write_memorization
from royalty.tasks.items.reading import alike, common_side, read
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class MemorizationResult:
    """The result of a test for memorized training images.

    Attributes:
        generated: number of generated images.
        flagged: number of them that are copies at the false discovery rate `rate`.
        compared: number of images whose closeness the p-values are by: those held out, or those trained on.
        smallest: the smallest p-value that this number allows.
        copies: training images that are near copies of others, which were left out.
        table: digest of the table.
        folder: contains `memorization.parquet` and `closest.png`.
    """

    name: str
    generated: int
    flagged: int
    rate: float
    compared: int
    smallest: float
    copies: int
    table: str
    folder: str
    mlflow_run: str


@flow(name="memorization", flow_run_name=named("memorization"), task_runner=RUNNER)
@explained
def memorization(config: MemorizationConfig | dict[str, Any] | str) -> MemorizationResult:
    """Embed all sides, test every generated image, and write the table. Finished work is reused.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
    """
    config = as_memorization_config(config)
    check_home(settings())
    check_weights(config.entries)
    paths = [config.train, config.generated, *([config.held_out] if config.held_out else [])]
    size = config.size or common_side(*paths)
    sides = alike(*(read(path, size).outputs for path in paths))
    if any(side.shape is None for side in sides):
        raise InputError("copies are looked for among images, and features are given; give folders or Parquet files")
    seen_at = config.seen_at(size)
    for side in sides:
        encoder = embed_items(side, config.encoder, "", seen_at).outputs.encoder
    train, generated, *held_out = sides
    tested = judge_memorization(train, generated, held_out[0] if held_out else None, encoder, config)
    published = write_memorization(config, tested)
    outputs = tested.outputs
    return MemorizationResult(
        name=config.name,
        generated=outputs.generated,
        flagged=outputs.flagged,
        rate=config.rate,
        compared=outputs.compared,
        smallest=outputs.smallest,
        copies=outputs.copies,
        table=outputs.table,
        folder=published.folder,
        mlflow_run=published.run,
    )
