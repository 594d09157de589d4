"""Pages of many contributors: what each shows is computed for all at once, and only pages that change are written."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.contributors import ImageValues
from royalty.infra.pages.language import Language, shipped_language
from royalty.infra.pages.report import Report
from royalty.infra.stores import artifacts
from royalty.infra.stores.artifacts import StoreError, write_changed
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import PayOutputs
from royalty.tasks.report import composing
from royalty.tasks.report.background import Valuation
from royalty.tasks.report.contents import Contents
from royalty.tasks.report.contributors import TILES, _valued
from royalty.tasks.report.payment_pages import _histories
from tests.benchmarks import many_pages
from tests.benchmarks.many_pages import ContributorPages, contents_of, write_pages
from tests.infra.test_report import report  # noqa: F401  a fixture

PEOPLE = ("ann", "bob", "cy", "dee")
IMAGES = 60
PER_CONTRIBUTOR = 16_000
"""Most bytes of memory that writing pages takes for each contributor more."""


@pytest.fixture
def background() -> Any:
    """Images of up to four people each, two valuations that lack some of them, and one that has others too."""
    rng = np.random.default_rng(3)
    ids = tuple(f"{place:064x}" for place in range(IMAGES))
    membership = rng.random((IMAGES, len(PEOPLE))) < 0.4
    membership[:, 3] = False
    images = rng.integers(0, 255, (IMAGES, 1, 4, 4), dtype=np.uint8)
    tables = [
        pd.DataFrame({"id": rng.permutation([*ids, "other"]), "value": rng.random(IMAGES + 1)}),
        pd.DataFrame({"id": rng.permutation(ids)[:30], "value": rng.normal(size=30)}),
    ]
    return SimpleNamespace(
        train=SimpleNamespace(contributors=PEOPLE, membership=membership, ids=ids, images=images),
        valuations=[Valuation(name, "", table) for name, table in zip(("gmvaluator", "lava"), tables, strict=True)],
        files={"bob": {ids[5]: "five.png"}},
        about={},
    )


def test_values_are_those_of_the_images_of_each_contributor(background: Any) -> None:
    valued, train = _valued(background), background.train
    for place, name in enumerate(PEOPLE):
        own = [identity for identity, member in zip(train.ids, train.membership[:, place], strict=True) if member]
        for valuation, shown in zip(background.valuations, valued(name), strict=True):
            table = valuation.table.set_index("id")["value"]
            expected = table[table.index.isin(own)].sort_values(ascending=False)
            assert isinstance(shown, ImageValues)
            assert shown.total == pytest.approx(expected.sum())
            assert shown.whole == pytest.approx(table.sum())
            assert [tile.id for tile in shown.tiles] == expected[expected > 0].index[:TILES].tolist()
            assert {tile.file_name for tile in shown.tiles if tile.id != train.ids[5]} <= {""}
    assert valued("bob")[0].share == pytest.approx(valued("bob")[0].total / valued("bob")[0].whole)
    assert valued("bob")[1].share is None
    assert valued("dee")[0].total == 0


def test_histories_name_who_a_statement_moves_money_of() -> None:
    paid = {"ann": 100, "bob": 50}
    plain = Posted(
        "1", "june", "", "division", "table", None, None, 1, "2026-06-01", "EUR", 150, "", paid, paid, active=False
    )
    again = replace(plain, active=True, paid={"ann": 100}, held={"cy": 7})
    moved = [{*posted.paid, *posted.held} for posted in (plain, again)]
    history = _histories((plain, again), moved, {"table": {"ann": 0.5}}, {}, {}, shipped_language("de"))
    rows = {name: [*history(name)] for name in PEOPLE}
    assert [(row.kind, row.active, row.credit) for row in rows["ann"]] == [
        ("division", False, 0.5),
        ("replacement", True, 0.5),
    ]
    assert [(row.kind, row.amount) for row in rows["cy"]] == [("replacement", "0,07\xa0€ zurückgehalten")]
    assert rows["dee"] == []
    assert [(row.kind, row.amount) for row in rows["bob"]] == [("division", "0,50\xa0€")]


def test_only_pages_that_changed_are_written(tmp_path: Path) -> None:
    files = {tmp_path / "pages" / f"{number}.html": str(number).encode() for number in range(40)}
    write_changed(files.items())
    for path in files:
        os.utime(path, (1, 1))
    changed = next(iter(files))
    write_changed({**files, changed: b"new"}.items())
    assert changed.read_bytes() == b"new"
    assert [path for path in files if path.stat().st_mtime != 1] == [changed]
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "pages", *files])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        write_changed([(tmp_path / "file" / "page.html", b"text")])


def test_files_are_asked_for_as_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk slower than what makes the files: they do not wait in memory."""
    written: list[Path] = []
    waiting: list[int] = []

    def slow(path: Path, _payload: bytes) -> None:
        time.sleep(0.005)
        written.append(path)

    def made() -> Iterator[tuple[Path, bytes]]:
        for number in range(200):
            waiting.append(number - len(written))
            yield tmp_path / f"{number}.html", b"page"

    monkeypatch.setattr(artifacts, "write_whole", slow)
    write_changed(made())
    assert len(written) == 200
    assert max(waiting) <= 3 * artifacts.WRITERS


def test_pages_with_the_texts_of_another_version_are_not_written_again(report: Report, tmp_path: Path) -> None:  # noqa: F811
    english, file = shipped_language("en"), tmp_path / "contents"
    made = Contents(report, tuple(ContributorPages(3)), "€1.00", (), english)
    file.write_bytes(b"".join(made.pieces()))
    kept = Contents.open(file)
    assert replace(kept, contributors=tuple(kept.contributors)) == made
    old = Language("en", {name: text for name, text in english.sentences.items() if name != "moved"})
    file.write_bytes(b"".join(replace(made, language=old).pieces()))
    with pytest.raises(StoreError, match="another version of Royalty wrote them"):
        Contents.open(file)


def test_pages_are_made_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each contributor more takes is a row of the index and of the report, and no page and no image."""
    monkeypatch.setattr(many_pages, "STRIPS", 10)

    def peak(number: int) -> int:
        contents = contents_of(number)
        tracemalloc.start()
        written = write_pages(contents, tmp_path / str(number))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert written == number + 2
        return most

    peak(1)  # templates are compiled
    few, many = peak(20), peak(80)
    assert (many - few) / 60 < PER_CONTRIBUTOR


def test_a_report_of_many_shows_images_of_some(background: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "STRIPS", 2)
    table = pd.DataFrame(
        {"contributor": PEOPLE, "items": 1, "credit": 1.0, "stderr": 0.0, "ci_low": 0.0, "ci_high": 2.0}
    )
    table = table.assign(rank_best=1, rank_worst=4)
    rows = composing._rows(table, background.train, PayoutConfig(), PayOutputs("none", {}, 0, "", []), {})
    assert [row.name for row in rows if row.strip] == ["ann", "bob"]
    assert [row.name for row in rows] == [*PEOPLE]
