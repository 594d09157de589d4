"""What the page of each contributor says: worth of single images, history, and what changed since the last run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from infra.artifacts import StoreError
from infra.contributor_page import ContributorPage, HistoryRow, ImageValues, Tile
from infra.pictures import sheet
from infra.postings import Posted
from infra.report import ContributorRow
from infra.runstore import StageRecord
from infra.workspace import Workspace
from models.data.items import ImageSet
from tasks.credit import load_table
from tasks.payout_config import PayoutConfig
from tasks.stored_items import load_values

TILES = 12
MEANINGS = {
    "gmvaluator": "How much of what the model of everybody makes these images stand behind.",
    "lava": "How much more of an image would move the training set toward clean images, by optimal transport.",
    "sava": "How much more of an image would move the training set toward clean images, by transport in batches.",
    "knn-shapley": "What an image adds to a nearest-neighbour classifier of clean images.",
}
TITLES = {"gmvaluator": "By GMValuator", "lava": "By LAVA", "sava": "By SAVA", "knn-shapley": "By KNN-Shapley"}


@dataclass(frozen=True)
class Earlier:
    """The last run of the same name with another credit table: its stages by name, and when it was logged."""

    stages: Mapping[str, StageRecord]
    key: str
    created_at: str


def context_of(space: Workspace, name: str, stages: Mapping[str, StageRecord]) -> dict[str, Any]:
    """Digests and rows that the pages depend on beside the run's own stages."""
    earlier = earlier_run(space, name, stages)
    return {
        "earlier": earlier.key if earlier else None,
        "valuations": [table for _, table in valuations(space, stages)],
        "statements": [asdict(posted) for posted in _statements(space, stages)],
    }


def earlier_run(space: Workspace, name: str, stages: Mapping[str, StageRecord]) -> Earlier | None:
    """The run of this name before the present one."""
    found = None
    for track in space.runs.stages("track"):
        if track.key == stages["track"].key:
            break
        if track.inputs["name"] == name:
            kept = (space.runs.stage(key) for key in track.inputs["stages"])
            own = {stage.name: stage for stage in kept if stage is not None}
            if own["credit"].outputs["table"] != stages["credit"].outputs["table"]:
                created = space.lineage.origins([track.key])
                found = Earlier(own, track.key, created[track.key].created_at if created else "")
    return found


def valuations(space: Workspace, stages: Mapping[str, StageRecord]) -> list[tuple[str, str]]:
    """Method and table of this run's match, and of the latest valuation by each method that knows its images."""
    found = {"gmvaluator": stages["gmvaluator"].outputs["table"]}
    ids = set(ImageSet.from_bytes(space.artifacts.get(stages["ingest"].outputs["train"])).ids)
    for stage in space.runs.stages("value"):
        table = stage.outputs["table"]
        if space.artifacts.path(table).exists() and ids & set(load_values(space, table)["id"]):
            found[stage.inputs["config"]["method"]] = table
    return list(found.items())


def compose_pages(
    space: Workspace,
    name: str,
    rows: Sequence[ContributorRow],
    stages: Mapping[str, StageRecord],
    payout: PayoutConfig,
    remarks: Mapping[str, str],
) -> list[ContributorPage]:
    """A page each, in the order of credit."""
    train = ImageSet.from_bytes(space.artifacts.get(stages["ingest"].outputs["train"]))
    tables = [(method, load_values(space, table)) for method, table in valuations(space, stages)]
    statements, earlier = _statements(space, stages), earlier_run(space, name, stages)
    credits = {table: _credits(space, table) for table in {posted.valuation for posted in statements}}
    before = load_table(space, earlier.stages["credit"].outputs["table"]) if earlier else pd.DataFrame()
    pages = []
    for rank, row in enumerate(rows, 1):
        owned = train.membership[:, train.contributors.index(row.name)]
        then = before[before["contributor"] == row.name] if earlier else before
        changes = None
        if earlier is not None and len(then):
            changes = tuple(_changes(row, rank, then, payout, stages, earlier))
        pages.append(
            ContributorPage(
                row=row,
                rank=rank,
                among=len(rows),
                remark=remarks.get(row.name, ""),
                refusal=stages["pay"].outputs["refusal"],
                values=tuple(_values(method, table, train, owned) for method, table in tables),
                history=tuple(_history(row.name, statements, credits)),
                before=float(then["credit"].iloc[0]) if changes is not None else None,
                since=earlier.created_at if earlier and changes is not None else None,
                changes=changes,
            )
        )
    return pages


def _values(method: str, table: pd.DataFrame, train: ImageSet, owned: np.ndarray) -> ImageValues:
    """The values of one contributor's images, an image of several contributors whole."""
    by_id = table.drop_duplicates("id").set_index("id")["value"]
    own = by_id.reindex([train.ids[item] for item in np.flatnonzero(owned)]).dropna().sort_values(ascending=False)
    whole = float(by_id.sum())
    best = own[own > 0].head(TILES)
    place = {identity: position for position, identity in enumerate(train.ids)}
    return ImageValues(
        method=TITLES[method],
        meaning=MEANINGS[method],
        total=float(own.sum()),
        share=float(own.sum()) / whole if method == "gmvaluator" and whole > 0 else None,
        tiles=tuple(
            Tile(str(identity), sheet(train.images[[place[str(identity)]]], 1), float(value))
            for identity, value in best.items()
        ),
    )


def _statements(space: Workspace, stages: Mapping[str, StageRecord]) -> list[Posted]:
    """Statements that name a contributor of this run."""
    names = set(stages["ingest"].outputs["contributors"])
    return [posted for posted in space.ledger.verified_statements() if names & set(posted.paid)]


def _credits(space: Workspace, table: str) -> Mapping[str, float]:
    """Credit by contributor in a table; empty where it is not kept here."""
    try:
        found = load_table(space, table)
    except StoreError:
        return {}
    return dict(zip(found["contributor"], found["credit"].astype(float), strict=True))


def _history(
    name: str, statements: Sequence[Posted], credits: Mapping[str, Mapping[str, float]]
) -> Iterator[HistoryRow]:
    for posted in statements:
        if name in posted.paid:
            amount = PayoutConfig.model_construct(currency=posted.currency).formatted(posted.paid[name])
            credit = credits[posted.valuation].get(name)
            yield HistoryRow(posted.pool, posted.created_at, credit, amount, posted.active)


def _changes(
    row: ContributorRow,
    rank: int,
    then: pd.DataFrame,
    payout: PayoutConfig,
    stages: Mapping[str, StageRecord],
    earlier: Earlier,
) -> Iterator[tuple[str, str, str]]:
    """What differs between the last run and this one, name, then and now; all of it is said, changed or not."""
    was = then.iloc[0]
    yield "Credit", f"{was['credit']:+.4f}", f"{row.credit:+.4f}"
    yield "Interval", f"{was['ci_low']:+.4f} to {was['ci_high']:+.4f}", f"{row.ci_low:+.4f} to {row.ci_high:+.4f}"
    yield "Place by credit", str(then.index[0] + 1), str(rank)
    yield "Training images", str(was["items"]), str(row.items)
    same = _digest(earlier.stages["ingest"], row.name) == _digest(stages["ingest"], row.name)
    yield "Their images", "as now" if same else "others", "unchanged" if same else "changed"
    settled = earlier.stages["pay"].outputs["settlements"].get(row.name)
    money = PayoutConfig.model_construct(currency=earlier.stages["pay"].inputs["config"]["currency"])
    yield "Amount", money.formatted(settled["amount"]) if settled else "none", row.amount


def _digest(data: StageRecord, name: str) -> str | None:
    brought = dict(zip(data.outputs["contributors"], data.outputs["contributor_digests"], strict=True))
    return brought.get(name)
