"""Texts in payment files: what every bank accepts, close to what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.infra.ledger.sepa_text import ALLOWED, checked_identity, is_legible, sepa_text


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("Straße & Söhne", "Strasse + Sohne"),
        ("STRAẞE Ærø", "STRASSE Aero"),
        ("Zoë Łukasz Đurđa Iñaki Çelik", "Zoe Lukasz Durda Inaki Celik"),
        ("Zoe\u0308", "Zoe"),
        ("Þóra Ólafsdóttir, 50 €", "Thora Olafsdottir, 50 EUR"),
        ("Αθήνα Ψυχή", "Athina Psychi"),
        ("Щърбанов, Юлия", "Shtarbanov, Yuliya"),
        ("a_b [x] {y}; „q” \N{EN DASH} ½", "a-b (x) (y), 'q' - 1/2"),
        ("may*: 名前 🎨 한", "may.: .. . ."),
        ("a\x00b\u200bc\n\t d ", "abc d"),
        ("\x00\u0301", ""),
    ],
)
def test_transliteration(text: str, latin: str) -> None:
    assert sepa_text(text, 70) == latin


@given(st.text(), st.integers(1, 140))
def test_any_text_becomes_characters_of_the_set_in_their_length(text: str, length: int) -> None:
    latin = sepa_text(text, length)
    assert set(latin) <= ALLOWED
    assert len(latin) <= length
    assert latin == latin.strip() == sepa_text(latin, length)


def test_a_cut_leaves_no_space_at_the_end_and_counts_what_letters_become() -> None:
    assert sepa_text("ab cd", 3) == "ab"
    assert sepa_text("ß" * 40, 70) == "s" * 70


def test_names_without_a_letter_are_not_legible() -> None:
    assert not is_legible(sepa_text("名前", 70))
    assert is_legible(sepa_text("名前 7", 70))


@pytest.mark.parametrize("identity", ["", "/a", "a/", "a//b", "ä", "x" * 36, "a\n"])
def test_identifications_that_a_bank_refuses(identity: str) -> None:
    with pytest.raises(ValueError, match="1 to 35 characters of the SEPA character set"):
        checked_identity(identity)


def test_identifications_that_a_bank_takes() -> None:
    assert [checked_identity(identity) for identity in ("a/b-1", "x" * 35)] == ["a/b-1", "x" * 35]
