"""The summary of a revaluation, as a Markdown reader shows it, with names that would rather be markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

from markdown_it import MarkdownIt

from royalty.infra.pages.summary import Change, escaped, failed, markdown, movement
from royalty.tasks.revalue.movement import moved_between

NAMES = (
    "a|b",
    "<script>alert(1)</script>",
    "`code` @octocat",
    "[link](http://example.org) #1",
    "名前 *bold*",
    "line\n\n# two",
)

CHANGE = Change(
    name="mine",
    since="2026-01-02T03:04:05+00:00",
    commit="0" * 40,
    added=(),
    removed=(),
    changed=NAMES,
    held_out=False,
    configuration=(),
    code=(),
    start=False,
    unpayable=(),
    kept=(),
    coalitions=12,
    seconds=90.4,
)


def rows(*credits: float, wide: float = 0.2) -> list[dict[str, object]]:
    """A payout table in which a name has each of these credits."""
    paid = [
        {
            "contributor": name,
            "credit": credit,
            "ci_low": credit - wide,
            "ci_high": credit + wide,
            "amount": f"{credit:.2f}",
        }
        for name, credit in zip(NAMES, credits, strict=False)
    ]
    return sorted(paid, key=lambda row: -float(str(row["credit"])))


def test_a_name_is_shown_as_it_is_and_is_neither_markup_nor_a_mention() -> None:
    moved = moved_between(rows(6, 5, 4, 3, 2, 1), rows(1, 2, 3, 4, 5, 6))
    said = markdown(CHANGE, moved, currency="EUR")
    assert not re.search(r"<script|@octocat|\[link|`code`|\*bold|#1\b", said)
    html = MarkdownIt("commonmark").enable("table").render(said)
    assert "<script" not in html
    assert "<a " not in html
    assert html.count("<h1") == 0
    cells = re.findall(r"<tr>\s*<td>(.*?)</td>", html)
    assert [unescape(re.sub("</?code>", "", cell)) for cell in cells] == [
        name.replace("\n", " ") for name in NAMES[::-1]
    ]
    assert len(re.findall("<td", html)) == 6 * len(NAMES), "no name makes a cell of its own"
    assert "6 → 1" in html
    assert "-1.00" not in html


def test_what_moved_is_who_stands_elsewhere_and_who_came_or_went() -> None:
    moved = moved_between(rows(3, 2, 1), rows(3, 1, 2, 0.5))
    assert [(row.contributor, row.then and row.then.rank_best, row.now and row.now.rank_worst) for row in moved] == [
        (NAMES[2], 3, 2),
        (NAMES[1], 2, 3),
        (NAMES[3], None, 4),
    ]
    (gone,) = moved_between(rows(3, 2), rows(3))
    assert (gone.contributor, gone.now) == (NAMES[1], None)
    assert "none → 4" in markdown(CHANGE, moved, currency="EUR")


def test_movement_inside_intervals_is_called_noise() -> None:
    moved = moved_between(rows(3, 2, 1, wide=0.7), rows(3.5, 2, 5, wide=0.7))
    assert {row.contributor: row.certain for row in moved} == {NAMES[2]: True, NAMES[0]: False, NAMES[1]: False}
    text = markdown(CHANGE, moved, currency="EUR")
    assert "2 of 3 contributors moved inside their intervals: this is noise." in text
    assert text.count("inside its interval |") == 2
    assert "| 1\N{EN DASH}2 → 2 |" in text, "a rank is the range that the intervals leave"
    assert movement(moved[:1]) == "1 contributor moved outside their intervals."
    came = moved_between(rows(3), rows(3, 2))
    assert [(row.then, row.certain) for row in came] == [(None, True)]
    refused = [{**row, "amount": None} for row in rows(3, 2)]
    assert [row.now and row.now.amount for row in moved_between(rows(3, 2), refused)] == [None, None]


def test_it_says_what_changed_and_what_that_costs() -> None:
    nothing = replace(CHANGE, changed=())
    assert not nothing.found
    assert "Nothing changed since" in markdown(nothing, None, currency="EUR")
    dry = markdown(CHANGE, None, currency="EUR")
    assert "Cost: 12 coalitions to measure, about 1 min 30 s by the clock." in dry
    assert "this is a dry run" in dry
    settings = replace(CHANGE, changed=(), configuration=(("credit.ridge", 0.0, 0.1),))
    assert settings.found
    assert "changed settings need another run name" in settings.cost
    assert "Setting credit.ridge, old and new value: <code>0&#46;0</code>, <code>0&#46;1</code>" in markdown(
        settings, None, currency="EUR"
    )
    assert replace(nothing, kept=("the base model",)).found is False
    for found in ({"code": ("estimating credit",)}, {"start": True}, {"unpayable": ("x",)}, {"held_out": True}):
        assert replace(nothing, **found).found


def test_an_error_is_shown_without_what_it_would_do_and_not_without_end() -> None:
    said = failed("mine", "<img src=x onerror=alert(1)> " + "long " * 1000)
    assert "<img" not in said
    assert len(said) < 12_000
    assert "**Revaluation failed.**" in said
    assert escaped("x" * 50) == f"<code>{'x' * 39}&#8230;</code>"
