"""Contents of pages of very many contributors, with images, values, a history and what changed."""

from __future__ import annotations

import random

import numpy as np

from royalty.infra.pages.contributors import ContributorPage, HistoryRow, ImageValues, Tile
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow

TILES = 12
"""Images of each of two methods that a page shows."""
PERIODS = 12


def contributor_pages(number: int) -> list[ContributorPage]:
    """Pages whose text and images all differ."""
    draw = random.Random(0)
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    pictures = [sheet(image[np.newaxis], 1) for image in images]
    pages = []
    for place in range(number):
        credit = draw.gauss(1.0, 0.5)
        row = ContributorRow(
            name=f"contributor {place:07}",
            items=40,
            credit=credit,
            stderr=abs(credit) / 20,
            ci_low=credit - abs(credit) / 10,
            ci_high=credit + abs(credit) / 10,
            share=1 / number,
            amount=f"€{draw.randrange(10_000) / 100:.2f}",
            strip=pictures[place % 64],
            rank_best=place + 1,
            rank_worst=place + 3,
            held_out=5,
        )
        values = tuple(
            ImageValues(
                method,
                draw.random(),
                1.0,
                share,
                tuple(
                    Tile(f"{draw.getrandbits(256):064x}", draw.choice(pictures), draw.random(), f"{tile}.png")
                    for tile in range(TILES)
                ),
            )
            for method, share in (("gmvaluator", 0.1), ("lava", None))
        )
        history = tuple(
            HistoryRow("fund", f"2026-{month:02}-01T00:00:00+00:00", "division", credit, row.amount, True)
            for month in range(1, PERIODS + 1)
        )
        changes = (("Credit", "+1.00", "+1.01"),)
        page = ContributorPage(row, number, (), None, values, history, credit, "2026-11-01T00:00:00+00:00", changes)
        pages.append(page)
    return pages
