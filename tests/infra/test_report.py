"""The report: self-contained, escaped, and right about the numbers it shows."""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from royalty.infra.pages.interactions import Interactions, PairRow
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import (
    Alphabet,
    ContributorRow,
    CopyRow,
    Matches,
    MatchRow,
    ModelRow,
    Report,
    SourceRow,
    environment,
    render_report,
)

PICTURE = sheet(np.arange(3 * 64, dtype=np.uint8).reshape(3, 1, 8, 8), 12)
SOURCE = SourceRow(PICTURE, ("<b>ann</b>", "محمد"), 0.3, "A in <b>Roboto</b>, OFL-1.1")


@pytest.fixture
def report() -> Report:
    row = ContributorRow("ann", 10, 1.5, 0.2, 1.1, 1.9, 0.75, "€750.00", PICTURE, 1, 2)
    return Report(
        title="demo",
        created_at="2030-01-02T03:04+00:00",
        leader=None,
        headline="The intervals do not tell which.",
        utility_name="Inception Score",
        utility_meaning="How recognizable.",
        null_utility=1.0,
        grand_utility=3.0,
        real_utility=9.0,
        coalitions=50,
        coalition_model="the pruned model, finetuned",
        interval_covers="which coalitions happened to be measured",
        confidence=0.95,
        rows=(
            row,
            replace(row, name="<script>alert(1)</script>", credit=0.7, ci_low=-0.1, ci_high=1.5, amount="€250.00"),
            replace(
                row,
                name="محمد " + "x" * 200,
                credit=-0.2,
                ci_low=-0.4,
                ci_high=-0.1,
                share=0.0,
                amount="€0.00",
                rank_best=3,
                rank_worst=3,
            ),
        ),
        models=(ModelRow("base", 1000, 5000, 0.25, 3.1), ModelRow("pruned", 500, 2500, 0.1255, 2.9)),
        step_images=64,
        generated=PICTURE,
        matches=Matches(
            images=256,
            shown=(MatchRow(PICTURE, "<i>A</i>", (SOURCE,) * 3, (("<b>ann</b>", 0.6), ("bob", 0.25))),),
            shares=(("ann", 0.61), ("<script>alert(2)</script>", 0.3), ("cy", 0.09)),
            agreement=0.42,
            diagnostics=(("Effectively", "13.4"),),
        ),
        paid="€999.00",
        pool="€1,000.00",
        pool_name="may",
        statement="abc123",
        refusal=None,
        policy="In proportion to positive credit.",
        remarks=(("<i>cy</i>", "in dispute, held"),),
        checks=("<u>ann</u> and bob have 100% of the smaller one's images in common",),
        diagnostics=(("Pairs", "24"),),
        notes=("A note.",),
        settings=(("seed", "0"),),
        timings=(("train", "1.0 s", "0.9 s", ""),),
        identifiers=(("MLflow run", "f00"),),
    )


def test_an_alphabet_has_an_image_and_a_name_for_each_label(report: Report) -> None:
    assert "In the hand of" not in render_report(report)
    alphabet = Alphabet((("A", PICTURE), ("<b>", PICTURE)), legible=0.9125, images=480)
    html = render_report(replace(report, alphabet=alphabet))
    assert 'alt="Generated image of A"' in html
    assert "<bdi>&lt;b&gt;</bdi>" in html
    assert "480 such images, the classifier of this run reads 91.2% as" in " ".join(html.split())


SUBSTITUTES = PairRow("ann", "<b>bob</b>", -0.12, -0.19, -0.05, distinct=True)
COMPLEMENTS = PairRow("cy", "x" * 300, 0.08, 0.03, 0.13, distinct=False)
PAIRED = Interactions((SUBSTITUTES, COMPLEMENTS), named=2, tested=190, unresolved=7, common=-0.02, omitted="")


def shown(html: str) -> str:
    """The text of a page, with single spaces."""
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


def test_who_substitutes_whom_is_in_words_and_in_a_chart(report: Report) -> None:
    assert "Who substitutes whom" not in render_report(report)  # a run of an earlier version
    html = render_report(replace(report, interactions=PAIRED))
    text = shown(html)
    bob = "ann and &lt;b&gt;bob&lt;/b&gt; are substitutes"
    assert f"{bob}: together they add 0.120 [0.050, 0.190] less than the two add separately." in text
    assert "are complements: together they add 0.080 [0.030, 0.130] more than the two add separately." in text
    assert "at most 5% are expected to be so by chance" in text
    assert "say nothing about 7 of 190 pairs" in text
    assert "strongest of" not in text
    chart = html.partition('aria-labelledby="interactions-title"')[2].partition("</figure>")[0]
    assert chart.count("<li>") == 2
    assert chart.count('class="mark negative"') == chart.count('class="mark positive"') == 1
    assert chart.count("no more than the average pair") == 1
    many = replace(PAIRED, rows=(SUBSTITUTES,) * 40, named=250)
    html = render_report(replace(report, interactions=many))
    assert "The chart has the 12 strongest of 250 such pairs." in shown(html)
    assert html.count("less than the two add separately") == 3


def test_a_report_without_sure_pairs_says_so_or_why(report: Report) -> None:
    none = render_report(replace(report, interactions=replace(PAIRED, rows=(), named=0)))
    assert "No two contributors are surely substitutes or complements." in none
    assert "interactions-title" not in none
    omitted = Interactions((), 0, 0, 0, 0.0, "there are <too> many")
    html = render_report(replace(report, interactions=omitted))
    assert "No pair of contributors was tested: there are &lt;too&gt; many." in html
    assert "No two contributors" not in html
    assert "say nothing about" not in html


@pytest.mark.parametrize(
    ("value", "meaning", "summing"),
    [
        ("shapley", "over every order in which all 3 contributors could be added (the Shapley value)", True),
        ("banzhaf", "over all groups, each of which counts the same (the Banzhaf value)", False),
        ("beta", "where those of some sizes count more than others (a Beta value)", False),
        ("images", "in which all images could be added (the faithful group Shapley value)", True),
        ("groups", "Members divide it by what their images contribute to generated ones", True),
    ],
)
def test_the_report_says_what_value_its_credit_is(report: Report, value: str, meaning: str, summing: bool) -> None:
    text = shown(render_report(replace(report, value=value)))
    assert meaning in text
    assert ("in which all 3 contributors could be added" in text) == (value == "shapley")
    assert ("The sum of all credit is the difference between" in text) == summing
    assert (", divided as credit" in text) == summing
    assert ("The sum of all credit is 2.00. Credit of this kind need not sum" in text) != summing


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_names_are_escaped_and_nothing_runs_or_loads(report: Report) -> None:
    html = render_report(report)
    tags = Tags(html).seen
    assert not [tag for tag, _ in tags if tag in {"iframe", "link", "object", "form"}]
    assert [attributes for tag, attributes in tags if tag == "script"] == [{}]
    (policy,) = [attributes["content"] for _, attributes in tags if "http-equiv" in attributes]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    addresses = [value for _, attributes in tags for name, value in attributes.items() if name in {"src", "srcset"}]
    assert addresses
    assert all(address and address.startswith("data:image/png;base64,") for address in addresses)
    assert "@import" not in html
    assert not re.search(r"url\((?!['\"]?data:)", html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_says_what_was_credited_paid_and_how(report: Report) -> None:
    html = render_report(report)
    for text in (
        "€750.00",
        "€1,000.00",
        "may",
        "abc123",
        "f00",
        "Inception Score",
        "cannot be told from nobody",
        "A note.",
    ):
        assert text in html
    for text in (
        "€999.00",
        "<bdi>&lt;i&gt;cy&lt;/i&gt;</bdi>: in dispute, held",
        "&lt;u&gt;ann&lt;/u&gt; and bob have",
    ):
        assert text in html
    assert "Nothing is paid" not in html
    for text in ("256", "&lt;b&gt;ann&lt;/b&gt;", "61.0%", "rank correlation (Spearman)", "+0.42", "13.4"):
        assert text in html
    assert "rank correlation" not in render_report(replace(report, matches=replace(report.matches, agreement=None)))
    assert [row.told_from_nobody for row in report.rows] == [True, False, True]
    assert [row.rank for row in report.rows] == ["1\N{EN DASH}2", "1\N{EN DASH}2", "3"]
    assert "receives the most" not in html
    assert "The intervals do not tell which." in html
    assert "Of the pool of €1,000.00, 2 of 3 are paid." in " ".join(html.split())
    led = render_report(replace(report, leader="<ann>", headline="surely has the highest credit of 3 contributors."))
    assert "<strong><bdi>&lt;ann&gt;</bdi></strong> surely has the highest credit of 3" in " ".join(led.split())


def test_a_refused_payout_is_said_in_place_of_a_statement(report: Report) -> None:
    html = render_report(replace(report, refusal="credit <is> too vague", statement=None, paid="none"))
    assert "<strong>Nothing is paid.</strong> credit &lt;is&gt; too vague." in html
    assert "statement <code>" not in html
    assert "refused</caption>" in html


def test_sheet_is_as_wide_as_its_images_and_shows_the_page_between_them() -> None:
    assert Image.open(io.BytesIO(PICTURE)).size == (3 * 9 - 1, 8)
    colour = np.asarray(Image.open(io.BytesIO(sheet(np.full((3, 3, 4, 4), 7, np.uint8), 2))))
    assert colour.shape == (9, 9, 4)
    assert (colour[:4, :4] == (7, 7, 7, 255)).all()
    assert not colour[4].any(), "between rows"
    assert not colour[:, 4].any(), "between columns"
    assert not colour[5:, 5:].any(), "the place of a fourth image"


@pytest.mark.parametrize(
    ("side", "box", "expected"), [(8, 40, 40), (16, 40, 32), (32, 40, 32), (48, 40, 24), (256, 40, 37), (40, 40, 40)]
)
def test_pictures_have_their_own_size_or_a_whole_multiple_or_fraction_of_it(side: int, box: int, expected: int) -> None:
    picture = environment().filters["picture"](sheet(np.zeros((1, 1, side, side), np.uint8), 1), 4096, box)
    assert (picture.width, picture.height) == (expected, expected)
    assert picture.enlarged == (expected >= side)


def test_a_generated_image_its_label_and_its_sources_are_one_figure(report: Report) -> None:
    (figure,) = re.findall(r"<li><figure>.*?</figure></li>", render_report(report), re.DOTALL)
    assert figure.count("<img") == 4
    text = shown(figure)
    assert (
        "Generated for &lt;i&gt;A&lt;/i&gt;. Its value goes to &lt;b&gt;ann&lt;/b&gt; 60.0%, bob 25.0%, and 15.0% to"
        in text
    )
    assert text.count("&lt;b&gt;ann&lt;/b&gt;, محمدA in &lt;b&gt;Roboto&lt;/b&gt;, OFL-1.1 30.0%") == 3
    row = replace(report.matches.shown[0], asked="", names=(("ann", 1.0),))
    untold = shown(render_report(replace(report, matches=replace(report.matches, shown=(row,)))))
    assert "Generated. Its value goes to ann 100.0%." in untold


def test_the_report_says_what_credit_is_about_where_credit_is_shown(report: Report) -> None:
    credit = shown(render_report(report)).partition("How to read this")[0].partition("Payouts")[0]
    assert "Credit is about this model and the property measured here, its Inception Score. It says nothing" in credit


def test_a_long_caption_is_cut_and_its_license_and_date_are_not(report: Report) -> None:
    source = replace(SOURCE, about=f"{'word ' * 40}· more · CC BY-SA 4.0 · 2018-12-31")
    matches = replace(report.matches, shown=(replace(report.matches.shown[0], sources=(source,)),))
    html = render_report(replace(report, matches=matches))
    (line,) = re.findall(r'<span class="about" title="[^"]*word[^"]*"><bdi>(.*?)</bdi>', html)
    assert line.startswith("word word")
    assert line.endswith("... · CC BY-SA 4.0 · 2018-12-31")
    assert len(line) < 100
    clamped = [rule for rule in re.findall(r"([^{}]+)\{[^{}]*line-clamp[^{}]*\}", html) if ".about" in rule]
    assert not clamped, "lines that are cut lose the date"


def test_flagged_copies_are_shown_beside_their_nearest_training_image(report: Report) -> None:
    assert 'id="copied"' not in render_report(report)
    pair = CopyRow(PICTURE, PICTURE, ("<b>ann</b>", "bob"), "CC-BY-4.0", 0.00123)
    html = render_report(replace(report, matches=replace(report.matches, copied=30, copies=(pair,) * 2)))
    section = html.partition('id="copied"')[2].partition("<table")[0]
    assert section.count('alt="Generated image"') == section.count("Training image of &lt;b&gt;ann&lt;/b&gt;, bob") == 2
    assert section.count("CC-BY-4.0</bdi>") == section.count("p = 0.0012") == 2
    text = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    assert "30 of 256 generated images are closer to a training image than" in text
    assert "The 2 of lowest p-value are shown, each beside the training image nearest to it." in text
