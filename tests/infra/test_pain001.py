"""Payment files: valid by the published schema and the rules of SEPA, and of the sum that is paid."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
import xmlschema

from royalty.infra.ledger.pain001 import LARGEST, Payments, Transfer, Version, credit_transfer
from royalty.infra.ledger.sepa_text import ALLOWED

IBAN = "DE89370400440532013000"
VERSIONS: tuple[Version, ...] = ("pain.001.001.03", "pain.001.001.09")
AMOUNTS = ("0.01", "1234.50", "999999999.99")
NAMES = ("名前 אבג 🎨 Ann", "<b>&amp;\x00\x1b " + "ö" * 500, "ß" * 70)


def payments(bic: str | None = None) -> Payments:
    transfers = tuple(
        Transfer(f"s-{index}", Decimal(amount), name, "GB29NWBK60161331926819", f"may: {name * 3}")
        for index, (amount, name) in enumerate(zip(AMOUNTS, NAMES, strict=True))
    )
    return Payments("s", "2026-05-31T23:59:59+00:00", date(2026, 6, 1), "Musée\x00 d'Art", IBAN, bic, transfers)


def first(given: Payments, **changed: Any) -> Payments:
    """The payments with only the first transfer, changed."""
    return replace(given, transfers=(replace(given.transfers[0], **changed),))


@pytest.fixture(scope="module", params=VERSIONS)
def schema(request: pytest.FixtureRequest) -> tuple[Version, xmlschema.XMLSchema]:
    return request.param, xmlschema.XMLSchema(str(files("sepaxml").joinpath("schemas", f"{request.param}.xsd")))


@pytest.mark.parametrize("bic", [None, "COBADEFFXXX"])
def test_is_valid_and_says_what_is_paid(schema: tuple[Version, xmlschema.XMLSchema], bic: str | None) -> None:
    version, checked = schema
    message = credit_transfer(payments(bic), version)
    checked.validate(message.decode())
    document = ET.fromstring(message)
    found = [(amount.get("Ccy"), amount.text) for amount in document.findall(".//{*}InstdAmt")]
    assert found == [("EUR", amount) for amount in AMOUNTS]
    assert [total.text for total in document.findall(".//{*}CtrlSum")] == ["1000001234.50"] * 2
    assert [count.text for count in document.findall(".//{*}NbOfTxs")] == ["3"] * 2
    assert [code.text for code in document.findall(".//{*}SvcLvl/{*}Cd")] == ["SEPA"]
    assert [charges.text for charges in document.findall(".//{*}ChrgBr")] == ["SLEV"]
    assert [agent.text for agent in document.findall(".//{*}DbtrAgt//*") if len(agent) == 0] == [bic or "NOTPROVIDED"]
    date_asked = "{*}ReqdExctnDt/{*}Dt" if version == "pain.001.001.09" else "{*}ReqdExctnDt"
    assert [due.text for due in document.findall(f".//{date_asked}")] == ["2026-06-01"]


def test_names_and_texts_have_the_characters_and_lengths_of_sepa() -> None:
    document = ET.fromstring(credit_transfer(payments()))
    names = [name.text or "" for name in document.findall(".//{*}Nm")]
    assert names == ["Musee d'Art"] * 2 + [".. ... . Ann", ".b.+amp, " + "o" * 61, "s" * 70]
    texts = [text.text or "" for text in document.findall(".//{*}Ustrd")]
    assert texts[0] == "may: " + ".. ... . Ann" * 3
    assert [len(text) for text in texts] == [41, 140, 140]
    assert set("".join(text for text in document.itertext() if text.strip())) - ALLOWED == set()


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", str(LARGEST + Decimal("0.01"))])
def test_amounts_that_are_no_sepa_transfer_are_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.01 and at most 999999999\.99 EUR, got"):
        credit_transfer(first(payments(), amount=Decimal(amount)))


def test_a_file_without_transfers_and_identifications_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="one transfer or more"):
        credit_transfer(replace(payments(), transfers=()))
    with pytest.raises(ValueError, match="1 to 35 characters"):
        credit_transfer(replace(payments(), identity="x" * 36))
    with pytest.raises(ValueError, match="1 to 35 characters"):
        credit_transfer(first(payments(), identity="a//b"))


def test_what_the_schema_forbids_is_seen(schema: tuple[Version, xmlschema.XMLSchema]) -> None:
    version, checked = schema
    other = next(one for one in VERSIONS if one != version)
    message = credit_transfer(payments(), other).decode().replace(other, version)
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        checked.validate(message)
