"""The payment files of a statement: SEPA credit transfers for the bank, and a table of payments by other means.

Everything that a file needs is checked before a payout is posted, by `check_export`. A payment that SEPA does not reach
is written to `other-payments.csv` with the reason, so that no payee makes the bank refuse the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.money import decimals_of
from royalty.infra.ledger.pain001 import (
    CURRENCY,
    LARGEST,
    NAME,
    TOWN,
    Address,
    Payments,
    Transfer,
    Version,
    credit_transfer,
)
from royalty.infra.ledger.postings import Posted
from royalty.infra.ledger.sepa_text import is_legible, sepa_text
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.business_days import is_business_day, next_business_day
from royalty.models.payout.conversion import converted
from royalty.models.payout.iban import OUTSIDE_EEA, is_in_sepa
from royalty.models.payout.payees import Payee, unpayable
from royalty.tasks.config.payout import DebtorConfig, PayoutConfig
from royalty.tasks.stages.task import task

ExportName = Literal["pain001", "pain001.03"]
VERSIONS: dict[ExportName, Version] = {"pain001": "pain.001.001.09", "pain001.03": "pain.001.001.03"}
TRANSFERS, OTHERS = "pain001.xml", "other-payments.csv"
CENTRAL_BANK = ZoneInfo("Europe/Berlin")
"""Time zone of the calendar by which banks execute SEPA credit transfers."""


@dataclass(frozen=True)
class OtherPayment:
    """A payment that is not in the file for the bank; a row of `other-payments.csv`."""

    contributor: str
    name: str
    account: str
    amount: str
    currency: str
    subject: str
    reason: str


@task(name="check payment files", cache_policy=NO_CACHE)
def check_export(
    export: ExportName | None,
    config: PayoutConfig,
    payees: Mapping[str, Payee] | None,
    release: Collection[str] = (),
) -> None:
    """Check that the payment files of a payout can be written, before it is posted.

    Args:
        export: format of the payment file; None checks nothing.
        release: contributors whose held money is paid.

    Raises:
        InputError: the debtor is missing, or SEPA does not reach its account; the pool is not in EUR; there are no
            payees; the execution date is past or no business day; the folder cannot be written.
    """
    if export is None:
        return
    _debtor(config)
    if config.currency != CURRENCY:
        raise InputError(
            f"a payment file has SEPA credit transfers, which are in {CURRENCY}; got a pool in {config.currency}. "
            "Leave `--export` out, and make the payments that `payout.csv` lists in that currency"
        )
    if payees is None:
        raise InputError(
            "a payment file needs the accounts of the contributors, and there are none. Add a column `payee` to "
            "`contributors.csv`, or set `payout.payees` to a file with that column"
        )
    if without_account := sorted(unpayable(payees, release, config.currency)):
        raise InputError(
            f"a payment needs an account; these have none in {config.currency}: {', '.join(without_account)}. Add it "
            "to the column `payee` of `contributors.csv`, or of the file in `payout.payees`"
        )
    _check_date(config.execution_date)
    _check_folder(open_workspace(settings()).root / "payouts")


def payment_files(
    posted: Posted, config: PayoutConfig, payees: Mapping[str, Payee] | None, export: ExportName
) -> tuple[dict[str, bytes], list[str]]:
    """Write the increase of each contributor's payment over earlier statements as transfers, and as other payments.

    Returns:
        Content of the files by name; a file without a payment is left out. And remarks on payments that are not in the
        file for the bank.
    """
    subject = " ".join(filter(None, (posted.pool, posted.period)))
    transfers, others = _divided(posted.id, subject, posted.moved, config, payees or {})
    debtor, files = _debtor(config), {}
    if transfers:
        payments = Payments(
            identity=posted.id,
            created_at=now().isoformat(timespec="seconds"),
            execution_date=config.execution_date or next_business_day(_today()),
            debtor_name=debtor.name,
            debtor_iban=debtor.iban,
            debtor_bic=debtor.bic,
            transfers=tuple(transfers),
            debtor_address=_address(debtor.country, debtor.town),
        )
        files[TRANSFERS] = credit_transfer(payments, VERSIONS[export])
    if others:
        files[OTHERS] = csv_bytes(pd.DataFrame(others))
    remarks = list(map(_remark, others))
    return files, remarks or ([] if transfers else [f"no payment file: statement {posted.id} pays nobody more"])


@task(name="check who is paid by other means", cache_policy=NO_CACHE)
def other_payments(
    gets: Mapping[str, int], config: PayoutConfig, payees: Mapping[str, Payee] | None, export: ExportName | None
) -> list[str]:
    """Remarks on payments that would not be in the file for the bank, before anything is posted.

    Args:
        gets: minor units that each contributor would be paid.
    """
    return [] if export is None else list(map(_remark, _divided("", "", gets, config, payees or {})[1]))


def _remark(row: OtherPayment) -> str:
    return f"{row.contributor}: not in {TRANSFERS} but in {OTHERS}, because {row.reason}"


def now() -> datetime:
    return datetime.now(UTC)


def _today() -> date:
    return now().astimezone(CENTRAL_BANK).date()


def _divided(
    statement: str, subject: str, gets: Mapping[str, int], config: PayoutConfig, payees: Mapping[str, Payee]
) -> tuple[list[Transfer], list[OtherPayment]]:
    """The payments of a statement, by whether SEPA reaches them.

    Args:
        gets: minor units by contributor; who gets none, or gives back, is left out.
    """
    transfers: list[Transfer] = []
    others: list[OtherPayment] = []
    due = sorted((contributor, minor) for contributor, minor in gets.items() if minor > 0)
    for index, (contributor, minor) in enumerate(due, start=1):
        amount, text = config.major_units(minor), f"{subject}: {contributor}"
        payee, currency = payees.get(contributor, Payee(contributor, "", "")), config.currency
        reason = _unreachable(payee, amount, config.debtor)
        dated = config.conversion
        if dated is not None and payee.currency not in ("", currency) and payee.currency in dated.rates:
            rate = dated.rates[payee.currency]
            reason = f"it is paid in {payee.currency}: {amount:f} {currency} at {rate}, {dated.source} of {dated.date}"
            amount, currency = converted(amount, rate, decimals_of(payee.currency)), payee.currency
        if reason:
            row = (contributor, payee.name, payee.account, f"{amount:f}", currency, text, reason)
            others.append(OtherPayment(*row))
        else:
            identity, address = f"{statement}-{index}", _address(payee.country, payee.town)
            transfers.append(Transfer(identity, amount, payee.name, payee.account, text, address))
    return transfers, others


def _address(country: str | None, town: str | None) -> Address | None:
    """An address that a bank can read; None if a part of it is missing."""
    return Address(country, town) if country and town and is_legible(sepa_text(town, TOWN)) else None


def _unreachable(payee: Payee, amount: Decimal, debtor: DebtorConfig | None) -> str | None:
    """Why a payment cannot be a SEPA credit transfer; None if it can."""
    if not payee.account:
        return "there is no account"
    if not payee.has_iban:
        return "the account is not an IBAN"
    if not is_in_sepa(payee.account):
        return f"SEPA does not reach accounts in {payee.account[:2]}"
    if not is_legible(sepa_text(payee.name, NAME)):
        return "the name has no letter of the SEPA character set; add a column `name` with one in Latin letters"
    if payee.account[:2] in OUTSIDE_EEA:
        where = f"a SEPA credit transfer to {payee.account[:2]}, outside the European Economic Area, has the address"
        if _address(payee.country, payee.town) is None:
            return f"{where} of the payee; add columns `country` (two letters) and `town` in Latin letters"
        if debtor is None or _address(debtor.country, debtor.town) is None:
            return f"{where} of the debtor; set `payout.debtor.country` and `payout.debtor.town`"
    if amount > LARGEST:
        return f"a SEPA credit transfer is at most {LARGEST} {CURRENCY}"
    return None


def _debtor(config: PayoutConfig) -> DebtorConfig:
    debtor = config.debtor
    if debtor is None:
        raise InputError(
            "a payment file names the debtor, and none is set; set `payout.debtor`, or give `--debtor-name` and "
            "`--debtor-iban`"
        )
    if not is_in_sepa(debtor.iban):
        raise InputError(
            f"the debtor of a payment file has an account in SEPA, got an IBAN of {debtor.iban[:2]}; set "
            "`payout.debtor.iban` to another account, or leave `--export` out"
        )
    if not is_legible(sepa_text(debtor.name, NAME)):
        raise InputError(
            f"the name of the debtor has a letter of the SEPA character set, got {debtor.name!r}; write "
            "`payout.debtor.name` in Latin letters"
        )
    return debtor


def _check_date(asked: date | None) -> None:
    today = _today()
    if asked is None:
        return
    if asked < today:
        raise InputError(f"banks execute transfers today, {today}, or later, got {asked}; set a later execution date")
    if not is_business_day(asked):
        raise InputError(
            f"banks execute transfers on business days of TARGET, got {asked} ({asked:%A}), which is none; the next is "
            f"{next_business_day(asked)}"
        )


def _check_folder(folder: Path) -> None:
    """Write a file, as permissions alone do not show whether it is possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}), and payment files go there; make it a writable folder, or "
            "set ROYALTY_HOME to another one"
        ) from error
