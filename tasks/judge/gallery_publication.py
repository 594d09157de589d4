"""Publish a gallery: a page and its tables, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE
from scipy.stats import spearmanr

from royalty.infra.pages.gallery import GalleryPage, OwnRow, PropertyChart, render_gallery
from royalty.infra.pages.gallery_section import GalleryRow
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import template_digest
from royalty.infra.stores.keys import digest_of
from royalty.infra.wording import counted
from royalty.infra.workspace import Workspace
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import Credited
from royalty.tasks.credit.stages import Sampled
from royalty.tasks.judge.gallery import credit_of
from royalty.tasks.judge.gallery_stage import GALLERY_PAGE, GALLERY_TABLE, WRITE_GALLERY
from royalty.tasks.judge.publication import params_of
from royalty.tasks.judge.stages import OwnImages
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, publish
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

STRIP = 8
"""Images of each model that are shown."""


@task(name="write gallery", cache_policy=NO_CACHE)
def write_gallery(
    config: CreditConfig, rows: Sequence[TableRow], sampled: Sampled, own: OwnImages, credited: Credited
) -> Published:
    """Publish `gallery.html`, `gallery.csv` and `own-images.csv`.

    Args:
        rows: of `royalty.tasks.judge.gallery.gallery_rows`.
    """
    sources = {
        "samples": sampled.key,
        "own-images": own.key,
        "credit": credited.key,
        "rows": digest_of(list(rows)),
        "templates": template_digest(),
    }
    inputs = PublishInputs(config.name, f"{config.name}-gallery", sources, params_of(config))

    def make(space: Workspace) -> Contents:
        people = _people(credit_of(credited), own)
        page = GalleryPage(
            title=config.name,
            method=f"The models are made as those of the run, by the method `{config.coalitions.method}`.",
            seeds=max(row["seeds"] for row in rows),
            hidden=len(people) - sum(row["models"].startswith("only ") for row in rows) // len(_by_property(rows)),
            charts=tuple(_charts(space, rows, sampled)),
            variety=tuple(chosen_property(name).title for name in own.outputs.values),
            own=people,
            agreements=tuple(agreements(people, [chosen_property(name).title for name in own.outputs.values])),
        )
        table = pd.DataFrame(
            [
                {"contributor": row.name, "credit": row.credit, "images": row.images}
                | dict(zip(own.outputs.values, row.values, strict=True))
                for row in people
            ]
        )
        return Contents(
            note=f"Models of the run {config.name!r} with and without contributors, and of each one alone.",
            tables={GALLERY_TABLE: pd.DataFrame(rows), "own-images": table},
            files={GALLERY_PAGE: render_gallery(page).encode()},
        )

    return publish(WRITE_GALLERY, inputs, make)


def agreements(people: Sequence[OwnRow], titles: Sequence[str]) -> list[str]:
    """Sentences on the rank correlation of credit with number and variety of a contributor's own images.

    At least five contributors are needed, and numbers that differ.

    Args:
        titles: of the values of the rows.
    """
    measures: dict[str, list[float | None]] = {"the number of training images": [row.images for row in people]}
    measures |= {
        f"the {title} of their own images": [row.values[at] for row in people] for at, title in enumerate(titles)
    }
    sentences = []
    for name, numbers in measures.items():
        pairs = [(row.credit, number) for row, number in zip(people, numbers, strict=True) if number is not None]
        credit, known = np.array(pairs).reshape(-1, 2).T
        if len(pairs) >= 5 and np.ptp(known) > 0 and np.ptp(credit) > 0:
            result = spearmanr(credit, known)
            sentences.append(
                f"Rank correlation of credit with {name}: {result.statistic:+.2f} (p = {result.pvalue:.2g}, "
                f"{counted(len(pairs), 'contributor')})."
            )
    return sentences


def _by_property(rows: Sequence[TableRow]) -> dict[str, list[TableRow]]:
    grouped: dict[str, list[TableRow]] = {}
    for row in rows:
        grouped.setdefault(row["property"], []).append(row)
    return grouped


def _charts(space: Workspace, rows: Sequence[TableRow], sampled: Sampled) -> list[PropertyChart]:
    """A chart for each property; the first has pictures."""
    shape = sampled.outputs.shape
    strips = {
        name: sheet(np.frombuffer(space.artifacts.get(digest), np.uint8).reshape(shape)[:STRIP], STRIP)
        for name, digest in sampled.outputs.images.items()
    }
    charts = []
    for number, (name, own) in enumerate(_by_property(rows).items()):
        chosen = chosen_property(name)
        models = tuple(
            GalleryRow(
                row["models"],
                strips.get(row["models"]) if number == 0 else None,
                row["value"],
                row["value"] if row["low"] is None else row["low"],
                row["value"] if row["high"] is None else row["high"],
            )
            for row in own
        )
        title = chosen.title[:1].upper() + chosen.title[1:]
        charts.append(PropertyChart(title, chosen.known.meaning, models))
    return charts


def _people(credit: Mapping[str, float], own: OwnImages) -> tuple[OwnRow, ...]:
    images, values = own.outputs.images, own.outputs.values
    return tuple(
        OwnRow(name, value, images.get(name, 0), tuple(column.get(name) for column in values.values()))
        for name, value in credit.items()
    )
