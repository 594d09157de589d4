"""Credit and amounts divided among images, for the contributor pages and as a table."""

from __future__ import annotations

from collections.abc import Callable

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
) -> Callable[[str], PartsOfImages | None]:
    """Divided credit of a contributor by name; None if the run divided none.

    The images are encoded when they are asked for.
    """
    divided = stages.images
    if divided is None:
        return lambda _: None
    position = {identity: place for place, identity in enumerate(background.train.ids)}
    table = load_table(space, divided.outputs.table)
    places = table.groupby("contributor", sort=False).indices

    def parts(name: str) -> PartsOfImages | None:
        if name not in places:
            return None
        rows = _divided(name, table.iloc[places[name]], stages)
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
        return PartsOfImages(
            images=len(rows),
            references=divided.outputs.compared[name],
            legible=bool(divided.inputs.classifier),
            highest=tiles[:highest],
            lowest=tiles[highest:],
        )

    return parts


def image_credit_table(
    space: Workspace, divided: ImageCredited, stages: RunStages, background: Background, payout: PayoutConfig
) -> bytes:
    """All parts as CSV, with file names, and with amounts where the contributor is paid or would be."""
    tables = []
    for name, group in load_table(space, divided.outputs.table).groupby("contributor", sort=False):
        rows = _divided(str(name), group, stages)
        files = background.files.get(str(name), {})
        money = [str(payout.major_units(int(part))) for part in rows.get("minor_units", ())]
        tables.append(
            rows.assign(
                file_name=[files.get(identity, "") for identity in rows["id"]],
                amount=money or "",
                currency=payout.currency if money else "",
            ).drop(columns="minor_units", errors="ignore")
        )
    return csv_bytes(pd.concat(tables, ignore_index=True))


def _divided(name: str, images: pd.DataFrame, stages: RunStages) -> pd.DataFrame:
    """A contributor's images by share, with `place`, and `minor_units` if the division pays the contributor."""
    rows = images.assign(place=range(1, len(images) + 1))
    settlement = stages.pay.outputs.settlements.get(name)
    if settlement is not None and settlement.amount > 0:
        rows["minor_units"] = whole_parts(settlement.amount, rows["share"].tolist())
    return rows
