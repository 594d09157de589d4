"""Whom contributors are paid through: `contributors.csv` with the columns `payee` and `currency`."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from royalty.models.base.errors import InputError
from royalty.models.data.folder import read_csv
from royalty.models.payout.iban import FORM, iban_fault, is_iban

ACCOUNT_LENGTH = 34


@dataclass(frozen=True)
class Payee:
    """Where a contributor's money goes.

    Attributes:
        name: of the payee; that of the contributor unless given.
        account: an IBAN without spaces, or another identification of at most 34 characters.
        currency: in which the account is paid; empty is any.
    """

    name: str
    account: str
    currency: str

    @property
    def has_iban(self) -> bool:
        return is_iban(self.account)


def read_payees(path: Path) -> dict[str, Payee] | None:
    """The payees of `contributors.csv`, by contributor; None where it has no column `payee`: all are paid by name.

    Who has an empty cell has no payee, and what they earn is held.

    Raises:
        InputError: naming file, row and remedy: a contributor listed twice, or an account that cannot be one.
    """
    rows = read_csv(path, {"contributor"})
    if rows and "payee" not in rows[0][1]:
        return None
    payees: dict[str, Payee] = {}
    seen: dict[str, int] = {}
    for line, row in rows:
        where, contributor = f"{path}, row {line}", unicodedata.normalize("NFC", row["contributor"]).strip()
        if contributor in seen:
            raise InputError(
                f"{where}: a contributor has one payee, and {contributor!r} is in row {seen[contributor]} already; "
                "keep one row"
            )
        seen[contributor] = line
        account = re.sub(r"\s", "", row["payee"])
        if account:
            currency = row.get("currency", "").strip().upper()
            payees[contributor] = Payee(row.get("name", "").strip() or contributor, _checked(account, where), currency)
    return payees


def unpayable(payees: Mapping[str, Payee] | None, contributors: Collection[str], currency: str) -> frozenset[str]:
    """Contributors without a payee whose account is paid in this currency."""
    if payees is None:
        return frozenset()
    payable = {name for name, payee in payees.items() if payee.currency in ("", currency)}
    return frozenset(contributors) - payable


def shared_accounts(payees: Mapping[str, Payee] | None, contributors: Collection[str]) -> list[list[str]]:
    """Groups of contributors who are paid into one account: one person under two names, it may be."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(contributors):
        if payees is not None and name in payees:
            groups[payees[name].account].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _checked(account: str, where: str) -> str:
    """The account, if it can be one."""
    if len(account) > ACCOUNT_LENGTH:
        raise InputError(f"{where}: an account has {ACCOUNT_LENGTH} characters at most, and this has {len(account)}")
    candidate = account.upper()
    if not FORM.fullmatch(candidate):
        return account
    if (fault := iban_fault(candidate)) is not None:
        raise InputError(f"{where}: {account!r} is no IBAN, as {fault}; look for a wrong character")
    return candidate
