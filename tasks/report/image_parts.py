"""Credit and amounts divided among images, for the contributor pages and as a table."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.pages.contributors import PartsOfImages, PartTile
from royalty.infra.pages.language import Language
from royalty.infra.pages.pictures import sheet
from royalty.infra.workspace import Workspace
from royalty.models.payout.apportionment import whole_parts
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.items.image_credit_stages import ImageCredited
from royalty.tasks.report.background import Background
from royalty.tasks.report.stages import RunStages

IMAGE_CREDIT_TABLE = "image-credit.csv"
SHOWN, LOWEST_SHOWN = 12, 6
"""Images that a page shows from either end; all, if there are no more than both."""


def parts_by_contributor(
    space: Workspace, stages: RunStages, background: Background, currency: str, language: Language
) -> dict[str, PartsOfImages]:
    """Divided credit by contributor; empty if the run divided none."""
    if stages.images is None:
        return {}
    position = {identity: place for place, identity in enumerate(background.train.ids)}
    found = {}
    for name, rows in _divided(space, stages.images, stages):
        files = background.files.get(name, {})
        tiles = tuple(
            PartTile(
                id=row["id"],
                image=sheet(background.train.images[[position[row["id"]]]], 1),
                value=row["credit"],
                file_name=files.get(row["id"], ""),
                about=background.about.get(row["id"], ""),
                place=row["place"],
                share=row["share"],
                amount=language.money(int(row["minor_units"]), currency) if "minor_units" in row else "",
            )
            for row in rows[(rows["place"] <= SHOWN) | (rows["place"] > len(rows) - LOWEST_SHOWN)].to_dict("records")
        )
        highest = len(tiles) if len(tiles) == len(rows) else SHOWN
        found[name] = PartsOfImages(
            images=len(rows),
            references=stages.images.outputs.compared[name],
            legible=bool(stages.images.inputs.classifier),
            highest=tiles[:highest],
            lowest=tiles[highest:],
        )
    return found


def image_credit_table(
    space: Workspace, divided: ImageCredited, stages: RunStages, background: Background, payout: PayoutConfig
) -> bytes:
    """All parts as CSV, with file names, and with amounts where the contributor is paid or would be."""
    tables = []
    for name, rows in _divided(space, divided, stages):
        files = background.files.get(name, {})
        money = [str(payout.major_units(int(part))) for part in rows.get("minor_units", ())]
        tables.append(
            rows.assign(
                file_name=[files.get(identity, "") for identity in rows["id"]],
                amount=money or "",
                currency=payout.currency if money else "",
            ).drop(columns="minor_units", errors="ignore")
        )
    return csv_bytes(pd.concat(tables, ignore_index=True))


def _divided(space: Workspace, divided: ImageCredited, stages: RunStages) -> Iterator[tuple[str, pd.DataFrame]]:
    """The images of each contributor by share, with `place`, and `minor_units` if the division pays the contributor."""
    for name, group in load_table(space, divided.outputs.table).groupby("contributor", sort=False):
        rows = group.assign(place=range(1, len(group) + 1))
        settlement = stages.pay.outputs.settlements.get(str(name))
        if settlement is not None and settlement.amount > 0:
            rows["minor_units"] = whole_parts(settlement.amount, rows["share"].tolist())
        yield str(name), rows
