"""Headlines and tiers: the sentences say what the intervals allow, and no more."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from royalty.models.payout.policies import Credit
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.credits import credits_of, ranked, table_of
from royalty.tasks.pay.headline import headline
from royalty.tasks.pay.identities import second_names
from royalty.tasks.pay.remarks import tier_sentence


def rows(*intervals: tuple[float, float], amounts: str = "") -> list[dict[str, Any]]:
    """A payout table whose contributors are a, b, c and so on."""
    paid = amounts.split() or [None] * len(intervals)
    low, high = zip(*intervals, strict=True)
    table = pd.DataFrame({"contributor": list("abcdefgh"[: len(paid)]), "ci_low": low, "ci_high": high})
    return [{**row, "amount": amount} for row, amount in zip(ranked(table).to_dict("records"), paid, strict=True)]


@pytest.mark.parametrize(
    ("amounts", "sentence"),
    [
        ("33.34 33.33 33.33", "No two of these 3 contributors can be told apart: each is paid the same."),
        ("34 33 33", "No two of these 3 contributors can be told apart: each is paid the same."),
        ("34.34 33.33 32.33", "No two of these 3 contributors can be told apart."),
        ("0.00 0.00 0.00", "No two of these 3 contributors can be told apart."),
        ("", "No two of these 3 contributors can be told apart."),
    ],
)
def test_who_cannot_be_told_apart_is_paid_the_same_only_if_that_is_so(amounts: str, sentence: str) -> None:
    assert str(headline(rows((0, 3), (1, 3), (2, 4), amounts=amounts))) == sentence


def test_the_first_is_named_only_if_surely_first() -> None:
    sure = headline(rows((8, 9), (3, 6), (5, 7), amounts="5 3 2"))
    assert (sure.name, str(sure)) == ("a", "a surely has the highest credit of 3 contributors.")
    vague = headline(rows((6, 9), (3, 6), (0, 2), amounts="5 3 2"))
    assert str(vague) == "By their intervals, any of 2 of the 3 contributors may have the highest credit."
    assert vague.name is None


def test_tiers_are_counted_and_named() -> None:
    assert tier_sentence([]) == ""
    assert tier_sentence([["a", "b", "c"]]) == "All 3 contributors form one tier."
    assert tier_sentence([["a"], ["b"]]) == "Each of the 2 contributors has a tier of their own."
    assert tier_sentence([["a", "b"], ["c"]]) == "There are 2 tiers: 1. a, b; 2. c."
    many = tier_sentence([[f"a{index}" for index in range(15)], *([f"b{index}"] for index in range(14))])
    assert "a11 and 3 more; 2. b0;" in many
    assert many.endswith("12. b10; and 3 more.")


def test_a_credit_table_is_the_same_after_there_and_back() -> None:
    ends = {"ci_low": [1.0, 0.5], "ci_high": [3.0, 2.0], "stderr": [0.5, 0.4]}
    table = pd.DataFrame({"contributor": ["b", "a"], "credit": [2.0, 1.0], **ends})
    assert table_of(credits_of(table)).equals(table)
    assert table_of(dict(reversed(credits_of(table).items()))).equals(table)


TWICE = "two contributors, each with half of the credit and an interval as wide as before"


def test_the_check_of_second_names_says_whom_it_did_not_check() -> None:
    """With an equal part there is no closed form, so that of many only those of highest credit are split."""
    many = {f"p{place:03}": Credit(1.0 + place, 0.9 + place, 1.1 + place) for place in range(150)}
    shared = second_names(many, PayoutConfig(pool=900, policy="proportional", equal_share=0.5))
    assert shared.startswith(f"10 of the 10 contributors of highest credit would get more of the pool as {TWICE}. p")
    assert "The equal part of the pool is the same for each name. Check who" in shared
    assert shared.endswith("before you pay. The other 140 of 150 were not checked.")
    plain = second_names(many, PayoutConfig(pool=900, policy="proportional"))
    assert plain == f"Nobody would get more of the pool as {TWICE}."


def test_what_a_second_name_pays_is_right_for_the_policy() -> None:
    apart = {"ann": Credit(6.0, 5.9, 6.1), "bob": Credit(2.0, 1.9, 2.1)}
    alike = {"ann": Credit(6.0, 0.0, 12.0), "bob": Credit(2.0, 0.0, 4.0)}
    by_tiers, by_credit = PayoutConfig(pool=90), PayoutConfig(pool=90, policy="proportional")
    for credits, terms in ((apart, by_tiers), (apart, by_credit), (alike, by_credit)):
        assert second_names(credits, terms) == f"Nobody would get more of the pool as {TWICE}."
    tiers = second_names(alike, by_tiers)
    assert tiers.startswith(f"2 of 2 contributors would get more of the pool as {TWICE}. ann would gain most: €60.00")
    assert "instead of €45.00. Members of a tier are paid the same, so that a person with two names" in tiers
    assert "Floors" not in tiers
    noisy = {name: Credit(credit.value, credit.low, credit.high, 1.0) for name, credit in apart.items()}
    reliable = second_names(noisy, PayoutConfig(pool=90, policy="by-reliability"))
    assert "What is divided by credit, and what equally, changes with the number of names. Check who" in reliable
    floor = second_names(apart, PayoutConfig(pool=90, policy="proportional", floor=0.5))
    assert floor.endswith("interval as wide as before. For 2, the terms allow no second name."), floor
    capped = second_names(apart, PayoutConfig(pool=90, policy="proportional", cap=0.5))
    assert "ann would gain most: €67.50 instead of €45.00. Floors and caps apply to each name. Check" in capped
