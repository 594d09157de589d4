"""Models with and without contributors, for contributors to look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from royalty.flows.gallery import gallery
from royalty.infra.pages.gallery import GalleryPage, OwnRow, PropertyChart, render_gallery
from royalty.infra.pages.gallery_section import GalleryRow
from royalty.infra.pages.pictures import sheet
from royalty.models.base.errors import InputError
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.judge.gallery import Shown, shown_coalitions, shown_properties
from royalty.tasks.judge.gallery_publication import agreements
from tests.browser import Browser
from tests.conftest import Run
from tests.flows.test_evaluate import TINY
from tests.watching import Watch

PEOPLE = tuple(OwnRow(f"p{row}", 1.0 - row / 10, 10 + row, (None if row == 9 else float(row),)) for row in range(10))


def test_contributors_of_highest_credit_are_left_out_and_each_is_shown_alone() -> None:
    credit = {"ann": 0.1, "bob": 0.9, "cyd": -0.2, "dan": 0.5, "eve": 0.4}
    assert shown_coalitions(credit, ["ann", "bob", "cyd", "dan", "eve"]) == [
        Shown("everybody", ("ann", "bob", "cyd", "dan", "eve")),
        Shown("without the 1 of highest credit", ("ann", "cyd", "dan", "eve")),
        Shown("without the 2 of highest credit", ("ann", "cyd", "eve")),
        Shown("nobody", ()),
        *(Shown(f"only {name}", (name,)) for name in ("bob", "dan", "eve", "ann", "cyd")),
    ]
    assert [each.title for each in shown_coalitions({"ann": 1.0}, ["ann"])] == ["everybody", "nobody", "only ann"]
    many = {f"p{row:02}": float(-row) for row in range(60)}
    alone = [each.title for each in shown_coalitions(many, list(many)) if each.title.startswith("only ")]
    assert alone == [f"only p{row:02}" for row in (*range(12), *range(48, 60))]


def test_groups_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("royalty.flows.gallery.prepare", lambda config, check: check(list("abcde"), config))
    config = CreditConfig.model_validate({"coalitions": {"count": 6, "groups": 3}})
    with pytest.raises(InputError, match=r"`coalitions\.groups`: .* orders the models of a gallery; got 3"):
        gallery.fn(config)


def test_the_property_of_a_run_is_not_shown_twice() -> None:
    assert shown_properties("inception-score") == ["inception-score", "diversity", "kid"]
    assert shown_properties("kid@pixels") == ["kid@pixels", "diversity"]


def test_agreement_with_credit_is_by_ranks_and_needs_five_contributors_and_differences() -> None:
    images, variety = agreements(PEOPLE, ["class entropy"])
    assert images.startswith("Rank correlation of credit with the number of training images: -1.00 (p = ")
    assert "10 contributors" in images
    assert "9 contributors" in variety
    assert agreements(PEOPLE[:4], ["class entropy"]) == []
    assert agreements([OwnRow(row.name, row.credit, 7, ()) for row in PEOPLE], []) == []


@pytest.mark.browser
def test_the_page_is_accessible_and_names_no_interval_of_one_training(tmp_path: Path) -> None:
    strip = sheet(np.zeros((4, 1, 8, 8), np.uint8), 4)
    rows = (GalleryRow("everybody", strip, 2.5, 2.25, 2.75), GalleryRow("only <b>Ann</b>", strip, 1.5, 1.5, 1.5))
    page = GalleryPage(
        title="May",
        method="By the method `sparsified`.",
        seeds=1,
        hidden=0,
        charts=(PropertyChart("Inception Score", "How recognizable.", rows),),
        variety=("class entropy",),
        own=PEOPLE,
        agreements=("Rank correlation.",),
    )
    text = render_gallery(page)
    assert "Each model was trained once, so" in text
    assert "only &lt;b&gt;Ann&lt;/b&gt;" in text
    assert "<code>sparsified</code>" in text
    assert "2.25 to 2.75" in text
    assert "1.50 to" not in text
    assert "too few" in text
    (tmp_path / "gallery.html").write_text(text, encoding="utf-8")
    with Browser() as browser:
        for width in (390, 1280):
            browser.resize(width, 900)
            browser.open((tmp_path / "gallery.html").as_uri())
            assert browser.accessibility() == [], width
            assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_gallery_uses_the_models_of_its_run(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        TINY.replace("batch_size: 16}\nevaluation", "batch_size: 16, count: 14}\nevaluation")
    )
    ran = royalty("run", "--config", "tiny.yaml", "--accept-uncertainty", "--json")
    assert ran.returncode in (0, 1), ran.stderr  # the payout may be refused
    done = royalty("evaluate", "gallery", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    table = pd.read_csv(Path(result["folder"]) / "gallery.csv")
    assert set(table["property"]) == {"inception-score", "diversity", "kid"}
    assert table.groupby("property")["models"].apply(list).map(len).tolist() == [9, 9, 9]
    assert (table["seeds"] == 2).all()
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    own = pd.read_csv(Path(result["folder"]) / "own-images.csv")
    assert own["credit"].is_monotonic_decreasing
    assert own["class-entropy"].between(0, np.log(10)).all()
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert 'href="gallery.html"' in report
    assert report.count("Images by the model of") == 4, "everybody, two without the highest, nobody"
    page = (Path(result["folder"]) / "gallery.html").read_text(encoding="utf-8")
    assert page.count("Images by the model of") == 9
    assert watch.stages >= {"credit", "samples", "own-images", "write-gallery"}
