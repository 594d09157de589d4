"""What moved from one statement of a pool to the next, for each contributor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.language import Language, shipped_language
from royalty.tasks.report import moved
from royalty.tasks.report.moved import State, Step, credit_moved, steps_of
from royalty.tasks.report.payment_pages import _histories

ENGLISH = shipped_language("en")
BEFORE = State(
    {"ann": {"a1": "one.png", "a2": "two.png", "s": "s.png"}, "bob": {"b1": "b.png", "s": "t.png"}, "cy": {"c1": ""}},
    ("base", "pruned"),
    ("validation", "classifier"),
    {"ann": (0.5, 0.4, 0.6), "bob": (0.1, 0.0, 0.2), "cy": (0.2, 0.1, 0.3)},
)
NOW = replace(
    BEFORE,
    images={
        "ann": {"a1": "one.png", "a3": "two.png", "a4": "four.png"},  # one is changed, one new, and one withdrawn
        "bob": {"b1": "b.png", "s": "t.png"},
        "dee": {"d1": "d.png", "d2": "e.png"},
    },
    measure=("other", "classifier"),
    credit={"ann": (0.9, 0.7, 1.1), "bob": (0.12, 0.0, 0.2), "dee": (-0.3, -0.5, -0.1)},
)
SAME = "Coalitions start from the same models."
MEASURE = "Models are measured with other held-out images."


def said(step: Step, name: str, language: Language = ENGLISH, *, named: bool = True) -> list[str]:
    return list(step.reasons(name, language, named=named))


def test_a_step_counts_images_and_compares_credit_with_its_intervals() -> None:
    step = Step(False, BEFORE, NOW)
    assert said(step, "ann") == [
        "Own images: 1 added, 1 removed, 1 changed.",
        "Images of others: 2 added (contributors: 1), 1 removed (contributors: 1).",
        MEASURE,
        SAME,
        "Credit: from +0.5000 (+0.4000 to +0.6000) to +0.9000 (+0.7000 to +1.1000), beyond the intervals: "
        "it has moved.",
    ]
    assert said(step, "bob", named=False) == [
        "No entry: this statement pays, holds and owes nothing under this name.",
        "Own images: the same 2.",
        "Images of others: 4 added (contributors: 2), 2 removed (contributors: 2).",
        MEASURE,
        SAME,
        "Credit: from +0.1000 (+0.0000 to +0.2000) to +0.1200 (+0.0000 to +0.2000), within the intervals: it is not "
        "certain to have moved.",
    ]
    assert said(step, "dee")[0] == "Own images: 2 added, 0 removed, 0 changed."
    assert said(step, "dee")[-1] == "Credit: -0.3000 (-0.5000 to -0.1000), with none before."
    assert said(step, "cy", named=False) == ["No entry: no images of this contributor any more."]
    again = Step(False, NOW, replace(NOW, models=("base", "new")))
    assert said(again, "bob") == [
        "Own images: the same 2.",
        "Images of others: the same.",
        "Coalitions start from newly trained models.",
        "Credit: the same, +0.1200 (+0.0000 to +0.2000).",
    ]


def test_first_absent_and_unknown_states_have_sentences_in_every_language() -> None:
    first = Step(True, None, BEFORE)
    assert said(first, "ann")[0] == "The first statement of this pool, by 3 own images and 2 of others."
    assert said(first, "dee", named=False) == ["No entry: no images of this contributor yet."]
    for step in (Step(False, None, NOW), Step(True, None, None), Step(False, BEFORE, None)):
        assert said(step, "ann")[0].startswith("What moved is not known")
    german = shipped_language("de")
    assert said(Step(False, BEFORE, NOW), "ann", german)[0] == "Eigene Bilder: 1 hinzugekommen, 1 entfernt, 1 geändert."
    assert credit_moved(None, (0.5, 0.25, 0.75), german) == "Beitrag: +0,5000 (+0,2500 bis +0,7500), vorher keiner."


def test_statements_are_compared_with_those_of_their_period_or_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"t1": BEFORE, "t2": NOW}
    monkeypatch.setattr(
        moved, "_states", lambda _space, tables: {name: states[name] for name in tables & states.keys()}
    )
    base = Posted("1", "p", "may", "division", "t1", None, None, 1, "2030", "EUR", 1, "", {"ann": 1}, {})
    statements = [
        base,
        replace(base, id="2", period="june", valuation="t2"),
        replace(base, id="3", kind="release"),
        replace(base, id="4", kind="correction", valuation="t2"),
        replace(base, id="5", pool="q"),
        replace(base, id="6", period="july", valuation="use"),
    ]
    space: Any = None
    steps = steps_of(space, "p", statements)
    assert list(steps) == ["1", "2", "4", "6"]
    assert (steps["1"].first, steps["1"].before, steps["1"].now) == (True, None, BEFORE)
    assert (steps["2"].before, steps["2"].now) == (BEFORE, NOW)
    assert (steps["4"].before, steps["4"].now) == (BEFORE, NOW), "a correction is of its own period"
    assert (steps["6"].before, steps["6"].now) == (NOW, None)
    named = [set(posted.paid) for posted in statements]
    credits = {table: {"ann": 0.5} for table in ("t1", "t2", "use")}
    history = _histories(statements, named, credits, {}, steps, ENGLISH)
    rows = {name: [*history(name)] for name in ("ann", "dee")}
    assert [len(row.moved) > 0 for row in rows["ann"]] == [True, True, False, True, False, True]
    assert [row.amount for row in rows["dee"]] == ["none"] * 4, "not named, and yet a row"
    assert [row.uncredited for row in (rows["ann"][0], rows["dee"][0])] == [False, True]
    assert rows["dee"][0].moved == ("No entry: no images of this contributor yet.",)
