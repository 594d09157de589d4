"""Payment files: valid by the published schema, in every currency and script, and of the sum that is paid."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date
from decimal import Decimal
from importlib.resources import files

import pytest
import xmlschema

from royalty.infra.ledger.pain001 import Payments, Transfer, Version, credit_transfer

IBAN = "DE89370400440532013000"
VERSIONS: tuple[Version, ...] = ("pain.001.001.03", "pain.001.001.09")
AMOUNTS = {"EUR": ("0.01", "1234.50"), "JPY": ("500", "1"), "KWD": ("1.234", "10.001")}
NAMES = ("名前 אבג 🎨", "<b>&amp;\x00\x1b " + "ö" * 500)


def payments(currency: str, *, bic: str | None = None, has_iban: bool = True) -> Payments:
    accounts = (IBAN, "0012-34") if not has_iban else (IBAN, "GB29NWBK60161331926819")
    transfers = tuple(
        Transfer(f"s-{index}", Decimal(amount), name, account, account[0].isalpha(), f"may: {name}")
        for index, (amount, name, account) in enumerate(zip(AMOUNTS[currency], NAMES, accounts, strict=True))
    )
    created, due = "2026-05-31T23:59:59+00:00", date(2026, 6, 1)
    return Payments("s", created, due, currency, "Musée\x00 d'Art", IBAN, bic, transfers)


@pytest.fixture(scope="module", params=VERSIONS)
def schema(request: pytest.FixtureRequest) -> tuple[Version, xmlschema.XMLSchema]:
    return request.param, xmlschema.XMLSchema(str(files("sepaxml").joinpath("schemas", f"{request.param}.xsd")))


@pytest.mark.parametrize("currency", AMOUNTS)
@pytest.mark.parametrize(("bic", "has_iban"), [(None, True), ("COBADEFFXXX", False)])
def test_is_valid_and_says_what_is_paid(
    schema: tuple[Version, xmlschema.XMLSchema], currency: str, bic: str | None, has_iban: bool
) -> None:
    version, checked = schema
    message = credit_transfer(payments(currency, bic=bic, has_iban=has_iban), version)
    checked.validate(message.decode())
    document = ET.fromstring(message)
    found = [(amount.get("Ccy"), amount.text) for amount in document.findall(".//{*}InstdAmt")]
    assert found == [(currency, amount) for amount in AMOUNTS[currency]]
    sums = {total.text for total in document.findall(".//{*}CtrlSum")}
    assert sums == {str(sum(map(Decimal, AMOUNTS[currency])))}
    names = [name.text for name in document.findall(".//{*}Nm")]
    assert names[:2] == ["Musée d'Art"] * 2
    assert names[2] == NAMES[0]
    assert names[3] == ("<b>&amp; " + "ö" * 500)[:140]


@pytest.mark.parametrize(("currency", "has_iban", "sepa"), [("EUR", True, 1), ("EUR", False, 0), ("KWD", True, 0)])
def test_only_euros_to_ibans_are_sepa(currency: str, has_iban: bool, sepa: int) -> None:
    document = ET.fromstring(credit_transfer(payments(currency, has_iban=has_iban)))
    assert [code.text for code in document.findall(".//{*}Cd")] == ["SEPA"] * sepa
    assert [charges.text for charges in document.findall(".//{*}ChrgBr")] == ["SLEV" if sepa else "SHAR"]


def test_what_the_schema_forbids_is_seen(schema: tuple[Version, xmlschema.XMLSchema]) -> None:
    version, checked = schema
    other = next(one for one in VERSIONS if one != version)
    message = credit_transfer(payments("EUR"), other).decode().replace(other, version)
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        checked.validate(message)
