"""Texts of the pages that contributors get, in one language: a mapping of names to sentences, from one file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from importlib.resources import files
from string import Formatter
from typing import Any

import yaml
from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_decimal
from jinja2.filters import do_forceescape

from royalty.infra.errors import Refusal
from royalty.infra.ledger.money import formatted

SOURCE = "en"
LOCALE = "locale"
FIELDS = {"number": r"[-+]?[\d.,]*\d(?:e[-+]?\d+)?|inf|nan", "amount": r".*\d.*(?<!,)", "id": r"[^\s,]+"}
"""What is filled into recorded sentences, by the start of the field's name; `.+` for others."""
NESTED = {"why": "recorded_hold", "held": "recorded_held", "tiers": "recorded_tier"}
"""Fields that recorded sentences are filled into, and the start of the names of these sentences."""
LISTS = {"recorded_hold": ", ", "recorded_held": "; ", "recorded_tier": "; ", "recorded_property": ", "}
"""What separates recorded sentences of a kind that are listed. A sentence, or a name in it, can have it itself."""
MOST = 4
"""Most parts between separators that a listed sentence can have."""


class LanguageError(Refusal):
    """A translation that lacks sentences, or has others; the message names them all."""


@dataclass(frozen=True)
class Language:
    """The texts of one language.

    Attributes:
        locale: how amounts, numbers and dates are written.
        sentences: by name; what is filled in stands in braces.
    """

    locale: str
    sentences: Mapping[str, str]

    @property
    def tag(self) -> str:
        """The language tag of a page, such as `pt-BR`."""
        return self.locale.replace("_", "-")

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(Locale.parse(self.locale).text_direction)

    def text(self, name: str, /, **values: object) -> str:
        """A sentence as plain text."""
        return self.sentences[name].format(**values)

    def html(self, name: str, /, **values: object) -> str:
        """A sentence as HTML. Values are escaped, unless they are HTML themselves."""
        if not values and name in self._whole:
            return self._whole[name]
        if name not in self._forms:
            self._forms[name] = do_forceescape(self.sentences[name])
        filled = self._forms[name].format(**values)
        if not values:
            self._whole[name] = filled
        return filled

    def recorded(self, text: str, kind: str) -> str | None:
        """What was recorded in English, in this language.

        Args:
            text: as it is recorded, with what was filled in.
            kind: the start of the names of sentences that it may be one of.

        Returns:
            The sentence of this language with the same things filled in; numbers, in fields called `number`, have the
            separators of the language. None if no English sentence reads so.
        """
        if kind not in LISTS:
            return self._recorded_one(text, kind)
        mark = LISTS[kind]
        parts = text.split(mark)
        spoken: list[str | None] = [""]  # of the first parts, by their number
        for end in range(1, len(parts) + 1):
            spoken.append(None)
            for start in range(end - 1, max(end - MOST, 0) - 1, -1):
                before = spoken[start]
                last = None if before is None else self._recorded_one(mark.join(parts[start:end]), kind)
                if last is not None:
                    spoken[end] = f"{before}{mark if start else ''}{last}"
                    break
        return spoken[-1]

    def _recorded_one(self, text: str, kind: str) -> str | None:
        for name, form in _recorded_forms(kind):
            if (found := form.fullmatch(text)) is not None:
                fields = found.groupdict().items()
                values = {
                    field: spoken for field, value in fields if (spoken := self._filled_in(field, value)) is not None
                }
                if len(values) == len(fields):
                    return self.text(name, **values)
        return None

    def _filled_in(self, field: str, value: str) -> str | None:
        if field.startswith("number"):
            return self.localized(value)
        return self.recorded(value, NESTED[field]) if field in NESTED else value

    def money(self, minor: int, currency: str) -> str:
        return formatted(minor, currency, self.locale)

    def number(self, number: Decimal | str) -> str:
        """All digits, without separators of thousands."""
        return str(
            format_decimal(Decimal(number), locale=self.locale, decimal_quantization=False, group_separator=False)
        )

    def localized(self, written: str) -> str:
        """A number as English writes it, such as `+1,234.5`, with the separators of the language."""
        return written.translate(self._separators)

    def percent(self, written: str) -> str:
        """A percentage as English writes it, such as `<0.1%`."""
        before, after = self._percent
        return f"{before}{self.localized(written.removesuffix('%'))}{after}"

    @property
    def digest(self) -> str:
        """SHA-256 of the texts."""
        return hashlib.sha256(json.dumps([self.locale, dict(self.sentences)]).encode()).hexdigest()

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Sentences as HTML, with the names of what is filled in, as far as pages used them."""
        return {}

    @cached_property
    def _whole(self) -> dict[str, str]:
        """Those in which nothing is filled in: most of a page, and the same on every page."""
        return {}

    @cached_property
    def _separators(self) -> dict[int, str]:
        symbols = Locale.parse(self.locale).number_symbols["latn"]
        return {ord(","): symbols["group"], ord("."): symbols["decimal"]}

    @cached_property
    def _percent(self) -> tuple[str, str]:
        pattern = Locale.parse(self.locale).percent_formats[None]
        return pattern.prefix[0], pattern.suffix[0]

    def moment(self, written: str) -> str:
        """An ISO 8601 date and time (UTC) in words."""
        pattern = self.sentences["date_pattern"]
        return f"{format_datetime(datetime.fromisoformat(written), pattern, locale=self.locale)} UTC"


def shipped() -> list[str]:
    """Languages that come with Royalty."""
    folder = files("royalty.infra.pages").joinpath("languages")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


@cache
def shipped_language(name: str) -> Language:
    """A language that comes with Royalty."""
    text = files("royalty.infra.pages").joinpath("languages", f"{name}.yaml").read_text(encoding="utf-8")
    return language_of(yaml.safe_load(text), name)


@cache
def _recorded_forms(kind: str) -> list[tuple[str, re.Pattern[str]]]:
    """Name and form of the English sentences whose names start so, those with the most words of their own first."""
    forms = []
    for name, text in shipped_language(SOURCE).sentences.items():
        if name.startswith(kind):
            parts = [(re.escape(fixed), filled) for fixed, filled, _, _ in Formatter().parse(text)]
            form = "".join(fixed + (_group(filled) if filled else "") for fixed, filled in parts)
            forms.append((sum(len(fixed) for fixed, _ in parts), name, re.compile(form, re.DOTALL)))
    return [(name, form) for _, name, form in sorted(forms, key=lambda entry: (-entry[0], entry[1]))]


def _group(field: str) -> str:
    form = next((form for start, form in FIELDS.items() if field.startswith(start)), ".+")
    return f"(?P<{field}>{form})"


def language_of(texts: Mapping[str, Any], origin: str) -> Language:
    """Check a translation against the English texts.

    Args:
        origin: file, for the errors.

    Raises:
        LanguageError: sentences are missing or unknown, or do not fill in what the English ones do; or the locale is
            unknown. The message names all of them.
    """
    source = texts if origin == SOURCE else {LOCALE: SOURCE, **shipped_language(SOURCE).sentences}
    faults = [f"{name} is missing" for name in source if name not in texts]
    faults += [f"{name} is unknown" for name in texts if name not in source]
    for name in source:
        if name in texts and not (isinstance(texts[name], str) and texts[name].strip()):
            faults.append(f"{name} is not a text")
        elif name in texts and (wanted := _filled(source[name])) != _filled(texts[name]):
            faults.append(f"{name} must fill in {_listed(wanted)}, and nothing else")
    if not faults:
        try:
            Locale.parse(texts[LOCALE])
        except (UnknownLocaleError, ValueError):
            faults = [f"locale is a language such as de or pt_BR, got {texts[LOCALE]!r}"]
    if faults:
        raise LanguageError(
            f"{origin}: a translation has the texts of the English one, filled in alike: {'; '.join(faults)}. "
            "Correct these lines"
        )
    return Language(texts[LOCALE], {name: text for name, text in texts.items() if name != LOCALE})


def _filled(text: str) -> set[str] | None:
    """Names in braces; None if the text is not well formed, or has more than names in them."""
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError:
        return None
    return {str(name) for _, name, _, _ in parts} if all(not spec and not kind for _, _, spec, kind in parts) else None


def _listed(names: set[str] | None) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names or ())) or "nothing"
