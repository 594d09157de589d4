"""Use of a model in a period, and the table of credit and use that a pool is divided by."""

from __future__ import annotations

import hashlib
import heapq
import io
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from prefect.cache_policies import NO_CACHE

from royalty.infra.attribution.usage_log import LogHead
from royalty.infra.ledger.optouts import optouts
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.teams import credited
from royalty.models.payout.periods import days_of
from royalty.models.payout.policies import POLICIES
from royalty.models.payout.usage import Generation, UseShares, use_shares
from royalty.tasks.attribution.attributing import Attributor, served_folders
from royalty.tasks.attribution.from_files import open_attributor
from royalty.tasks.attribution.indexing import described
from royalty.tasks.attribution.log import usage_log
from royalty.tasks.config.payout import PayoutConfig, UseConfig
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.pay.credits import credits_of
from royalty.tasks.pay.usage_log import log_problem
from royalty.tasks.pay.usage_reading import ByImage, of_file, of_log, packed
from royalty.tasks.pay.usage_reading import Used as UsedRow
from royalty.tasks.pay.usage_stages import (
    USAGE,
    USE,
    GenerationBehind,
    Usage,
    UsageInputs,
    UsageOutputs,
    Used,
    UseInputs,
    UseOutputs,
)
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.task import task

LOG = "log"
"""The source of use that is the service's log."""

NO_LOG = LogHead(0, "")

SHOWN = 5
"""Generations that a trace shows of a contributor."""


@task(name="read the use of a period", cache_policy=NO_CACHE)
def read_usage(source: str, model: str, version: str, period: str, credit: Credited | None) -> Usage:
    """Read what a model generated in a period, and who stands behind it.

    Args:
        source: `log`, or the path of a CSV or Parquet file; see `royalty.tasks.pay.usage_reading.of_file`.
        credit: whoever has credit may stand behind a generation, besides the contributors of the index.

    Raises:
        InputError: see `of_file`; or the log has nothing of this model and period, or was changed or cut.
        StoreError: the log cannot be read.
    """
    first, after = days_of(period)
    space = open_workspace(settings())
    contributors = [] if credit is None else load_table(space, credit.outputs.table)["contributor"].tolist()
    for optout in optouts(space.acts):
        contributors += [optout.contributor, *optout.co_owners]  # they are paid for earlier use
    if source == LOG:
        if problem := log_problem(space):
            raise InputError(f"use is paid by a log that was only added to, and {problem}; restore it from a backup")
        generations = usage_log().between(first.isoformat(), after.isoformat(), model=model, version=version)
        rows, digest, last = of_log(generations)
        inputs = UsageInputs(digest, model, period)
        if not rows:
            raise InputError(
                f"the log has no generation of the model {model!r} in {period}; there is nothing to pay for"
            )
        _check_known(rows, [*_names(model, version), *contributors])
    else:
        path = Path(source)
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                f"the use of a period is `log`, or a CSV or Parquet file; cannot read {source}: {error.strerror}"
            ) from error
        attributor, names, index = _attributor(model, version)
        rows, last = of_file(path, first, after, names + contributors, ByImage(attributor, model, version)), NO_LOG
        inputs = UsageInputs(digest, model, period, index)

    def compute(space: Workspace) -> UsageOutputs:
        return UsageOutputs(
            usage=space.artifacts.put(packed(rows)),
            generations=len(rows),
            attributed=sum(bool(row.shares) for row in rows),
            revenue=f"{sum((Decimal(1) if row.revenue is None else row.revenue for row in rows), Decimal(0)):f}",
            log_position=last.position,
            log_hash=last.hash,
        )

    return run_here(USAGE, inputs, compute)


def source_of_use(source: str) -> str:
    """The source as whoever approves the payout names it, in whichever folder they are."""
    return source if source == LOG else str(Path(source).absolute())


@task(name="join credit and use", cache_policy=NO_CACHE)
def join_use(usage: Usage, credit: Credited | None, config: PayoutConfig) -> Used:
    """Make the table that a pool is divided by: credit for the training part, and use for the output part.

    Args:
        config: terms with `use`.

    Raises:
        InputError: a part of the pool has nobody to be divided among; use names contributors without credit.
    """
    space, terms = open_workspace(settings()), config.use or UseConfig()
    if credit is None and terms.training:
        raise InputError(
            f"the training part, {terms.training:.0%} of the pool, is divided by the credit of a run, and none is "
            "given; add `--credit RUN`, or set `use.training: 0`"
        )
    outputs = None if credit is None else credit.outputs
    inputs = UseInputs(
        usage=usage.outputs.usage,
        credit="" if outputs is None else outputs.table,
        training=str(terms.training),
        unattributable=terms.unattributable,
        policy=terms.policy or config.policy,
        failed=0 if outputs is None else len(outputs.failed),
        trained=1 if outputs is None else outputs.trained,
        efficiency_gap=0.0 if outputs is None else outputs.diagnostics["efficiency_gap"],
    )
    table = None if outputs is None else load_table(space, outputs.table)
    return run_here(USE, inputs, lambda space: _joined(space, inputs, table))


def by_use(config: PayoutConfig) -> PayoutConfig:
    """Terms for dividing a table of credit and use, whose numbers are shares of the pool already.

    Raises:
        InputError: terms that a pool by use does not have.
    """
    if config.hysteresis or config.negative != "zero":
        raise InputError(
            "a pool by use pays what was used, and for positive credit; it has no `hysteresis` and `negative: zero`. "
            f"Got `hysteresis: {str(config.hysteresis).lower()}` and `negative: {config.negative}`; change the terms"
        )
    use = config.use or UseConfig()
    kept = use.model_copy(update={"policy": use.policy or config.policy})
    return config.model_copy(update={"use": kept, "policy": "proportional"})


def _joined(space: Workspace, inputs: UseInputs, table: pd.DataFrame | None) -> UseOutputs:
    rows = pq.read_table(io.BytesIO(space.artifacts.get(inputs.usage))).to_pylist()
    credits = {} if table is None else credits_of(table)
    weights = POLICIES[inputs.policy].weigh(credits) if credits else {}  # type: ignore[index]  # checked as a setting
    shares = use_shares(
        (_generation(row) for row in rows),
        weights,
        training=Fraction(inputs.training),
        unattributable=inputs.unattributable,  # type: ignore[arg-type]  # checked as a setting
    )
    joined = _table_of(shares, table, rows)
    stream = io.BytesIO()
    joined.to_parquet(stream, index=False)
    return UseOutputs(
        table=space.artifacts.put(stream.getvalue()),
        kept=str(shares.kept),
        unattributed=shares.unattributed,
        behind=_behind(rows, shares),
        failed=inputs.failed,
        trained=inputs.trained,
        diagnostics={"efficiency_gap": inputs.efficiency_gap, "marginal_error": inputs.marginal_error},
    )


def _generation(row: Mapping[str, Any]) -> Generation:
    return Generation(row["id"], Decimal(row["weight"]), dict(zip(row["contributors"], row["shares"], strict=True)))


def _table_of(shares: UseShares, credit: pd.DataFrame | None, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The table of shares, with the intervals of the credit, scaled as the credit is; use is counted, so certain."""
    records: list[dict[Any, Any]] = [] if credit is None else credit.to_dict("records")
    known: dict[str, Any] = {str(row["contributor"]): row for row in records}
    positive = math.fsum(row["credit"] for row in known.values() if row["credit"] > 0)
    scale = math.fsum(shares.training.values()) / positive if positive else 0.0
    count: dict[str, int] = {}
    for row in rows:
        for name in row["contributors"]:
            count[name] = count.get(name, 0) + 1
    table = []
    totals = shares.total | dict.fromkeys((name for name in known if name not in shares.total), 0.0)
    for name, total in totals.items():
        row = known.get(name, {"credit": 0.0, "ci_low": 0.0, "ci_high": 0.0, "stderr": 0.0})
        table.append(
            {
                "contributor": name,
                "credit": total,
                "ci_low": total - scale * (row["credit"] - row["ci_low"]),
                "ci_high": total + scale * (row["ci_high"] - row["credit"]),
                "stderr": scale * row["stderr"],
                "training": shares.training.get(name, 0.0),
                "use": shares.use.get(name, 0.0),
                "generations": count.get(name, 0),
            }
        )
    return pd.DataFrame(table)


def _behind(rows: list[dict[str, Any]], shares: UseShares) -> dict[str, list[GenerationBehind]]:
    """For each contributor, the generations that bring most, and the images of theirs behind each."""
    used = math.fsum(shares.use.values())
    whole = math.fsum(float(row["weight"]) for row in rows if row["contributors"])
    best: dict[str, list[tuple[float, int]]] = {}
    for place, row in enumerate(rows):
        for name, share in zip(row["contributors"], row["shares"], strict=True):
            part = used * float(row["weight"]) * share / whole if whole else 0.0
            if part > 0:
                heapq.heappush(best.setdefault(name, []), (part, -place))
                if len(best[name]) > SHOWN:
                    heapq.heappop(best[name])
    return {
        name: [
            GenerationBehind(rows[-place]["id"], part, list(_items_of(rows[-place], name)))
            for part, place in sorted(kept, reverse=True)
        ]
        for name, kept in sorted(best.items())
    }


def _items_of(row: Mapping[str, Any], name: str) -> Iterator[str]:
    for item, owners in zip(row["items"], row["item_contributors"], strict=True):
        if name in credited(owners):
            yield item


def _names(model: str, version: str) -> list[str]:
    """Contributors of the index of a model; none if it has no index here."""
    try:
        served_folders(settings().root, [model])
    except InputError:
        return []
    return list(described(model, version).contributors)


def _attributor(model: str, version: str) -> tuple[Attributor | None, list[str], str]:
    """The index that attributes the images of a file, its contributors, and its name; none if the model has none."""
    names = _names(model, version)
    if not names:
        return None, [], ""
    attributor = open_attributor([model])
    return attributor, names, attributor.index(model, version).name


def _check_known(rows: list[UsedRow], known: list[str]) -> None:
    """Check that everybody behind the log's generations is known here.

    Raises:
        InputError: somebody is not.
    """
    if unknown := {name for row in rows for name in row.shares} - set(known):
        raise InputError(
            "those who are paid are contributors of the model, and the log names "
            f"{', '.join(map(repr, sorted(unknown)))}, who are neither in its index nor have credit. Somebody may have "
            "left since: pay the period by an index and a run that still have them"
        )
