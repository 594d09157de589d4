"""Sentences that are recorded in English, as the code that records them writes them, on pages in other languages."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from fractions import Fraction
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from royalty.infra.pages.contributors import file_of, render_pages
from royalty.infra.pages.language import Language, language_of, shipped_language
from royalty.models.payout.division import Personal, Settlement, Terms, divide_pool
from royalty.models.payout.policies import POLICIES
from royalty.models.payout.standing import Checks, Standing, unmet
from royalty.models.properties.registry import PROPERTIES, chosen_property
from royalty.tasks.pay.remarks import adjustments
from royalty.tasks.pay.stages import PayOutputs
from royalty.tasks.report.notes import policy_sentences
from tests.infra.test_page_languages import PAGE, words_of

CHECKED = Checks(identity=True, sanctions=True, max_age_days=30)
UNMET = [
    reason
    for standing in (
        Standing(),
        Standing(identity="pending", sanctions="pending"),
        Standing(identity="failed", sanctions="hit"),
        Standing(identity="verified", sanctions="clear"),
        Standing("verified", "2029-01-01", "clear", "2029-01-01"),
    )
    for reason in unmet(standing, CHECKED, date(2030, 1, 1))
]
HOLDS = {"ANN": ["case 1f0c", *UNMET], "BOB (B, C)": ["case 2a"]}
TIERS = [[f"N{n}" for n in range(15)], *([f"M{n}"] for n in range(14))]
MONEY = partial(shipped_language("de").money, currency="EUR")
UNSURE = pd.DataFrame({"contributor": ["ANN", "BOB"], "credit": [2.0, 1.0], "stderr": [0.5, 0.25]}).assign(
    ci_low=[1.0, 0.5], ci_high=[3.0, 1.5]
)


@cache
def all_terms() -> list[str]:
    """Every sentence on terms of a payout."""
    settlements = {name: Settlement(share, share, 0, 0, 0, 0, 0, 0, ()) for name, share in (("ANN", 200), ("BOB", 100))}
    named = frozenset({"ANN", "BOB"})
    choices: list[dict[str, Any]] = [{"policy": policy} for policy in POLICIES]
    choices += [{"negative": "carry"}, {"negative": "refuse"}, {"equal_share": Fraction(3, 10)}]
    choices += [
        {"equal_share": Fraction(3, 10), "equal_by": "image", "floor": Fraction(1, 100), "cap": Fraction(1, 2)}
        | {"minimum": 123456, "disputed": named, "unpayable": named, "confusable": named, "holds": HOLDS}
    ]
    sentences: list[str] = []
    for choice, tiers, limit in zip(
        choices, [[["A", "B"]], [["A"], ["B"]], TIERS, *[[]] * 5], [0.5, *[None] * 7], strict=True
    ):
        inputs = SimpleNamespace(terms=lambda _, choice=choice: Terms(**choice), config={"limits": {"stderr": limit}})
        outputs = PayOutputs(None, settlements, 0, "", [], tiers=tiers)
        division: Any = SimpleNamespace(inputs=inputs, outputs=outputs)
        payout: Any = SimpleNamespace(minor_units=300)
        sentences += policy_sentences(division, payout, UNSURE, MONEY)
    return list(dict.fromkeys(sentences))


@cache
def all_remarks() -> tuple[str, ...]:
    """Every reason for another payment, and every state of an amount."""
    credits = {
        name: (value, value, value) for name, value in (("ANN", 8.0), ("BOB", 1.0), ("CAY", 0.01), ("DOT", -1.0))
    }
    terms = Terms(negative="carry", floor=Fraction(1, 20), cap=Fraction(1, 2))
    everyone = frozenset(credits)
    owing = dict.fromkeys(credits, -100)
    settlements = [
        *divide_pool(100_000, credits, terms, owing).settlements.values(),
        *divide_pool(
            100_000, credits, Terms(disputed=everyone, unpayable=everyone, confusable=everyone), {"EVE": 500}
        ).settlements.values(),
        *divide_pool(100_000, credits, Terms(minimum=90_000, holds={"ANN": HOLDS["ANN"]})).settlements.values(),
        divide_pool(
            100_000, credits, Terms(personal={"ANN": Personal(None, Fraction(1, 4), Fraction(3, 10))}), {"ANN": 100}
        ).settlements["ANN"],
        *divide_pool(100_000, {"ANN:1;BOB:1": (1.0, 1.0, 1.0)}).settlements.values(),
    ]
    numbered = {str(number): settlement for number, settlement in enumerate(settlements)}
    paid = PayOutputs(None, numbered, 0, "", [], departed=[{"contributor": name} for name in numbered])
    return tuple(dict.fromkeys(remark for each in adjustments(paid, MONEY).values() for remark in each))


def pages_of(name: str, language: Language) -> str:
    """A page with all recorded sentences, and the index."""
    page = replace(PAGE, remarks=all_remarks())
    chosen = chosen_property(name)
    pages = dict(render_pages(
        [page], title="T", created_at="2030-01-02T03:04+00:00", utility_name=chosen.title,
        utility_meaning=chosen.known.meaning, utilities=(1.0, 3.0), level="95", pool="10", terms=all_terms(),
        language=language,
    ))  # fmt: skip
    return " ".join(pages[file] for file in ("index.html", file_of("ZOE")))


@cache
def page_of_names(chosen: str) -> str:
    """The same in a language whose sentences are their names."""
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text))))
        for name, text in shipped_language("en").sentences.items()
    }
    return pages_of(chosen, language_of({"locale": "en", **names, "date_pattern": "y"}, "own.yaml"))


@pytest.mark.parametrize("name", [*PROPERTIES, "sinkhorn(blur=0.5,reach=2)@clip"])
def test_nothing_recorded_is_left_in_english(name: str) -> None:
    html = page_of_names(name)
    assert 'lang="en">' not in html.partition("<body>")[2].replace('<html lang="en"', "")
    written = re.sub(r"Royalty|January|UTC|\bclip\b|1f0c|2a", "", words_of(html))
    assert set(re.findall(r"\b[a-z]{3,}\b", written)) <= {"amp", "nbsp", "quot", "lt", "gt"}


def test_every_recorded_sentence_is_one_that_is_recorded() -> None:
    """A text that no code writes any more is found."""
    chosen = (*PROPERTIES, "sinkhorn(blur=0.5,reach=2)@clip", "mine:own")
    written = set(re.findall(r"\w+", " ".join(page_of_names(name) for name in chosen)))
    of_cases = {"recorded_kept", *(f"recorded_hold_{why}" for why in ("disputed", "unpayable", "confusable"))}
    names = {name for name in shipped_language("en").sentences if name.startswith("recorded_")} - of_cases
    names -= {name for name in names if name.startswith("recorded_wait")}  # see `test_page_languages`
    assert {name for name in names if name.upper() not in written} == set()


def test_german_pages_fill_in_what_was_recorded() -> None:
    page = " ".join(words_of(pages_of("sinkhorn(blur=0.5,reach=2)@clip", shipped_language("de"))).split())
    for part in (
        "Sinkhorn-Divergenz, negativ, Unschärfe 0,5, Reichweite 2, mit clip: Wie ähnlich",
        "Beträge unter 1.234,56 € werden",
        "BOB (B, C) (Fall 2a).",
        "1. N0, N1, N2, N3, N4, N5, N6, N7, N8, N9, N10, N11 und 3 weitere; 2. M0;",
        "Fall 1f0c, Identität nicht bekannt, Sanktionsprüfung nicht bekannt",
        "0,25 davon als Rücklage einbehalten",
        "das 0,33-Fache eines gleichen Anteils; diese Bedingungen erlauben das 0,5-Fache",
    ):
        assert part in page, part


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ada; case 3, held", "recorded_reason"),
        ("seen in a dream", "recorded_reason"),
        ("mine:own", "recorded_property"),
    ],
)
def test_what_nobody_translated_is_not_half_translated(text: str, kind: str) -> None:
    assert shipped_language("de").recorded(text, kind) is None
