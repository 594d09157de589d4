"""Payees: who has one, in which currency, who shares one, and accounts that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.models.base.errors import InputError
from royalty.models.payout.payees import confusable, read_payees, shared_accounts, unpayable

HEAD = "contributor,name,payee,currency\n"
IBAN = "DE89370400440532013000"


def read(folder: Path, text: str) -> dict[str, object] | None:
    (folder / "contributors.csv").write_text(text, encoding="utf-8")
    return read_payees(folder / "contributors.csv")


def test_who_has_no_account_in_the_currency_is_not_payable(tmp_path: Path) -> None:
    rows = f"ann,Ann A.,DE89 3704 0044 0532 0130 00,EUR\nbob,,{IBAN},\n名前,,,EUR\ncy,,acc-7,usd\n"
    payees = read(tmp_path, HEAD + rows)
    assert payees["ann"].account == IBAN
    assert (payees["bob"].name, payees["bob"].has_iban, payees["cy"].has_iban) == ("bob", True, False)
    everybody = ["ann", "bob", "名前", "cy", "new"]
    assert unpayable(payees, everybody, "EUR") == {"名前", "cy", "new"}
    assert unpayable(payees, everybody, "USD") == {"ann", "名前", "new"}
    assert shared_accounts(payees, everybody) == [["ann", "bob"]]
    assert shared_accounts(payees, ["ann"]) == shared_accounts(None, everybody) == []


def test_without_a_column_of_payees_all_are_paid_by_name(tmp_path: Path) -> None:
    assert read(tmp_path, "contributor,name\nann,Ann\n") is None
    harmless = "discount,country,studio,contact,contains,accountant,compteur,payment,notes,email,website"
    assert read(tmp_path, f"contributor,{harmless}\nann,1,CH,Zoo{',' * 8}\n") is None
    assert unpayable(None, ["ann"], "EUR") == frozenset()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"ann,,{IBAN},\nann,,{IBAN},", r"row 3: a contributor has one payee, and 'ann' is already in row 2"),
        (
            "ann,,DE88370400440532013000,",
            r"row 2: .* is an IBAN, and 'DE88370400440532013000' is not: its check digits",
        ),
        ("ann,,DE8937040044053201300,", r"row 2: .* is not: an IBAN of DE has 22 characters, and this has 21"),
        ("ann,,DE89,", r"row 2: .* 'DE89' is not: an IBAN of DE has 22 characters, and this has 4"),
        ("ann,,IBAN DE88 3704 0044 0532 0130 00,", r"row 2: .* is not: its check digits do not fit"),
        ("ann,,GB83-WEST-1234-5698-7654-32,", r"row 2: .* is not: its check digits do not fit"),
        ("ann,,de89.3704.0044.0532.0130.00,", r"row 2: .* is not: an IBAN has two letters, two digits, and letters"),
        ("ann,,ZZ12345,", r"row 2: .* is not: no country with IBANs has the code ZZ"),
        ("ann,,\uff24\uff25\uff18\uff19370400440532013000,", r"signs of ASCII, and .* has '\\uff24'"),
        ("ann,,DE\u0668\u0669370400440532013000,", r"signs of ASCII, and .* has '\\u0668'"),
        (f"ann,,\u200b{IBAN},", r"signs of ASCII, and '\\u200bDE89\d+' has '\\u200b'"),
        (f"ann,,{IBAN}\x07,", r"signs of ASCII, and .* has '\\x07'"),
        ("ann,," + "x" * 35 + ",", r"at most 34 characters, and this has 35"),
    ],
)
def test_accounts_that_cannot_be(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, HEAD + row)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("contributor,Payee", "row 1: unknown column 'Payee'; did you mean 'payee'"),
        ("contributor, payee", "row 1: unknown column ' payee'; did you mean 'payee'"),
        ("contributor,IBAN", "row 1: accounts stand in the column `payee`, and there is 'IBAN'"),
        ("contributor,account number", "row 1: accounts stand in the column `payee`, and there is 'account number'"),
        ("contributor,payee_iban", "row 1: accounts stand in the column `payee`, and there is 'payee_iban'"),
        ("contributor,Kontonummer", "row 1: accounts stand in the column `payee`, and there is 'Kontonummer'"),
        ("contributor,recipient", "row 1: accounts stand in the column `payee`, and there is 'recipient'"),
        (
            "contributor,Beneficiary name",
            "row 1: accounts stand in the column `payee`, and there is 'Beneficiary name'",
        ),
        ("contributor,wallet", "row 1: accounts stand in the column `payee`, and there is 'wallet'"),
        ("contributor,Empf\u00e4nger", "row 1: accounts stand in the column `payee`, and there is 'Empf\u00e4nger'"),
        ("contributor,pay_to", "row 1: accounts stand in the column `payee`, and there is 'pay_to'"),
        ("contributor,\uff50\uff41\uff59\uff45\uff45", "row 1: unknown column '.*uff50.*'; did you mean 'payee'"),
        ("contributor,\u0440ayee", r"row 1: unknown column '\\u0440ayee'; did you mean 'payee'"),
        ("contributor,payee,Payee", "row 1: 'Payee' and 'payee' look like one column, and only the second is read"),
        ("contributor,payee, payee", "row 1: ' payee' and 'payee' look like one column"),
        ("contributor,Contributor", "row 1: 'Contributor' and 'contributor' look like one column"),
        ("contributor,payee,currency,Currency", "row 1: 'Currency' and 'currency' look like one column"),
        ("contributor,payee,recipient", "there is 'recipient'; keep the accounts in `payee`, and drop or rename"),
        ("contributor,payee,Account number", "there is 'Account number'; keep the accounts in `payee`"),
        ("contributor,payee,wallet_address", "there is 'wallet_address'; keep the accounts in `payee`"),
        ("contributor,payee,IBAN", "row 1: accounts stand in the column `payee`, and there is 'IBAN'"),
        ("contributor,payee,payee", "row 1: each column has one name, and 'payee' names several"),
        ("contributor,contributor", "row 1: each column has one name, and 'contributor' names several"),
    ],
)
def test_a_header_that_would_lose_accounts_is_refused(tmp_path: Path, header: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, f"{header}\n{','.join(['ann'] * len(header.split(',')))}\n")


@pytest.mark.parametrize("other", ["payee_name", "account_manager", "bank", "bic", "wallet brand", "recipient country"])
def test_other_columns_beside_the_payee_are_ignored(tmp_path: Path, other: str) -> None:
    assert read(tmp_path, f"contributor,payee,{other}\nann,acc-7,any\n")["ann"].account == "acc-7"


@pytest.mark.parametrize(
    ("written", "account"),
    [
        (f"IBAN {IBAN}", IBAN),
        (f"IBAN: {IBAN.lower()}", IBAN),
        ("GB82-WEST-1234-5698-7654-32", "GB82WEST12345698765432"),
        ("mt84-malt-0110-0001-2345-mtlc-ast0-01s", "MT84MALT011000012345MTLCAST001S"),
        (f"DE89\u00a0{IBAN[4:]}", IBAN),
        ("jo42@example.org", "jo42@example.org"),
        ("paypal:ann", "paypal:ann"),
        ("acc-7", "acc-7"),
        ("no. AC12", "no.AC12"),
        ("12-345678", "12-345678"),
    ],
)
def test_ibans_have_one_spelling_and_other_accounts_stay(tmp_path: Path, written: str, account: str) -> None:
    payee = read(tmp_path, HEAD + f"ann,,{written},\n")["ann"]
    assert (payee.account, payee.has_iban) == (account, account.isalnum())


def test_a_name_that_is_not_seen_is_refused_and_one_that_looks_like_anothers_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 2: a name has no format characters"):
        read(tmp_path, HEAD + f"an\u200bn,,{IBAN},\n")
    names = ["Ann", "\u0410nn", "bob"]
    assert confusable(None, names) == [["Ann", "\u0410nn"]]
    assert confusable(read(tmp_path, HEAD + "Ann,,acc-7,\n\u0410nn,,acc-8,\n"), names) == [["Ann", "\u0410nn"]]
    assert confusable(read(tmp_path, HEAD + "Ann,,acc-7,\n\u0410nn,,acc-7,\n"), names) == []
