"""SEPA credit transfers for banks: ISO 20022 files, pain.001.001.03 and pain.001.001.09.

They follow the customer-to-bank implementation guidelines of the European Payments Council: one payment information
block of single transfers in EUR, with service level SEPA, charges that follow it (`SLEV`), and the number and sum of
transfers in header and block. Names have 70 characters and remittance texts 140, transliterated by
`royalty.infra.ledger.sepa_text`. Addresses are structured: banks stop taking free lines of address in November 2026.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from royalty.infra.ledger.sepa_text import checked_identity, sepa_text

Version = Literal["pain.001.001.03", "pain.001.001.09"]
NAME, REMITTANCE, TOWN = 70, 140, 35
CURRENCY = "EUR"
LARGEST = Decimal("999999999.99")
"""The largest amount of a SEPA credit transfer."""


@dataclass(frozen=True)
class Address:
    """A structured postal address.

    Attributes:
        country: two letters of ISO 3166-1.
    """

    country: str
    town: str


@dataclass(frozen=True)
class Transfer:
    """One credit transfer.

    Attributes:
        identity: end-to-end identification; see `royalty.infra.ledger.sepa_text.checked_identity`.
        amount: in EUR, from 0.01 to `LARGEST`.
        subject: remittance text for the payee.
        address: of the payee; None writes none.
    """

    identity: str
    amount: Decimal
    name: str
    iban: str
    subject: str
    address: Address | None = None


@dataclass(frozen=True)
class Payments:
    """Transfers of one file; at least one.

    Attributes:
        identity: message identification; a bank rejects a second file with the same one.
        created_at: ISO 8601.
        execution_date: a business day on which the bank is asked to execute the transfers.
    """

    identity: str
    created_at: str
    execution_date: date
    debtor_name: str
    debtor_iban: str
    debtor_bic: str | None
    transfers: tuple[Transfer, ...]
    debtor_address: Address | None = None


def credit_transfer(payments: Payments, version: Version = "pain.001.001.09") -> bytes:
    """The XML file, in UTF-8.

    Raises:
        ValueError: there is no transfer, or an amount or identification is not allowed.
    """
    _check(payments)
    newer = version == "pain.001.001.09"
    document = ET.Element("Document", xmlns=f"urn:iso:std:iso:20022:tech:xsd:{version}")
    initiation = ET.SubElement(document, "CstmrCdtTrfInitn")
    header = ET.SubElement(initiation, "GrpHdr")
    _put(header, "MsgId", payments.identity)
    _put(header, "CreDtTm", payments.created_at)
    _put_totals(header, payments)
    _put(header, "InitgPty/Nm", sepa_text(payments.debtor_name, NAME))
    block = ET.SubElement(initiation, "PmtInf")
    _put(block, "PmtInfId", payments.identity)
    _put(block, "PmtMtd", "TRF")
    _put_totals(block, payments)
    _put(block, "PmtTpInf/SvcLvl/Cd", "SEPA")
    _put(block, "ReqdExctnDt/Dt" if newer else "ReqdExctnDt", payments.execution_date.isoformat())
    _put(block, "Dbtr/Nm", sepa_text(payments.debtor_name, NAME))
    _put_address(block[-1], payments.debtor_address)
    _put(block, "DbtrAcct/Id/IBAN", payments.debtor_iban)
    if payments.debtor_bic:
        _put(block, f"DbtrAgt/FinInstnId/{'BICFI' if newer else 'BIC'}", payments.debtor_bic)
    else:
        _put(block, "DbtrAgt/FinInstnId/Othr/Id", "NOTPROVIDED")
    _put(block, "ChrgBr", "SLEV")
    for transfer in payments.transfers:
        element = ET.SubElement(block, "CdtTrfTxInf")
        _put(element, "PmtId/EndToEndId", transfer.identity)
        _put(element, "Amt/InstdAmt", f"{transfer.amount:.2f}").set("Ccy", CURRENCY)
        _put(element, "Cdtr/Nm", sepa_text(transfer.name, NAME))
        _put_address(element[-1], transfer.address)
        _put(element, "CdtrAcct/Id/IBAN", transfer.iban)
        _put(element, "RmtInf/Ustrd", sepa_text(transfer.subject, REMITTANCE))
    ET.indent(document)
    return bytes(ET.tostring(document, encoding="UTF-8", xml_declaration=True))


def _check(payments: Payments) -> None:
    if not payments.transfers:
        raise ValueError(f"a payment file has one transfer or more, and {payments.identity} has none")
    for identity in (payments.identity, *(transfer.identity for transfer in payments.transfers)):
        checked_identity(identity)
    for transfer in payments.transfers:
        if not 0 < transfer.amount <= LARGEST or transfer.amount != round(transfer.amount, 2):
            raise ValueError(
                f"a SEPA credit transfer is of whole cents, at least 0.01 and at most {LARGEST} EUR, got "
                f"{transfer.amount} for {transfer.identity}"
            )


def _put_address(party: ET.Element, address: Address | None) -> None:
    """Append an address to a debtor or creditor, after the name."""
    if address is not None:
        postal = ET.SubElement(party, "PstlAdr")
        _put(postal, "TwnNm", sepa_text(address.town, TOWN))
        _put(postal, "Ctry", address.country)


def _put_totals(parent: ET.Element, payments: Payments) -> None:
    _put(parent, "NbOfTxs", str(len(payments.transfers)))
    _put(parent, "CtrlSum", f"{sum((transfer.amount for transfer in payments.transfers), Decimal(0)):.2f}")


def _put(parent: ET.Element, path: str, text: str) -> ET.Element:
    """Append new elements along a path, and set the text of the last one."""
    for tag in path.split("/"):
        parent = ET.SubElement(parent, tag)
    parent.text = text
    return parent
