"""Contents of pages of very many contributors, with images, values, a history and what changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from royalty.infra.pages.combined import combined
from royalty.infra.pages.contributors import ContributorPage, HistoryRow, ImageValues, Tile
from royalty.infra.pages.language import shipped_language
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow, Matches, Report
from royalty.infra.stores.artifacts import ArtifactStore, write_changed
from royalty.tasks.report.composing import STRIPS
from royalty.tasks.report.contents import Contents

TILES = 12
"""Images of each of two methods that a page shows."""
PERIODS = 12


@dataclass(frozen=True)
class ContributorPages:
    """Pages whose text and images all differ, and which are made when they are asked for."""

    number: int

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[ContributorPage]:
        draw = random.Random(0)
        images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
        pictures = [sheet(image[np.newaxis], 1) for image in images]
        for place in range(self.number):
            credit = draw.gauss(1.0, 0.5)
            row = ContributorRow(
                name=f"contributor {place:07}",
                items=40,
                credit=credit,
                stderr=abs(credit) / 20,
                ci_low=credit - abs(credit) / 10,
                ci_high=credit + abs(credit) / 10,
                share=1 / self.number,
                amount=f"€{draw.randrange(10_000) / 100:.2f}",
                strip=pictures[place % 64] if place < STRIPS else b"",
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
            since = "2026-11-01T00:00:00+00:00"
            yield ContributorPage(row, self.number, (), None, values, history, credit, since, changes)


def contents_of(number: int) -> Contents:
    """Contents of a run of very many contributors."""
    pages = ContributorPages(number)
    report = Report(
        title="demo", created_at="2026-11-30T00:00:00+00:00", leader=None, headline="Nobody leads.",
        utility_name="Score", utility_meaning="A score.", null_utility=0.0, grand_utility=1.0, real_utility=2.0,
        coalitions=50, coalition_model="a model", interval_covers="draws", confidence=0.95,
        rows=tuple(page.row for page in pages), models=(), step_images=64, generated=sheet(np.zeros((1, 1, 8, 8)), 1),
        matches=Matches(images=256, shown=(), shares=(("nobody", 1.0),), agreement=None, diagnostics=()),
        paid="€9.00", pool="€9.00", pool_name="fund", statement=None, refusal=None, policy="", remarks=(), checks=(),
        diagnostics=(), notes=(), settings=(), timings=(), identifiers=(),
    )  # fmt: skip
    return Contents(report, pages, "€9.00", (), shipped_language("en"))


def write_pages(contents: Contents, folder: Path) -> int:
    """Keep contents, render and store the pages, and write them and one file of all, as the report's task does.

    Returns:
        The number of pages.
    """
    store = ArtifactStore(folder / "artifacts")
    kept = Contents.open(store.verified(store.put_pieces(contents.pieces())))
    pages = store.put_all((file, html.encode()) for file, html in kept.render())
    with (folder / "together.html").open("wb") as stream:
        stream.writelines(
            map(str.encode, combined((file, store.get(digest).decode()) for file, digest in pages.items()))
        )
    write_changed((folder / "pages" / file, store.get(digest)) for file, digest in pages.items())
    return len(pages)
