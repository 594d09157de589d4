"""Translations have the sentences of the English texts, all of them and no others."""

from __future__ import annotations

import pytest

from royalty.infra.pages.language import LanguageError, language_of, shipped, shipped_language

ENGLISH = {"locale": "en", **shipped_language("en").sentences}


def test_shipped_languages_are_whole() -> None:
    assert shipped() == ["de", "en"]
    for name in shipped():
        assert shipped_language(name).sentences.keys() == shipped_language("en").sentences.keys()
        assert shipped_language(name).locale == name


def test_all_faults_are_named_in_one_error() -> None:
    texts = {**ENGLISH, "greeting": "Hello", "lead": "{earned} and {paid}", "head": "{head.__class__}", "pool": ""}
    del texts["subject"], texts["total"]
    with pytest.raises(LanguageError) as refused:
        language_of(texts, "mine.yaml")
    for fault in (
        "mine.yaml: ",
        "subject is missing; ",
        "total is missing; ",
        "greeting is unknown; ",
        "lead must fill in {earned}, {paid}, {year}, and nothing else",
        "head must fill in nothing, and nothing else",
        "pool is not a text",
    ):
        assert fault in str(refused.value), fault


@pytest.mark.parametrize("text", ["{year", "{year!r}", "{year:>9}", "{}", "{year[0]}", "{year.real}", 3, None])
def test_sentences_fill_in_names_alone(text: object) -> None:
    with pytest.raises(LanguageError, match="title "):
        language_of({**ENGLISH, "title": text}, "mine.yaml")


@pytest.mark.parametrize("locale", ["xx_YY", "german", "../en"])
def test_unknown_locales_are_refused(locale: str) -> None:
    with pytest.raises(LanguageError, match="locale is a language such as de or pt_BR"):
        language_of({**ENGLISH, "locale": locale}, "mine.yaml")


def test_amounts_numbers_and_dates_are_written_as_in_the_language() -> None:
    german = shipped_language("de")
    assert german.money(123456, "EUR") == "1.234,56\xa0€"
    assert german.number("12345.678") == "12345,678"
    assert german.moment("2026-03-05T14:07+00:00") == "5. März 2026, 14:07 UTC"
