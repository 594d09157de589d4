"""Value training items by a clean validation set: optimal transport (LAVA, SAVA), or nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow, unmapped

from royalty.flows.configuration import as_value_config
from royalty.flows.embedding import embed_items
from royalty.flows.fan_out import results_of
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home, place_of
from royalty.models.base.policy import Policy
from royalty.models.data.permission import refusal_notes
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.pairs import compare_pairs, read_pairs
from royalty.tasks.items.reading import alike, read, train_encoder
from royalty.tasks.items.stages import Sides, Valued
from royalty.tasks.items.valuing import (
    agree_shares,
    check_incremental,
    check_perturbed,
    check_solver,
    join_shares,
    plan_shares,
    solve_share,
    value_all,
    value_share,
)
from royalty.tasks.items.writing import check_out, write_values
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class ValueResult:
    """The result of a valuation.

    Attributes:
        items: number of items valued.
        table: digest of the table of values.
        folder: contains `values.parquet` and its pictures, `contributors.csv` where there are contributors, for LAVA
            `validation.parquet`, the values of the validation items, and for SAVA `batches.csv`, those of the batches.
        diagnostics: diagnostics of the method, such as `marginal_error`.
        notes: sentences on the items that a reader must know.
        contributors: number of items, sum and mean of their values (`contributor`, `items`, `value`, `mean`), highest
            sum first; None if the training set names no contributors.
        val_table: digest of the table of values of the validation items; "" for another method.
        batch_table: digest of the table of values of SAVA's batches, `batches.csv`; "" for another method.
        perturbed_table: digest of the table of predicted and actual changes of LAVA's distance, `perturbations.csv`; ""
            without `valuing.perturbed`.
        pairs, pairs_compared: number of pairs of items in `pairs.csv`, and of those with a difference.
    """

    name: str
    items: int
    table: str
    folder: str
    mlflow_run: str
    diagnostics: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    contributors: list[TableRow] | None = None
    val_table: str = ""
    batch_table: str = ""
    perturbed_table: str = ""
    pairs: int = 0
    pairs_compared: int = 0


@flow(name="transport", flow_run_name=named("transport"), task_runner=RUNNER)
@explained
def value(
    config: ValueConfig | dict[str, Any] | str,
    out: Path | None = None,
    incremental: bool = False,
    pairs: Path | None = None,
) -> ValueResult:
    """Value every item of the training set by the validation set. Finished work is reused, also from other runs.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
        incremental: for SAVA, after training items were added or removed: keep the batches of the last valuation of
            this name and their costs, and solve only the transports of new batches.
        pairs: for LAVA, a CSV file with the columns `first` and `second`, IDs or file names of training items whose
            values are compared under transport without entropy.
    """
    config = as_value_config(config)
    check_out(out)
    check_home(settings())
    check_weights(config.encoding.entries)
    check_incremental(config, incremental)
    check_solver(config)
    check_perturbed(config)
    asked = read_pairs(config, pairs)
    sides, notes = read_sides(config.train, config.val, config.encoding, config.seed, config.policy)
    compared = compare_pairs(config, sides, asked) if asked else None
    valued = value_in_shares(config, sides, incremental) if config.method == "sava" else value_all(config, sides)
    notes += valued.outputs.notes
    published = write_values(config, sides, valued, out, notes, compared)
    return ValueResult(
        name=config.name,
        items=valued.outputs.items,
        table=valued.outputs.table,
        folder=published.folder,
        mlflow_run=published.run,
        diagnostics=valued.outputs.diagnostics,
        notes=notes,
        contributors=valued.outputs.contributors,
        val_table=valued.outputs.val_table,
        batch_table=valued.outputs.batch_table,
        perturbed_table=valued.outputs.perturbed_table,
        pairs=len(asked),
        pairs_compared=0 if compared is None else compared.outputs.compared,
    )


def read_sides(
    train_path: Path, val_path: Path | None, encoding: EncodingConfig, seed: int, policy: Policy
) -> tuple[Sides, list[str]]:
    """Read the items of both sides, or of training alone, and embed their images.

    Args:
        policy: what becomes of training images that may not train.

    Returns:
        Both sides, and sentences on these images.
    """
    listed = read(train_path, encoding.size, policy=policy).outputs
    notes = list(refusal_notes(listed))
    if val_path is None:
        encoder = "" if listed.shape is None else embed_items(listed, encoding.encoder, "").outputs.encoder
        return Sides(listed.items, "", encoder), notes
    train, val = alike(listed, read(val_path, encoding.size).outputs)
    if train.shape is None and val.shape is None:
        return Sides(train.items, val.items), notes
    model = train_encoder(val, encoding, seed).outputs.model if encoding.trained_here else ""
    embed_items(train, encoding.encoder, model)
    return Sides(train.items, val.items, embed_items(val, encoding.encoder, model).outputs.encoder), notes


def value_in_shares(config: ValueConfig, sides: Sides, incremental: bool) -> Valued:
    """Solve the transports of batches on the task runner, several in each process; then value the items likewise."""
    planned = plan_shares(config, sides, incremental)
    plan, place = planned.outputs, unmapped(place_of(settings()))
    ground, parts = unmapped(plan.ground), plan.parts
    with progress("Transport batches", len(parts)) as advance:
        solved = results_of(solve_share.map(parts, ground, place), advance)
    agreed = agree_shares(planned, solved)
    if config.valuing.form == "paper":  # its values follow from the transports
        return join_shares(config, sides, planned, agreed, [share.outputs.share for share in solved])
    firsts = [sum(plan.batches[:number]) for number in range(len(parts))]
    with progress("Value items", len(parts)) as advance:
        valued = results_of(value_share.map(parts, firsts, ground, unmapped(agreed.outputs.agreement), place), advance)
    return join_shares(config, sides, planned, agreed, [share.outputs.values for share in valued])
