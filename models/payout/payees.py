"""Payees: the accounts of contributors, from the columns of `contributors.csv`.

These are `payee`, and optionally `currency`, `name`, `country`, `town` and those of `royalty.models.payout.standing`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from royalty.models.base.errors import InputError
from royalty.models.data.folder import read_csv
from royalty.models.data.listing import check_columns
from royalty.models.data.names import SPACES, look_the_same, lookalikes, person_name
from royalty.models.payout.countries import is_country
from royalty.models.payout.iban import claimed_iban, iban_fault, is_iban
from royalty.models.payout.standing import COLUMNS as STANDING
from royalty.models.payout.standing import UNKNOWN, Checks, Standing, read_standing, unmet

ACCOUNT_LENGTH = 34
COLUMNS = ("contributor", "name", "payee", "currency", "country", "town", *STANDING)
OTHER_NAMES = (
    r"iban|account(?!an)|acct|konto|rekening|compte(?!ur)|cuenta|conta(?!ct|in)|conto|paypal|wallet|payee|payto|paidto|"
    r"recipient|creditor|benefici(?:ary|aire|ario)|begunstigter?|empfanger|empfaenger|destinat(?:aire|ario)"
)
"""Other names that people give the column `payee`, in letters without accents."""
MEANS_ACCOUNT = re.compile(rf"{OTHER_NAMES}|bank")
"""A name in which this is found is refused where no column `payee` is."""
IS_ACCOUNT = re.compile(rf".*iban.*|(?:bank)?(?:{OTHER_NAMES})(?:number|nummer|nr|no|id|s)?|walletaddress")
"""A name that is this from end to end is refused beside a column `payee`; `payee_name` is not."""


@dataclass(frozen=True)
class Payee:
    """The recipient of a contributor's payments.

    Attributes:
        name: name of the payee, by default that of the contributor.
        account: an IBAN without spaces, or another identifier of at most 34 characters.
        currency: the currency of the account; empty: any.
        country, town: where the payee lives: two letters of ISO 3166-1, and a name; empty: not known.
        standing: identity and sanctions checks, and tax status.
    """

    name: str
    account: str
    currency: str
    country: str = ""
    town: str = ""
    standing: Standing = UNKNOWN

    @property
    def has_iban(self) -> bool:
        return is_iban(self.account)


def read_payees(path: Path) -> dict[str, Payee] | None:
    """The payees of `contributors.csv` by contributor; None if it has no column `payee`: all are paid by name.

    A contributor with an empty cell has no payee, and payments to it are held.

    Raises:
        InputError: a contributor is listed twice, or an account is invalid; the message names the file and the row.
    """
    rows = read_csv(path, {"contributor"})
    header = list(rows[0][1])
    _check_header(f"{path}, row 1", header)
    if "payee" not in header:
        return None
    payees: dict[str, Payee] = {}
    rows_by_contributor: dict[str, int] = {}
    for line, row in rows:
        where, contributor = f"{path}, row {line}", person_name(f"{path}, row {line}", row["contributor"])
        if contributor in rows_by_contributor:
            raise InputError(
                f"{where}: a contributor has one payee, and {contributor!r} is already in row "
                f"{rows_by_contributor[contributor]}; keep one row"
            )
        rows_by_contributor[contributor] = line
        account = SPACES.sub("", row["payee"])
        if account:
            currency = row.get("currency", "").strip().upper()
            payees[contributor] = Payee(
                name=person_name(where, row.get("name", "")) or contributor,
                account=_checked(account, where),
                currency=currency,
                country=_country(row.get("country", ""), where),
                town=row.get("town", "").strip(),
                standing=read_standing(row, where),
            )
    return payees


def _check_header(where: str, header: list[str]) -> None:
    """Refuse columns that who wrote them takes for one that is read, above all for `payee`; others are ignored."""
    for name in header:
        meant = next((known for known in COLUMNS if look_the_same(_letters(name), _letters(known))), name)
        if meant != name and meant in header:
            raise InputError(
                f"{where}: {name!a} and {meant!r} look like one column, and only the second is read; drop one"
            )
        if meant != name:
            raise InputError(f"{where}: unknown column {name!a}; did you mean {meant!r}? Rename it, or drop it")
    check_columns(where, header, {"contributor"}, COLUMNS)
    if "payee" in header:
        refused, remedy = IS_ACCOUNT.fullmatch, "keep the accounts in `payee`, and drop or rename the other"
    else:
        refused, remedy = MEANS_ACCOUNT.search, "rename it to `payee`, or drop it if it is no account"
    if others := [name for name in header if name not in COLUMNS and refused(_letters(name))]:
        raise InputError(f"{where}: accounts stand in the column `payee`, and there is {others[0]!r}; {remedy}")


def _letters(name: str) -> str:
    """The letters and digits of a name, small and without accents."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))


def unpayable(payees: Mapping[str, Payee] | None, contributors: Collection[str], *currencies: str) -> frozenset[str]:
    """Contributors without a payee that accepts one of these currencies."""
    if payees is None:
        return frozenset()
    payable = {name for name, payee in payees.items() if payee.currency in ("", *currencies)}
    return frozenset(contributors) - payable


def unchecked(
    payees: Mapping[str, Payee] | None, contributors: Collection[str], checks: Checks, today: date
) -> dict[str, list[str]]:
    """Why contributors may not be paid yet, by name: checks that their payee has not passed.

    Those without a payee have passed none.
    """
    standings = {name: payee.standing for name, payee in (payees or {}).items()}
    reasons = {name: unmet(standings.get(name, UNKNOWN), checks, today) for name in sorted(contributors)}
    return {name: unpassed for name, unpassed in reasons.items() if unpassed}


def shared_accounts(payees: Mapping[str, Payee] | None, contributors: Collection[str]) -> list[list[str]]:
    """Groups of contributors with the same account, who may be one person under several names."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(contributors):
        if payees is not None and name in payees:
            groups[payees[name].account].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _country(text: str, where: str) -> str:
    """The country in capitals, after validation; empty if it is not given."""
    code = text.strip().upper()
    if code and not is_country(code):
        raise InputError(
            f"{where}: a country has two letters of ISO 3166-1, such as CH, or GB for Great Britain; got {text!r}. "
            "Correct `country`"
        )
    return code


def _checked(account: str, where: str) -> str:
    """The account, after validation; an IBAN in upper case, without hyphens."""
    if unreadable := [character for character in account if not "!" <= character <= "~"]:
        raise InputError(
            f"{where}: an account has the letters, digits and signs of ASCII, and {account!a} has {unreadable[0]!a}; "
            "type `payee` anew"
        )
    if (iban := claimed_iban(account)) is not None:
        if (fault := iban_fault(iban)) is not None:
            raise InputError(
                f"{where}: an account that begins with two letters and two digits is an IBAN, and {account!r} is not: "
                f"{fault}; look for a typing error, or begin an account of another kind otherwise, such as `no. AC12`"
            )
        return iban
    if len(account) > ACCOUNT_LENGTH:
        raise InputError(
            f"{where}: an account has at most {ACCOUNT_LENGTH} characters, and this has {len(account)}; correct `payee`"
        )
    return account


def confusable(payees: Mapping[str, Payee] | None, contributors: Collection[str]) -> list[list[str]]:
    """Groups of contributors whose names look the same, and who are not paid into one account.

    Without payees all are paid by name, so that who pays cannot tell them apart either.
    """

    def account(name: str) -> str:
        return payees[name].account if payees is not None and name in payees else name

    return [group for group in lookalikes(contributors) if len({account(name) for name in group}) > 1]
