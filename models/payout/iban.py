"""IBANs: their form and check digits (ISO 13616), their length by country, and the countries of SEPA."""

from __future__ import annotations

import re

FORM = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]*")
CLAIM = re.compile(r"(?:IBAN:?)?([A-Z]{2}[0-9]{2}[^@]*)")
"""What begins like an IBAN, and is no address such as `jo42@example.org`."""

LENGTHS = {
    code: length
    for length, codes in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for code in codes.split()
}
"""Number of characters of an IBAN by country code, from the IBAN registry of SWIFT. Territories use their country's."""

REACHED = """
AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GI GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS SE SI SK
SM VA
"""
SEPA = frozenset(REACHED.split())
"""Country codes of IBANs that SEPA credit transfers reach (EPC 409-09, 2025)."""


OUTSIDE_EEA = SEPA & frozenset(["AD", "AL", "CH", "GB", "GI", "MC", "MD", "ME", "MK", "RS", "SM", "VA"])
"""Country codes of IBANs in SEPA, but outside the European Economic Area. Banks need addresses for transfers there."""


def is_iban(account: str) -> bool:
    """Whether an account, without spaces and in capitals, is an IBAN."""
    return iban_fault(account) is None


def claimed_iban(account: str) -> str | None:
    """The IBAN that an account is meant to be, right or not; None if it is an account of another kind.

    Args:
        account: an account without spaces. Hyphens, small letters and a heading `IBAN` are no part of an IBAN.
    """
    claim = CLAIM.fullmatch(account.replace("-", "").upper())
    return claim and claim[1]


def iban_fault(account: str) -> str | None:
    """Why an account is no IBAN; None if it is one.

    Its first four characters moved to the end, and letters counted from A = 10, an IBAN leaves 1 when divided by 97.
    """
    if not FORM.fullmatch(account):
        return "an IBAN has two letters, two digits, and letters and digits after them"
    country, moved = account[:2], account[4:] + account[:4]
    if country not in LENGTHS:
        return f"no country with IBANs has the code {country}"
    if len(account) != LENGTHS[country]:
        return f"an IBAN of {country} has {LENGTHS[country]} characters, and this has {len(account)}"
    if int("".join(str(int(character, 36)) for character in moved)) % 97 != 1:
        return "its check digits do not fit"
    return None


def is_in_sepa(iban: str) -> bool:
    """Whether SEPA credit transfers reach the account of an IBAN."""
    return iban[:2] in SEPA
