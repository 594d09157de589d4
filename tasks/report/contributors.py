"""Compose a page for each contributor: values of images, and changes since the last run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.contributors import ContributorPage, ImageValues, Tile
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow, Report
from royalty.infra.workspace import Workspace
from royalty.models.valuation.intervals import told_apart
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.pay.cases import case_rows
from royalty.tasks.pay.credits import ranked
from royalty.tasks.report.background import Background, EarlierRun, Valuation
from royalty.tasks.report.image_parts import parts_by_contributor
from royalty.tasks.report.stages import RunStages

TILES = 12
"""Most images that a page shows for each valuation."""
MEANINGS = {
    "gmvaluator": "The value of an image is the number of generated images that are attributed to it. Each image that "
    "the model of all contributors generates counts as its quality, from 0 to 1, and is divided among the training "
    "images most similar to it.",
    "lava": "The value of an image says how far more weight on it would move the training set toward clean images, by "
    "optimal transport, in units of distance between features. Above zero it moves closer.",
    "sava": "The value of an image says how far more weight on it would move the training set toward clean images, by "
    "transport in batches, in units of distance between features. Above zero it moves closer.",
    "knn-shapley": "The value of an image is what it adds to the accuracy of a nearest-neighbour classifier of clean "
    "images, where 1 is 100%.",
}
TITLES = {"gmvaluator": "By GMValuator", "lava": "By LAVA", "sava": "By SAVA", "knn-shapley": "By KNN-Shapley"}


def compose_pages(
    space: Workspace, report: Report, stages: RunStages, background: Background, payout: PayoutConfig
) -> list[ContributorPage]:
    """Compose the pages, one for each contributor, in the order of the report; `with_payments` adds what was paid."""
    rows, remarks, interactions = report.rows, dict(report.remarks), report.interactions
    earlier = background.earlier
    before = _earlier_credit(space, earlier)
    parts = parts_by_contributor(space, stages, background, payout)
    pages = []
    for row in rows:
        then = before.get(row.name)
        changes = tuple(_changes(row, then, payout, stages, earlier)) if earlier and then else None
        pages.append(
            ContributorPage(
                row=row,
                among=len(rows),
                remark=remarks.get(row.name, ""),
                refusal=stages.pay.outputs.refusal,
                values=tuple(_values(valuation, background, row.name) for valuation in background.valuations),
                history=(),
                before=then.credit if then else None,
                since=earlier.created_at if earlier and then else None,
                changes=changes,
                pairs=interactions.of(row.name) if interactions and not interactions.omitted else None,
                cases=case_rows(background.cases, [row.name]),
                parts=parts.get(row.name),
            )
        )
    return pages


def _values(valuation: Valuation, background: Background, name: str) -> ImageValues:
    """Values of one contributor's images. An image of several contributors counts in full for each."""
    train, files = background.train, background.files.get(name, {})
    by_id = valuation.table.drop_duplicates("id").set_index("id")["value"]
    provided = np.flatnonzero(train.membership[:, train.contributors.index(name)])
    position = {train.ids[item]: int(item) for item in provided}
    values = by_id.reindex(list(position)).dropna().sort_values(ascending=False)
    total, whole = float(values.sum()), float(by_id.sum())
    return ImageValues(
        method=TITLES[valuation.method],
        meaning=MEANINGS[valuation.method],
        total=total,
        whole=whole,
        share=total / whole if valuation.method == "gmvaluator" and whole > 0 else None,
        tiles=tuple(
            Tile(
                str(identity),
                sheet(train.images[[position[str(identity)]]], 1),
                float(value),
                files.get(str(identity), ""),
                background.about.get(str(identity), ""),
            )
            for identity, value in values[values > 0].head(TILES).items()
        ),
    )


@dataclass(frozen=True)
class EarlierCredit:
    """A contributor's row in an earlier credit table.

    Attributes:
        rank: rank by credit, or the range of ranks that intervals leave; 1 is the highest.
    """

    rank: str
    items: int
    credit: float
    low: float
    high: float


def _earlier_credit(space: Workspace, earlier: EarlierRun | None) -> dict[str, EarlierCredit]:
    """Earlier credit by contributor; empty without an earlier run."""
    if earlier is None:
        return {}
    rows = ranked(load_table(space, earlier.stages.credit.outputs.table)).to_dict("records")
    return {
        row["contributor"]: EarlierCredit(
            rank_text(row["rank_best"], row["rank_worst"]), row["items"], row["credit"], row["ci_low"], row["ci_high"]
        )
        for row in rows
    }


def _changes(
    row: ContributorRow,
    then: EarlierCredit,
    payout: PayoutConfig,
    stages: RunStages,
    earlier: EarlierRun,
) -> Iterator[tuple[str, str, str]]:
    """Rows of name, earlier value and present value. Unchanged values are included."""
    noise = then.credit != row.credit and not told_apart((then.low, then.high), (row.ci_low, row.ci_high))
    yield "Credit (not certain to have moved)" if noise else "Credit", f"{then.credit:+.4f}", f"{row.credit:+.4f}"
    yield "Interval", f"{then.low:+.4f} to {then.high:+.4f}", f"{row.ci_low:+.4f} to {row.ci_high:+.4f}"
    yield "Rank by credit", then.rank, row.rank
    yield "Images trained on", str(then.items), str(row.items)
    before, now = earlier.stages.ingest.outputs.brought, stages.ingest.outputs.brought
    same = before.get(row.name) == now.get(row.name)
    yield "Content of the images", "the same" if same else "different", "unchanged" if same else "changed"
    paid = earlier.stages.pay
    settlement = paid.outputs.settlements.get(row.name)
    money = PayoutConfig.model_construct(currency=paid.inputs.config["currency"])
    yield "Amount", money.formatted(settlement.amount) if settlement else "none", row.amount
