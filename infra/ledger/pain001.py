"""ISO 20022 credit transfers, pain.001.001.03 and pain.001.001.09: what a bank is asked to transfer.

One payment information block of single transfers, in one currency, from one account. In euros and all to IBANs, the
service level is SEPA and charges follow it (`SLEV`); otherwise they are shared (`SHAR`). Names have 140 characters at
most and references to the payee too: longer ones are cut. Characters that XML cannot hold are left out; others stay as
they are, in any script, so that a bank that takes Latin letters alone has to transcribe them.
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
        identity: end to end, of at most 35 characters.
        amount: in the currency of the payments, positive.
        account: an IBAN if `has_iban`, or another identification of at most 34 characters.
        subject: what the payee reads.
    """

    identity: str
    amount: Decimal
    name: str
    account: str
    has_iban: bool
    subject: str


@dataclass(frozen=True)
class Payments:
    """What is transferred together.

    Attributes:
        identity: of the message, at most 35 characters; a bank refuses the same a second time.
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
    """The message, UTF-8."""
    newer = version == "pain.001.001.09"
    document = ET.Element("Document", xmlns=f"urn:iso:std:iso:20022:tech:xsd:{version}")
    initiation = ET.SubElement(document, "CstmrCdtTrfInitn")
    count, total = str(len(payments.transfers)), sum((one.amount for one in payments.transfers), Decimal(0))
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
    sepa = payments.currency == "EUR" and all(one.has_iban for one in payments.transfers)
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
    for one in payments.transfers:
        transfer = ET.SubElement(block, "CdtTrfTxInf")
        _put(transfer, "PmtId/EndToEndId", one.identity)
        _put(transfer, "Amt/InstdAmt", f"{one.amount:f}").set("Ccy", payments.currency)
        _put(transfer, "Cdtr/Nm", _text(one.name))
        _put(transfer, f"CdtrAcct/Id/{'IBAN' if one.has_iban else 'Othr/Id'}", one.account)
        _put(transfer, "RmtInf/Ustrd", _text(one.subject))
    ET.indent(document)
    return bytes(ET.tostring(document, encoding="UTF-8", xml_declaration=True))


def _put(parent: ET.Element, path: str, text: str) -> ET.Element:
    """An element at a path of new ones."""
    for tag in path.split("/"):
        parent = ET.SubElement(parent, tag)
    parent.text = text
    return parent


def _text(text: str) -> str:
    return NOT_XML.sub("", text)[:TEXT].strip() or "-"
