"""Names of people: one spelling, nothing invisible, and which look alike."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.data.names import lookalikes, person_name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Jose\u0301", "José"),
        (" Ann \u00a0 Lee\n", "Ann Lee"),
        ("می\u200cخو\u0627\u0647م", "می\u200cخو\u0627\u0647م"),
        ("क्\u200dष", "क्\u200dष"),
        ("名前", "名前"),
        ("", ""),
    ],
)
def test_a_name_has_one_spelling(written: str, name: str) -> None:
    assert person_name("row 2", written) == name


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("\u200b", r"row 2: a name has no format characters, and '\\u200b' has U\+200B \(ZERO WIDTH SPACE\)"),
        ("an\u200dn", r"ZERO WIDTH JOINER\) as its character 3"),
        ("\u202eann", "RIGHT-TO-LEFT OVERRIDE"),
        ("ann\ufeff", "ZERO WIDTH NO-BREAK SPACE"),
        ("a\x1b[31mnn", r"no control characters, and 'a\\x1b\[31mnn'"),
        ("a\0n", "no control"),
        ("a\ud800", "no surrogate"),
        ("a\ue000", "no private"),
        ("\u3164", r"no blank characters, and '\\u3164' has U\+3164 \(HANGUL FILLER\)"),
        ("a\u2800", "BRAILLE PATTERN BLANK"),
    ],
)
def test_a_name_with_characters_that_are_not_seen_is_refused(written: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        person_name("row 2", written)


@given(st.text())
@example("a\u1680b")
def test_a_name_that_is_taken_is_printable_and_stays_as_it_is(written: str) -> None:
    try:
        name = person_name("row 2", written)
    except InputError:
        return
    assert person_name("row 2", name) == name == unicodedata.normalize("NFC", name)
    assert all(character.isprintable() or character in "\u200c\u200d\u3000" for character in name)


def test_names_that_look_the_same_are_found_and_others_are_not() -> None:
    names = [
        "Ann",
        "\u0410nn",
        "\uff21nn",
        "bob",
        "b\u043eb",
        "cy-1",
        "cy-l",
        "Lukasz",
        "Łukasz",
        "Muller",
        "Müller",
        "名前",
        "scanner-01",
    ]
    assert lookalikes([*names, "Ann"]) == [["Ann", "\u0410nn", "\uff21nn"], ["bob", "b\u043eb"], ["cy-1", "cy-l"]]
    assert lookalikes(f"scanner-{place:02}" for place in range(100)) == []
    unseen = ["ann", "a\u034fnn", "ann\ufe0f", "ann\U000e0101"]
    assert lookalikes([*unseen, "bob"]) == [sorted(unseen)]
