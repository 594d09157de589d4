"""The page of each contributor: worth of single images, history, and what changed since the last run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.contributors import ContributorPage, HistoryRow, ImageValues, Tile
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.data.items import ImageSet
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.report.background import Background, EarlierRun, Valuation
from royalty.tasks.report.stages import RunStages

TILES = 12
MEANINGS = {
    "gmvaluator": "How much of what the model of everybody makes these images stand behind.",
    "lava": "How much more of an image would move the training set toward clean images, by optimal transport.",
    "sava": "How much more of an image would move the training set toward clean images, by transport in batches.",
    "knn-shapley": "What an image adds to a nearest-neighbour classifier of clean images.",
}
TITLES = {"gmvaluator": "By GMValuator", "lava": "By LAVA", "sava": "By SAVA", "knn-shapley": "By KNN-Shapley"}


def compose_pages(
    space: Workspace,
    rows: Sequence[ContributorRow],
    stages: RunStages,
    background: Background,
    payout: PayoutConfig,
    remarks: Mapping[str, str],
) -> list[ContributorPage]:
    """A page each, in the order of credit."""
    earlier = background.earlier
    before = _earlier_credit(space, earlier)
    credits = {table: _credits(space, table) for table in {posted.valuation for posted in background.statements}}
    pages = []
    for rank, row in enumerate(rows, 1):
        then = before.get(row.name)
        changes = tuple(_changes(row, rank, then, payout, stages, earlier)) if earlier and then else None
        pages.append(
            ContributorPage(
                row=row,
                rank=rank,
                among=len(rows),
                remark=remarks.get(row.name, ""),
                refusal=stages.pay.outputs.refusal,
                values=tuple(_values(valuation, background.train, row.name) for valuation in background.valuations),
                history=tuple(_history(row.name, background.statements, credits)),
                before=then.credit if then else None,
                since=earlier.created_at if earlier and then else None,
                changes=changes,
            )
        )
    return pages


def _values(valuation: Valuation, train: ImageSet, name: str) -> ImageValues:
    """The values of one contributor's images; an image of several contributors counts in full."""
    by_id = valuation.table.drop_duplicates("id").set_index("id")["value"]
    brought = np.flatnonzero(train.membership[:, train.contributors.index(name)])
    place = {train.ids[item]: int(item) for item in brought}
    values = by_id.reindex(list(place)).dropna().sort_values(ascending=False)
    total, whole = float(values.sum()), float(by_id.sum())
    return ImageValues(
        method=TITLES[valuation.method],
        meaning=MEANINGS[valuation.method],
        total=total,
        share=total / whole if valuation.method == "gmvaluator" and whole > 0 else None,
        tiles=tuple(
            Tile(str(identity), sheet(train.images[[place[str(identity)]]], 1), float(value))
            for identity, value in values[values > 0].head(TILES).items()
        ),
    )


def _credits(space: Workspace, table: str) -> Mapping[str, float]:
    """Credit by contributor in a table; empty where it is not kept here."""
    try:
        rows = load_table(space, table)
    except StoreError:
        return {}
    return dict(zip(rows["contributor"], rows["credit"].astype(float), strict=True))


def _history(
    name: str, statements: Sequence[Posted], credits: Mapping[str, Mapping[str, float]]
) -> Iterator[HistoryRow]:
    for posted in statements:
        if name in posted.paid:
            amount = PayoutConfig.model_construct(currency=posted.currency).formatted(posted.paid[name])
            credit = credits[posted.valuation].get(name)
            yield HistoryRow(posted.pool, posted.created_at, credit, amount, posted.active)


@dataclass(frozen=True)
class EarlierCredit:
    """A contributor's row of an earlier credit table, and the place of it, 1 is highest."""

    place: int
    items: int
    credit: float
    low: float
    high: float


def _earlier_credit(space: Workspace, earlier: EarlierRun | None) -> dict[str, EarlierCredit]:
    """By contributor; empty without an earlier run."""
    if earlier is None:
        return {}
    rows = load_table(space, earlier.stages.credit.outputs.table)
    columns = (rows[column].tolist() for column in ("contributor", "items", "credit", "ci_low", "ci_high"))
    return {
        name: EarlierCredit(place, *numbers) for place, (name, *numbers) in enumerate(zip(*columns, strict=True), 1)
    }


def _changes(
    row: ContributorRow,
    rank: int,
    then: EarlierCredit,
    payout: PayoutConfig,
    stages: RunStages,
    earlier: EarlierRun,
) -> Iterator[tuple[str, str, str]]:
    """Name, then and now of everything that is compared with the earlier run, changed or not."""
    yield "Credit", f"{then.credit:+.4f}", f"{row.credit:+.4f}"
    yield "Interval", f"{then.low:+.4f} to {then.high:+.4f}", f"{row.ci_low:+.4f} to {row.ci_high:+.4f}"
    yield "Place by credit", str(then.place), str(rank)
    yield "Training images", str(then.items), str(row.items)
    brought = earlier.stages.ingest.outputs.brought, stages.ingest.outputs.brought
    same = brought[0].get(row.name) == brought[1].get(row.name)
    yield "Their images", "as now" if same else "others", "unchanged" if same else "changed"
    paid = earlier.stages.pay
    settlement = paid.outputs.settlements.get(row.name)
    money = PayoutConfig.model_construct(currency=paid.inputs.config["currency"])
    yield "Amount", money.formatted(settlement.amount) if settlement else "none", row.amount
