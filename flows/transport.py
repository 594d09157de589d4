"""Value training items by a clean validation set: optimal transport (LAVA, SAVA), or nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, unmapped
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFutureList, as_completed

from royalty.flows.credit import RUNNER
from royalty.infra.processes.progress import Advance, progress
from royalty.infra.processes.workers import stop_all
from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import check_home
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.valuing import (
    agree_shares,
    alike,
    check_incremental,
    check_out,
    embed,
    join_shares,
    plan_shares,
    read,
    solve_share,
    train_encoder,
    value_all,
    value_share,
    write_values,
)
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class ValueResult:
    """What a valuation left.

    Attributes:
        items: how many were valued.
        table: digest of the table of values.
        folder: holds `values.parquet` and its pictures.
        diagnostics: of the method, such as `marginal_error`.
    """

    name: str
    items: int
    table: str
    folder: str
    mlflow_run: str
    diagnostics: dict[str, Any]


@flow(name="transport", task_runner=RUNNER)
def value(config: ValueConfig, out: Path | None = None, incremental: bool = False) -> ValueResult:
    """Value every item of one set by another. What is finished already, here or in another run, is reused.

    Args:
        incremental: by SAVA, after training items came or went: keep the batches of the last valuation of this name,
            their division and their cost, and transport new ones alone.
    """
    check_out(out)
    check_home(settings().root)
    check_weights(config.encoding.encoder)
    check_incremental(config, incremental)
    sides = read_sides(config)
    valued = value_in_shares(config, sides, incremental) if config.method == "sava" else value_all(config, sides)
    written = write_values(config, sides, valued, out)
    return ValueResult(
        name=config.name,
        items=valued.outputs["items"],
        table=valued.outputs["table"],
        folder=written.outputs["folder"],
        mlflow_run=written.outputs["run"],
        diagnostics=valued.outputs["diagnostics"],
    )


def read_sides(config: ValueConfig) -> dict[str, str]:
    """Digests of the items of both sides, and the name of what embedded their images."""
    train, val = alike(*(read(path, config.encoding.size) for path in (config.train, config.val)))
    sides = {"train": train.outputs["items"], "val": val.outputs["items"], "encoder": ""}
    if train.outputs["shape"] is not None or val.outputs["shape"] is not None:
        name = config.encoding.encoder
        model = train_encoder(val, config).outputs["model"] if name == "preact-resnet18" else ""
        embed(train, name, model)
        sides["encoder"] = embed(val, name, model).outputs["encoder"]
    return sides


def value_in_shares(config: ValueConfig, sides: dict[str, str], incremental: bool) -> StageRecord:
    """Fan the batches out over the task runner, some to a process: first their transports, then their values."""
    planned = plan_shares(config, sides, incremental)
    shares = list(range(len(planned.outputs["shares"])))
    given = unmapped(config), unmapped(sides), unmapped(planned)
    with progress("Transport batches", len(shares)) as advance:
        solved = finished(solve_share.map(shares, *given), advance)
    agreed = agree_shares(planned, solved)
    with progress("Value items", len(shares)) as advance:
        valued = finished(value_share.map(shares, *given, unmapped(agreed)), advance)
    return join_shares(config, sides, planned, agreed, valued)


def finished(futures: PrefectFutureList[StageRecord], advance: Advance) -> Sequence[StageRecord]:
    """Results in order, waited for in whatever order they come."""
    try:
        for future in as_completed(list(futures)):
            future.result()
            advance(1)
    except TerminationSignal:  # while a flow runs, Prefect turns SIGTERM into this
        stop_all()
        raise
    return [future.result() for future in futures]
