"""ISO 20022 credit transfer files for banks, pain.001.001.03 and pain.001.001.09.

A file has one payment information block of single transfers, in one currency, from one account. If the currency is EUR
and all payees have IBANs, the service level is SEPA and charges follow it (`SLEV`); otherwise charges are shared
(`SHAR`). Names and remittance texts are cut after 140 characters. Characters that XML cannot represent are removed;
all others are kept, in any script, so a bank that accepts only Latin letters has to transcribe them.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

Version = Literal["pain.001.001.03", "pain.001.001.09"]
TEXT = 140
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Transfer:
    """One credit transfer.

    Attributes:
        identity: end-to-end identification, at most 35 characters.
        amount: in the currency of the payments, positive.
        account: an IBAN if `has_iban`, or another identification of at most 34 characters.
        subject: remittance text for the payee.
    """

    identity: str
    amount: Decimal
    name: str
    account: str
    has_iban: bool
    subject: str


@dataclass(frozen=True)
class Payments:
    """Transfers of one file.

    Attributes:
        identity: message identification, at most 35 characters; a bank rejects a second file with the same one.
        created_at: ISO 8601.
    """

    identity: str
    created_at: str
    execution_date: date
    currency: str
    debtor_name: str
    debtor_iban: str
    debtor_bic: str | None
    transfers: tuple[Transfer, ...]


def credit_transfer(payments: Payments, version: Version = "pain.001.001.09") -> bytes:
    """The XML file, in UTF-8."""
    newer = version == "pain.001.001.09"
    document = ET.Element("Document", xmlns=f"urn:iso:std:iso:20022:tech:xsd:{version}")
    initiation = ET.SubElement(document, "CstmrCdtTrfInitn")
    count, total = str(len(payments.transfers)), sum((transfer.amount for transfer in payments.transfers), Decimal(0))
    header = ET.SubElement(initiation, "GrpHdr")
    _put(header, "MsgId", payments.identity)
    _put(header, "CreDtTm", payments.created_at)
    _put(header, "NbOfTxs", count)
    _put(header, "CtrlSum", f"{total:f}")
    _put(header, "InitgPty/Nm", _text(payments.debtor_name))
    block = ET.SubElement(initiation, "PmtInf")
    _put(block, "PmtInfId", payments.identity)
    _put(block, "PmtMtd", "TRF")
    _put(block, "NbOfTxs", count)
    _put(block, "CtrlSum", f"{total:f}")
    sepa = payments.currency == "EUR" and all(transfer.has_iban for transfer in payments.transfers)
    if sepa:
        _put(block, "PmtTpInf/SvcLvl/Cd", "SEPA")
    _put(block, "ReqdExctnDt/Dt" if newer else "ReqdExctnDt", payments.execution_date.isoformat())
    _put(block, "Dbtr/Nm", _text(payments.debtor_name))
    _put(block, "DbtrAcct/Id/IBAN", payments.debtor_iban)
    if payments.debtor_bic:
        _put(block, f"DbtrAgt/FinInstnId/{'BICFI' if newer else 'BIC'}", payments.debtor_bic)
    else:
        _put(block, "DbtrAgt/FinInstnId/Othr/Id", "NOTPROVIDED")
    _put(block, "ChrgBr", "SLEV" if sepa else "SHAR")
    for transfer in payments.transfers:
        element = ET.SubElement(block, "CdtTrfTxInf")
        _put(element, "PmtId/EndToEndId", transfer.identity)
        _put(element, "Amt/InstdAmt", f"{transfer.amount:f}").set("Ccy", payments.currency)
        _put(element, "Cdtr/Nm", _text(transfer.name))
        _put(element, f"CdtrAcct/Id/{'IBAN' if transfer.has_iban else 'Othr/Id'}", transfer.account)
        _put(element, "RmtInf/Ustrd", _text(transfer.subject))
    ET.indent(document)
    return bytes(ET.tostring(document, encoding="UTF-8", xml_declaration=True))


def _put(parent: ET.Element, path: str, text: str) -> ET.Element:
    """Append new elements along a path, and set the text of the last one."""
    for tag in path.split("/"):
        parent = ET.SubElement(parent, tag)
    parent.text = text
    return parent


def _text(text: str) -> str:
    return NOT_XML.sub("", text)[:TEXT].strip() or "-"
