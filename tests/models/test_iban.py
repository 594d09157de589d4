"""IBANs: check digits, lengths by country, and the countries that SEPA reaches."""

from __future__ import annotations

import pytest

from royalty.models.payout.iban import LENGTHS, SEPA, iban_fault, is_iban, is_in_sepa

IBAN = "DE89370400440532013000"
REGISTRY = (  # examples of the IBAN registry
    IBAN,
    "GB29NWBK60161331926819",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
    "BR9700360305000010009795493P1",
    "LC55HEMM000100010012001200023015",
    "SA0380000000608010167519",
)


def with_check_digits(country: str, account: str) -> str:
    digits = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


def test_check_digits() -> None:
    assert all(map(is_iban, REGISTRY))
    swapped = [IBAN[:i] + IBAN[i + 1] + IBAN[i] + IBAN[i + 2 :] for i in range(4, 20) if IBAN[i] != IBAN[i + 1]]
    assert not any(map(is_iban, swapped))
    assert iban_fault(swapped[0]) == "its check digits do not fit"


@pytest.mark.parametrize("country", sorted(LENGTHS))
def test_each_country_has_one_length(country: str) -> None:
    whole = with_check_digits(country, "1" * (LENGTHS[country] - 4))
    assert is_iban(whole)
    for length in {LENGTHS[country] - 5, LENGTHS[country] - 3} & set(range(11, 31)):
        other = with_check_digits(country, "1" * length)
        assert f"an IBAN of {country} has {LENGTHS[country]} characters" in (iban_fault(other) or "")


def test_countries() -> None:
    assert "no country with IBANs has the code US" in (iban_fault(with_check_digits("US", "1" * 14)) or "")
    assert set(LENGTHS) > SEPA
    assert [is_in_sepa(iban) for iban in REGISTRY] == [True] * 6 + [False] * 3
    assert not is_iban("ann@example.org")
    assert not is_iban(IBAN.lower())
