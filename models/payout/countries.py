"""Countries by their two letters (ISO 3166-1)."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale

NOT_COUNTRIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})
"""Two letters of the territories of CLDR that are no country: unions, pseudo-locales and what is unknown."""


def is_country(code: str) -> bool:
    return code in _codes()


@lru_cache
def _codes() -> frozenset[str]:
    territories = Locale("en").territories
    return frozenset(code for code in territories if len(code) == 2 and code.isalpha()) - NOT_COUNTRIES
