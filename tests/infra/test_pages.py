"""Pages in a real browser: whole at two widths, accessible, and deaf to what names hold; and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from royalty.infra.pages.contributors import (
    ContributorPage,
    HistoryRow,
    ImageValues,
    PartsOfImages,
    PartTile,
    Tile,
    file_of,
    render_pages,
)
from royalty.infra.pages.detected import DetectedPage, Section, Suspect, render_detected
from royalty.infra.pages.gallery import GalleryPage, OwnRow, PropertyChart, render_gallery
from royalty.infra.pages.gallery_section import GalleryRow, GallerySection
from royalty.infra.pages.language import shipped_language
from royalty.infra.pages.report import Alphabet, ContributorRow, Report, render_report
from royalty.infra.pages.trace import Step, Trace, render_trace
from tests.browser import Browser
from tests.infra.test_report import PAIRED, PICTURE, SUBSTITUTES, report, shown  # noqa: F401  a fixture

pytestmark = pytest.mark.browser
WIDTHS = (1280, 390)
SCRIPT = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
NAMES = (SCRIPT, "محمد بن موسى الخوارزمي", "王小明" * 40, "x" * 300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture
def pages(report: Report) -> dict[str, str]:  # noqa: F811
    """Every page, by its file, with names that try to do harm."""
    rows = [replace(report.rows[index % 3], name=name) for index, name in enumerate(NAMES)]
    values = ImageValues("sava", 1.5, 4.0, None, tuple(Tile("ab" * 32, PICTURE, 0.5, SCRIPT) for _ in range(14)))
    history = (
        HistoryRow(SCRIPT, "2030-01-02T03:04+00:00", "division", None, "€1.00", False, (SCRIPT, "Credit: the same.")),
        HistoryRow("june", "x", "release", 1.0, "€2.00", True),
    )
    changes = (("Credit", "+1", "+2"),)
    composed = [
        ContributorPage(row, 4, (SCRIPT,), None, (values,), history, 1.0, "2029-12-02T03:04+00:00", changes)
        for row in rows
    ]
    composed[-1] = replace(composed[-1], changes=None, before=None, history=(), values=())
    composed[1] = replace(composed[1], moved=(SCRIPT, "Images of others: the same."))
    step = Step(
        "Credit table", "ab" * 32, "changed", ((SCRIPT, "x" * 300),), SCRIPT, "c0ffee", "f", "e" * 32, asked=True
    )
    trace = Trace(SCRIPT, "run", SCRIPT, (step, replace(step, state="verified", problem=None)), 1, (SCRIPT,))
    pairs = tuple(replace(SUBSTITUTES, first=name, second=SCRIPT) for name in NAMES[1:])
    composed[1] = replace(composed[1], pairs=pairs[:1])
    composed[2] = replace(composed[2], pairs=())
    parts = tuple(PartTile("cd" * 32, PICTURE, 0.5, SCRIPT, "", place, 0.125, "€1,000.00") for place in range(1, 13))
    composed[0] = replace(composed[0], parts=PartsOfImages(1_234, 1_024, True, parts, parts[:6]))
    made = rendered(composed, report)
    models = tuple(GalleryRow(name, PICTURE, 1.5, 1.25, 1.75) for name in ("everybody", SCRIPT, "nobody"))
    report = replace(report, gallery=GallerySection("gallery.html", 2, models))
    whole = render_report(replace(report, rows=tuple(rows), interactions=replace(PAIRED, rows=(*PAIRED.rows, *pairs))))
    return {"report.html": whole, "trace.html": render_trace(trace), **made}


def rendered(composed: Sequence[ContributorPage], report: Report, value: str = "shapley") -> dict[str, str]:  # noqa: F811
    """Pages of contributors, by their file, for two models that are two points apart."""
    made = render_pages(
        composed,
        title="demo",
        created_at=report.created_at,
        utility_name="Score",
        utility_meaning="A score.",
        utilities=(1.0, 3.0),
        level="95%",
        pool="€9.00",
        terms=(report.policy,),
        language=shipped_language("en"),
        value=value,
    )
    return dict(made)


def test_a_page_accounts_for_every_image_and_every_number(pages: dict[str, str], report: Report) -> None:  # noqa: F811
    row = replace(report.rows[0], name="ann", items=90, held_out=46, credit=0.5)
    values = ImageValues("gmvaluator", 13.084, 52.336, 0.25, ())
    page = ContributorPage(row, 3, (), None, (values,), (), None, None, None)
    made = rendered([page], report)
    whole = " ".join(re.sub(r"<[^>]+>", " ", made[file_of("ann")]).split())
    assert "Images brought 136 Trained on 90 Held out 46" in whole
    assert "Of 136 distinct images brought, 90 were trained on. The other 46 were held out" in whole
    assert re.search(r"sum to \+2\.0+ points: 3\.0+ for the model trained on everybody.s images, less 1\.0+", whole)
    assert re.search(r"\+0\.50+ is 25\.0% of that sum", whole)
    assert (
        "sum to 13.084. Those of all contributors\u2019 images sum to 52.336, so that this is a share of 25.0%" in whole
    )
    index = " ".join(re.sub(r"<[^>]+>", " ", made["index.html"]).split())
    assert re.search(r"ann \S+ 136 90 \+0\.50", index)
    all_used = rendered([replace(page, row=replace(row, held_out=0))], report)[file_of("ann")]
    assert "All 90 distinct images brought were trained on." in all_used
    unknown = rendered([replace(page, row=replace(row, held_out=None))], report)[file_of("ann")]
    assert "Images brought" not in unknown
    assert "Trained on" in unknown


@pytest.mark.parametrize("value", ["banzhaf", "beta", "images", "groups"])
def test_a_page_says_what_value_its_credit_is(report: Report, value: str) -> None:  # noqa: F811
    row = replace(report.rows[0], name="ann", credit=0.5)
    page = ContributorPage(row, 3, (), None, (), (), None, None, None)
    whole = " ".join(re.sub(r"<[^>]+>", " ", rendered([page], report, value)[file_of("ann")]).split())
    summing = value in {"images", "groups"}
    assert ("contributors sum to +2" in whole) == summing
    assert ("of that sum" in whole) == summing
    assert ("need not sum to the +2" in whole) != summing
    assert ("added to those of a group of other contributors" in whole) != summing


def test_parts_of_images_say_what_they_are(report: Report) -> None:  # noqa: F811
    tile = PartTile("cd" * 32, PICTURE, 0.25, "", "", 1, 0.5, "€2.00")

    def text(credit: float, **changes: Any) -> str:
        row = replace(report.rows[0], name="ann", credit=credit, amount="€4.00")
        parts = replace(PartsOfImages(2, 100, False, (tile, replace(tile, place=2)), ()), **changes)
        page = ContributorPage(row, 3, (), None, (), (), None, None, None, parts=parts)
        return " ".join(re.sub(r"<[^>]+>", " ", rendered([page], report)[file_of("ann")]).split())

    captioned = (replace(tile, about="grinning face · CC BY-SA 4.0 · 2018-12-31"),)
    assert "cdcdcdcd grinning face · CC BY-SA 4.0 · 2018-12-31" in text(0.5, highest=captioned)
    whole = text(0.5)
    assert "Credit is about this model and the property measured here, its Score. It says nothing about any" in whole
    assert "is divided among the 2 images trained on. An image has a larger part if" in whole
    assert re.search(r"All images, highest part first 1\. \+0\.25\S* 50\.0% · €2\.00 cdcdcdcd 2\. ", whole)
    assert "amounts to €4.00, to the smallest unit" in whole
    assert "charged less" not in whole
    assert "shows its label less clearly counts less" not in whole
    assert "charged less" in text(-0.5, legible=True)
    assert "shows its label less clearly counts less" in text(-0.5, legible=True)
    assert "Every image has an equal part" in text(0.5, references=0)
    unpaid = text(0.5, highest=(replace(tile, amount=""),), lowest=(replace(tile, amount=""),))
    assert "amounts to" not in unpaid
    assert "Highest parts 1. " in unpaid
    assert "Lowest parts 1. " in unpaid


def test_an_amount_says_what_it_is_a_share_of_and_why_it_differs(report: Report) -> None:  # noqa: F811
    paid, unsure, negative = (
        replace(row, name=name) for row, name in zip(report.rows, ("ann", "bob", "cy"), strict=True)
    )

    def text(row: ContributorRow, **changes: Any) -> str:
        page = replace(ContributorPage(row, 3, (), None, (), (), None, None, None), **changes)
        return " ".join(re.sub(r"<[^>]+>", " ", rendered([page], report)[file_of(row.name)]).split())

    assert "€750.00 is paid: 75.0% of the pool of €9.00. By credit, one of the places 1\u20132 of 3" in text(paid)
    assert "Amount paid €750.00 Share of the pool 75.0% of €9.00" in text(paid)
    proposed = text(paid, proposed=True)
    assert "€750.00 is proposed and not paid yet: 75.0% of the pool of €9.00." in proposed
    assert "Amount proposed €750.00" in proposed
    held = text(unsure, remarks=("in dispute, held", "€1.00 held"), received="€0.60")
    assert "€250.00 is paid; the share of the pool of €9.00 is 75.0%, and the difference is explained below" in held
    assert "differs from it: in dispute, held; €1.00 held. In proportion to positive credit." in held
    assert "€0.60 more is paid by this credit, as the history below shows" in held
    assert "cannot be told from that of somebody whose images change nothing" in held
    assert "Nothing is paid from the pool of €9.00. The credit is negative: on average, the Score fell" in text(
        negative
    )
    refused = text(paid, refusal="too uncertain", received="€0.60")
    assert "Nothing is paid on the terms of this run. €0.60 is paid by this credit on other terms" in refused
    assert "Nothing is paid on the terms of this run. too uncertain." in refused


def test_a_page_names_the_surest_substitutes_and_complements(report: Report) -> None:  # noqa: F811
    vague = replace(SUBSTITUTES, second="dee", value=-0.3, ci_low=-0.59, ci_high=-0.01)
    complement = replace(SUBSTITUTES, second="eve", value=0.2, ci_low=0.15, ci_high=0.25)
    found = replace(PAIRED, rows=(vague, complement, SUBSTITUTES, replace(SUBSTITUTES, second="fay", distinct=False)))
    assert [pair.second for pair in found.of("ann")] == ["eve", SUBSTITUTES.second, "dee"]
    assert [pair.other("dee") for pair in found.of("dee")] == ["ann"]
    assert found.of("fay") == ()
    page = ContributorPage(replace(report.rows[0], name="ann"), 3, (), None, (), (), None, None, None)
    text = shown(rendered([replace(page, pairs=found.of("ann"))], report)[file_of("ann")])
    assert "Your images matter more because those of eve complement them" in text
    assert (
        "Your images matter less because those of &lt;b&gt;bob&lt;/b&gt; show much the same: together the two of you "
        "add 0.120 [0.050, 0.190] less than separately, in points of Score." in text
    )
    none = shown(rendered([replace(page, pairs=())], report)[file_of("ann")])
    assert "No other contributor is surely a substitute or a complement of this one" in none
    assert "substitute" not in rendered([page], report)[file_of("ann")]  # a run of an earlier version, or not tested


@pytest.mark.slow
def test_pages_are_whole_accessible_and_run_nothing(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    for file, html in pages.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(html, encoding="utf-8")
    for file in pages:
        for width in WIDTHS:
            browser.resize(width)
            browser.open((tmp_path / file).as_uri())
            assert browser.run("document.documentElement.scrollWidth") <= width, (file, width)
            assert browser.run("document.title") != "taken", file
            assert "<script>" in browser.run("document.body.innerText") or file.startswith("contributors"), file
            assert browser.run("document.images.length && [...document.images].every(i => i.naturalWidth)") in (0, True)
            shown = tmp_path / "shown.png"
            browser.screenshot(shown)
            with Image.open(shown) as picture:
                assert picture.width == width
                assert picture.height > 500
                assert len(picture.convert("L").getcolors() or ()) > 10, "a page that shows nothing has one colour"
            if width == WIDTHS[1] or not file.startswith("contributors"):
                assert browser.accessibility() == [], (file, width)


SCRIPTS = ("Ana Núñez", "محمد بن موسى", "王小明", "Ελένη", "Żaneta", "דוד", "สมชาย", "Ann & <Bob>", "éric")
TEXTS = "(rows => [...document.querySelectorAll(rows)].map(row => row.innerText.trim()))"
VISIBLE = f"{TEXTS}('main tbody[data-rows] > tr > th')"


def crowd(report: Report, count: int) -> list[ContributorRow]:  # noqa: F811
    """Contributors with names of many scripts, in the order of credit: some above zero, some not told, some below."""
    rows = []
    for index in range(count):
        credit = 1.2 - 2 * index / count
        name = f"{SCRIPTS[index % len(SCRIPTS)]} {index}"
        bounds = {"ci_low": credit - 0.3, "ci_high": credit + 0.3, "rank_best": index + 1, "rank_worst": index + 3}
        rows.append(replace(report.rows[0], name=name, credit=credit, items=1000 - index, **bounds))
    return rows


@pytest.mark.parametrize("count", [27, pytest.param(121, marks=pytest.mark.slow)])
def test_many_contributors_are_found_sorted_and_grouped_in_the_page(
    browser: Browser,
    report: Report,  # noqa: F811
    tmp_path: Path,
    count: int,
) -> None:
    rows = crowd(report, count)
    composed = [ContributorPage(row, count, (), None, (), (), None, None, None) for row in rows]
    names = [row.name for row in rows]
    pages = {"report.html": render_report(replace(report, rows=tuple(rows))), **rendered(composed, report)}
    (tmp_path / "contributors").mkdir()
    for file, html in pages.items():
        (tmp_path / file).write_text(html, encoding="utf-8")
    for file, width in product(("report.html", "index.html"), WIDTHS):
        browser.resize(width)
        browser.open((tmp_path / file).as_uri())
        assert browser.run("document.documentElement.scrollWidth") <= width, (file, width)
    browser.open((tmp_path / "index.html").as_uri())  # on a narrow page
    assert browser.run(VISIBLE) == names
    browser.run("choose = (list, value) => { list.value = value; list.dispatchEvent(new Event('change')) }; 0")
    browser.run("type = text => { const box = document.querySelector('[type=search]'); box.value = text;"
                "box.dispatchEvent(new Event('input')) }; 0")  # fmt: skip
    browser.run("type('мой'); 0")
    assert browser.run(VISIBLE) == []
    browser.run("type('ÉRIC'); 0")
    assert browser.run(VISIBLE) == [name for name in names if name.startswith("éric")]
    assert browser.run("document.querySelector('[role=status]').innerText") == f"{count // 9} of {count}"
    browser.run("type(''); choose(document.querySelectorAll('.tools select')[0], '3'); 0")
    assert browser.run(VISIBLE) == names, "most images first"
    browser.resize(WIDTHS[0])
    browser.run("document.querySelectorAll('thead button')[3].click()")
    assert browser.run(VISIBLE) == names[::-1]
    assert browser.run("document.querySelectorAll('thead th')[3].ariaSort") == "ascending"
    browser.run("document.querySelectorAll('thead button')[0].click()")
    assert set(browser.run(VISIBLE)) == set(names)
    assert browser.run(VISIBLE) != names[::-1]
    browser.run("choose(document.querySelectorAll('.tools select')[1], 'group'); 0")
    told = sum(row.told_from_nobody for row in rows)
    titles = browser.run(f"{TEXTS}('tr.group')")
    assert f"Cannot be told from nobody\u2019s credit ({count - told})" in titles
    assert len(titles) == 3
    assert sum(int(title.rpartition("(")[2][:-1]) for title in titles) == count
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.run(f"{TEXTS}('.chart li:not(.group) .name')") == names
    browser.run("choose = (list, value) => { list.value = value; list.dispatchEvent(new Event('change')) }; 0")
    browser.run("choose(document.querySelector('[aria-labelledby=credit] .tools select'), '2'); 0")
    assert browser.run(f"{TEXTS}('.chart li .name')") == names[::-1], "lowest credit first"
    browser.run("choose(document.querySelector('[aria-labelledby=credit] .tools select'), '4'); 0")
    assert browser.run(f"{TEXTS}('.chart li .name')") == names, "most images first"
    browser.run("choose(document.querySelector('[aria-labelledby=credit] .tools select'), '0'); 0")
    sorted_names = browser.run(f"{TEXTS}('.chart li .name')")
    assert sorted_names != names
    assert set(sorted_names) == set(names)
    browser.run("choose(document.querySelector('[aria-labelledby=credit] .tools select'), ''); 0")
    assert browser.run(f"{TEXTS}('.chart li .name')") == names


def test_rows_of_an_index_are_low_on_a_phone(browser: Browser, report: Report, tmp_path: Path) -> None:  # noqa: F811
    rows = crowd(report, 27)
    composed = [ContributorPage(row, 27, (), None, (), (), None, None, None) for row in rows]
    (tmp_path / "index.html").write_text(rendered(composed, report)["index.html"], encoding="utf-8")
    browser.resize(WIDTHS[1])
    browser.open((tmp_path / "index.html").as_uri())
    heights = browser.run("[...document.querySelectorAll('tbody tr')].map(row => row.offsetHeight)")
    assert max(heights) < 130, "a third of a screen for three contributors"
    everything = browser.run("document.querySelector('tbody tr').innerText")
    assert rows[0].name in everything
    label = "getComputedStyle(document.querySelector('tbody td:nth-child(3)'), '::before').content"
    assert "Images brought" in browser.run(label)
    assert browser.run("document.documentElement.scrollWidth") <= WIDTHS[1]


def test_columns_of_an_alphabet_line_up(browser: Browser, report: Report, tmp_path: Path) -> None:  # noqa: F811
    labels = tuple((f"label {place}" if place % 3 else "a-label-of-many-words", PICTURE) for place in range(82))
    html = render_report(replace(report, alphabet=Alphabet(labels, 0.5, 480)))
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    for width in WIDTHS:
        browser.resize(width)
        browser.open((tmp_path / "report.html").as_uri())
        left = browser.run("[...document.querySelectorAll('.alphabet li')].map(item => Math.round(item.offsetLeft))")
        columns = len(set(left))
        assert left == [left[place % columns] for place in range(82)], width


def test_a_sheet_is_a_whole_multiple_on_a_phone(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(pages["report.html"], encoding="utf-8")
    for width in (390, 360, 320):
        browser.resize(width)
        browser.open((tmp_path / "report.html").as_uri())
        shown = browser.run("document.querySelector('.sheet img').getBoundingClientRect().width")
        own = browser.run("document.querySelector('.sheet img').naturalWidth")
        assert shown % own == 0, (width, shown, own)
        assert width - 40 - own < shown <= width - 40
        assert browser.run("getComputedStyle(document.querySelector('.sheet img')).imageRendering") == "pixelated"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_in_both_schemes(
    browser: Browser,
    pages: dict[str, str],
    report: Report,  # noqa: F811
    tmp_path: Path,
    scheme: str,
) -> None:
    rows = crowd(report, 121)
    composed = [ContributorPage(row, 121, (), None, (), (), None, None, None) for row in rows]
    labels = tuple((f"label {place}", PICTURE) for place in range(82))
    many = render_report(replace(report, rows=tuple(rows), alphabet=Alphabet(labels, 0.5, 480)))
    model = GalleryRow("<b>everybody</b>", PICTURE, 2.5, 2.25, 2.75)
    own = tuple(OwnRow(row.name, row.credit, row.items, (0.5, None)) for row in rows)
    chart = PropertyChart("Score", "A score.", (model, replace(model, name="nobody")))
    gallery = GalleryPage("May", "By `pruned`.", 2, 3, (chart,), ("class entropy", "diversity"), own, ("A sentence.",))
    suspect = Suspect("ab" * 32, SCRIPT, PICTURE, PICTURE, "x.png", "3", "8", 0.9, 1e-5, True)
    section = Section("Label", "The label does not fit.", 1, (suspect, replace(suspect, image=None, nearest=None)))
    others = {
        "many.html": many,
        "many-index.html": rendered(composed, report)["index.html"],
        "gallery.html": render_gallery(gallery),
        "detected.html": render_detected(DetectedPage("May", 900, 1, 0.1, False, ("A note.",), (section,))),
    }
    browser.scheme(scheme)
    for file, html in {**pages, **others}.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(html, encoding="utf-8")
        for width in WIDTHS:
            browser.resize(width)
            browser.open(path.as_uri())
            assert browser.run("document.documentElement.scrollWidth") <= width, (file, width)
            assert browser.accessibility() == [], (file, width)
    browser.scheme("light")


@pytest.mark.parametrize("scheme", [pytest.param("dark", marks=pytest.mark.slow), "light"])
def test_tools_are_accessible(browser: Browser, report: Report, tmp_path: Path, scheme: str) -> None:  # noqa: F811
    rows = crowd(report, 15)
    composed = [ContributorPage(row, 15, (), None, (), (), None, None, None) for row in rows]
    pages = {"report.html": render_report(replace(report, rows=tuple(rows))), **rendered(composed, report)}
    browser.scheme(scheme)
    for file, width in product(("report.html", "index.html"), WIDTHS):
        (tmp_path / file).write_text(pages[file], encoding="utf-8")
        browser.resize(width)
        browser.open((tmp_path / file).as_uri())
        browser.run("for (const list of document.querySelectorAll('.tools label:last-of-type select'))"
                    "{ list.value = 'group'; list.dispatchEvent(new Event('change')) }; 0")  # fmt: skip
        assert browser.run("document.querySelectorAll('.group').length") >= 3
        assert browser.accessibility() == [], (file, width)
    browser.scheme("light")


def test_few_contributors_need_no_tools(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(pages["report.html"], encoding="utf-8")
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.run("document.querySelectorAll('.tools, thead button').length") == 0


def test_pictures_open_large_and_close(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(pages["report.html"], encoding="utf-8")
    browser.resize(WIDTHS[0])
    browser.open((tmp_path / "report.html").as_uri())
    small = browser.run("document.querySelector('.sheet img').width")
    browser.run("document.querySelector('.sheet .opens').click()")
    large = browser.run("document.querySelector('dialog[open] img').getBoundingClientRect().width")
    assert large >= 2 * small or large + 26 > 0.95 * WIDTHS[0] - small
    assert large % 26 == 0, "a whole multiple"
    assert browser.accessibility() == []
    browser.run("document.querySelector('dialog button').click()")
    browser.until("!document.querySelector('dialog')")  # the event of its closing comes in a later task


def test_the_index_leads_to_every_page(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "contributors").mkdir()
    for file, html in pages.items():
        (tmp_path / file).write_text(html, encoding="utf-8")
    browser.open((tmp_path / "index.html").as_uri())
    found = browser.run("[...document.querySelectorAll('tbody a')].map(a => [a.innerText, a.href])")
    assert [name for name, _ in found] == list(NAMES)
    assert [Path(address).name for _, address in found] == [Path(file_of(name)).name for name in NAMES]
    browser.open(found[0][1])
    assert browser.run("document.querySelector('h1').innerText") == SCRIPT
    assert browser.run("[...document.querySelectorAll('header a')].map(a => a.href)") == [
        (tmp_path / page).as_uri() for page in ("index.html", "report.html")
    ]


def test_a_page_prints_on_whole_sheets(browser: Browser, pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(pages[file_of(NAMES[1])], encoding="utf-8")
    browser.open((tmp_path / "page.html").as_uri())
    browser.pdf(tmp_path / "page.pdf")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95" in printed, "A4, as the style sheet says"
