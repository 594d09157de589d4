"""Payment files of a payout: what cannot be written is refused before anything is posted, and banks take the rest."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from prefect import Task
from typer.testing import CliRunner

import royalty.flows.payout
from royalty.flows.cli.app import app
from royalty.flows.configuration import ConfigError, load_payout_config
from royalty.flows.payout import PayoutResult
from royalty.infra.settings import Settings
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.business_days import is_business_day
from royalty.tasks.report.payments import payment_rows
from tests.flows.test_payout import NAMES, credited
from tests.in_process import settings_of

FORMULA, UNREADABLE, ZOE = NAMES
DEBTOR = {"name": "Musée d'Art", "iban": "DE89 3704 0044 0532 0130 00"}
NOW = datetime(2026, 4, 2, 9, tzinfo=UTC)
"""The Thursday before Easter."""
ACCOUNTS = {
    FORMULA: ("Ann & Söhne", "NL91ABNA0417164300", "EUR"),
    UNREADABLE: ("", "GB29NWBK60161331926819", "EUR"),
    ZOE: ("Zoë Großmann", "zoe@example.org", ""),
}

Pay = Callable[..., PayoutResult]


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    here = Settings(home=tmp_path / "home")
    for module in ("division", "statements", "payment_files", "identities"):
        monkeypatch.setattr(f"royalty.tasks.pay.{module}.settings", lambda: here)
    for module in ("royalty.tasks.stages.running", "royalty.tasks.credit.estimate", "royalty.flows.payout"):
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    for name, known in vars(royalty.flows.payout).copy().items():
        if isinstance(known, Task):
            monkeypatch.setattr(royalty.flows.payout, name, known.fn)
    monkeypatch.setattr("royalty.tasks.pay.payment_files.now", lambda: NOW)
    return credited(here, "show")


@pytest.fixture
def pay(space: Workspace, tmp_path: Path) -> Pay:
    def run(
        accounts: dict[str, tuple[str, ...]] | None = ACCOUNTS,
        given: dict[str, str] | None = None,
        debtor: dict[str, str] | None = DEBTOR,
        **more: Any,
    ) -> PayoutResult:
        terms = tmp_path / "terms.yaml"
        terms.write_text("disputed: []\n", encoding="utf-8")
        if accounts is not None:
            with (tmp_path / "payees.csv").open("w", encoding="utf-8", newline="") as stream:
                rows = ((contributor, *payee, "", "")[:6] for contributor, payee in accounts.items())
                columns = ("contributor", "name", "payee", "currency", "country", "town")
                csv.writer(stream).writerows([columns, *rows])
            terms.write_text("payees: payees.csv\n", encoding="utf-8")
        asked = {"pool": "100.00", "currency": "EUR", "period": "2026-05", **(given or {})}
        config = load_payout_config(terms, {}, asked, debtor or {})
        return royalty.flows.payout.payout.fn("show", config, **{"export": "pain001", **more})

    return run


def texts(file: str, tag: str) -> list[str | None]:
    return [element.text for element in ET.parse(file).getroot().findall(f".//{{*}}{tag}")]


def table(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def schema(version: str = "pain.001.001.09") -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(files("sepaxml").joinpath("schemas", f"{version}.xsd")))


def test_ibans_are_in_the_file_and_other_accounts_beside_it_with_the_reason(pay: Pay) -> None:
    result = pay()
    by_name = {Path(file).name: file for file in result.files}
    schema().validate(by_name["pain001.xml"])
    assert texts(by_name["pain001.xml"], "InstdAmt") == ["50.00"]
    assert texts(by_name["pain001.xml"], "CtrlSum") == ["50.00"] * 2
    assert texts(by_name["pain001.xml"], "NbOfTxs") == ["1"] * 2
    assert texts(by_name["pain001.xml"], "Nm") == ["Musee d'Art"] * 2 + ["Ann + Sohne"]
    assert texts(by_name["pain001.xml"], "EndToEndId") == [f"{result.statement}-1"]
    assert texts(by_name["pain001.xml"], "Ustrd") == ["show 2026-05: .cmd/' /C calc'.A0"]
    assert texts(by_name["pain001.xml"], "Dt") == ["2026-04-07"], "the business day after Easter"
    others = table(by_name["other-payments.csv"])
    assert [(row["contributor"], row["account"], row["amount"], row["currency"]) for row in others] == [
        (ZOE, "zoe@example.org", "16.67", "EUR"),
        (UNREADABLE, "GB29NWBK60161331926819", "33.33", "EUR"),
    ]
    assert [row["reason"] for row in others] == [
        "the account is not an IBAN",
        "the name has no letter of the SEPA character set; add a column `name` with one in Latin letters",
    ]
    assert f"{ZOE}: not in pain001.xml but in other-payments.csv, because the account is not an IBAN" in result.notes


GENEVA = ("Zoë", "CH9300762011623852957", "", "CH", "Genève")
PAYER = {**DEBTOR, "country": "DE", "town": "Köln"}


@pytest.mark.parametrize("version", ["pain001", "pain001.03"])
def test_a_transfer_out_of_the_economic_area_has_the_addresses_that_banks_need(pay: Pay, version: str) -> None:
    result = pay({**ACCOUNTS, ZOE: GENEVA}, debtor=PAYER, export=version)
    (file,) = [file for file in result.files if file.endswith(".xml")]
    schema("pain.001.001.09" if version == "pain001" else "pain.001.001.03").validate(file)
    assert list(zip(texts(file, "TwnNm"), texts(file, "Ctry"), strict=True)) == [("Koln", "DE"), ("Geneve", "CH")]
    assert texts(file, "InstdAmt") == ["50.00", "16.67"]


def test_a_payee_without_the_address_is_paid_by_other_means_which_is_known_before(space: Workspace, pay: Pay) -> None:
    for payee, debtor, missing in (
        (("Zoë", "CH9300762011623852957", "", "CH", ""), PAYER, "CH, .* of the payee; add columns `country`"),
        (("Zoë", "CH9300762011623852957", "", "CH", "日本"), PAYER, "of the payee; .* and `town` in Latin letters"),
        (GENEVA, DEBTOR, r"of the debtor; set `payout\.debtor\.country` and `payout\.debtor\.town`"),
    ):
        notes = pay({**ACCOUNTS, ZOE: payee}, debtor=debtor, dry_run=True).notes
        assert any(
            re.match(f"{ZOE}: not in pain001.xml but in other-payments.csv, because .*{missing}", note)
            for note in notes
        )
    assert space.ledger.statements() == []
    with pytest.raises(InputError, match=r"payees.csv, row 4: a country has two letters .*GB for.*; got 'UK'"):
        pay({**ACCOUNTS, ZOE: ("Zoë", "GB29NWBK60161331926819", "", "UK", "Leeds")})
    assert space.ledger.statements() == []


def test_who_is_released_is_paid_by_the_same_rules(space: Workspace, pay: Pay) -> None:
    without = {FORMULA: ACCOUNTS[FORMULA]}
    pay(without)
    with pytest.raises(InputError, match=r"these have none in EUR: zoë"):
        pay(without, release=[ZOE])
    assert [statement.kind for statement in space.ledger.statements()] == ["division", "export"]
    released = pay({**ACCOUNTS, ZOE: ("Zoë", "BR9700360305000010009795493P1", "")}, release=[ZOE])
    assert [Path(file).name for file in released.files][-1] == "other-payments.csv"
    (row,) = table(released.files[-1])
    assert (row["amount"], row["reason"]) == ("16.67", "SEPA does not reach accounts in BR")
    assert released.notes == [
        f"{ZOE}: not in pain001.xml but in other-payments.csv, because SEPA does not reach accounts in BR"
    ]


def test_a_file_of_an_earlier_export_is_removed_when_its_payments_go_elsewhere(pay: Pay) -> None:
    accounts = {name: GENEVA for name in NAMES}
    first = pay(accounts, debtor=PAYER)
    folder = Path(first.files[0]).parent
    assert texts(str(folder / "pain001.xml"), "InstdAmt") == ["50.00", "16.67", "33.33"]
    assert texts(str(folder / "pain001.xml"), "EndToEndId") == [f"{first.statement}-{index}" for index in (1, 2, 3)]
    pay(accounts, debtor=DEBTOR)
    assert not (folder / "pain001.xml").exists()
    assert len(table(str(folder / "other-payments.csv"))) == 3
    assert [Path(file).name for file in pay(accounts, debtor=PAYER).files][-1] == "pain001.xml"
    assert not (folder / "other-payments.csv").exists()


def test_an_account_that_changed_after_posting_is_not_paid_by_the_same_statement(space: Workspace, pay: Pay) -> None:
    first = pay(export=None)
    folder = Path(first.files[0]).parent
    taken = {**ACCOUNTS, FORMULA: ("Ann & Söhne", "DE89370400440532013000", "EUR")}
    for accounts in (taken, {**ACCOUNTS, UNREADABLE: ("Another", "GB29NWBK60161331926819", "EUR")}):
        with pytest.raises(
            InputError, match=r"the payees of statement .* and these have changed since: .*Restore the row"
        ):
            pay(accounts)
        assert not (folder / "pain001.xml").exists()
    pay()
    before = (folder / "pain001.xml").read_bytes()
    with pytest.raises(InputError, match="have changed since"):
        pay(taken)
    assert (folder / "pain001.xml").read_bytes() == before
    assert [statement.kind for statement in space.ledger.statements()] == ["division", "export"]
    june = pay(taken, given={"period": "2026-06"})
    assert b"DE89370400440532013000" in Path(june.files[-2]).read_bytes()


def test_payees_who_came_after_posting_by_name_are_kept_from_the_first_file_on(space: Workspace, pay: Pay) -> None:
    pay(None, export=None)
    pay()
    with pytest.raises(InputError, match="have changed since"):
        pay({**ACCOUNTS, FORMULA: ("Ann", "DE89370400440532013000", "EUR")})
    assert space.ledger.verify().broken is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"debtor": None}, r"names the debtor, and none is set; set `payout.debtor`, or give `--debtor-name`"),
        ({"debtor": {"name": "Museu", "iban": "BR9700360305000010009795493P1"}}, r"SEPA, got an IBAN of BR"),
        ({"debtor": {"name": "名前", "iban": DEBTOR["iban"]}}, r"letter of the SEPA character set, got '名前'"),
        ({"given": {"currency": "JPY", "pool": "100"}}, r"SEPA credit transfers, which are in EUR; got a pool in JPY"),
        ({"accounts": None}, r"Add a column `payee` to `contributors.csv`"),
        ({"given": {"execution_date": "2026-04-01"}}, r"today, 2026-04-02, or later, got 2026-04-01"),
        ({"given": {"execution_date": "2026-04-03"}}, r"got 2026-04-03.*; the next is 2026-04-07"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_written_is_refused_before_anything_is_posted(
    space: Workspace, pay: Pay, changed: dict[str, Any], says: str, dry_run: bool
) -> None:
    with pytest.raises(InputError, match=says):
        pay(**changed, dry_run=dry_run)
    assert space.ledger.statements() == []


def test_a_folder_that_cannot_be_written_is_seen_before_anything_is_posted(space: Workspace, pay: Pay) -> None:
    (space.root / "payouts").write_text("in the way")
    with pytest.raises(InputError, match=r"payouts cannot be written"):
        pay()
    assert space.ledger.statements() == []


def test_the_date_is_a_setting(pay: Pay) -> None:
    result = pay(given={"execution_date": "2026-04-02"}, export="pain001.03")
    file = next(file for file in result.files if file.endswith(".xml"))
    schema("pain.001.001.03").validate(file)
    assert texts(file, "ReqdExctnDt") == ["2026-04-02"]
    assert is_business_day(date(2026, 4, 2))


def test_the_command_line_takes_a_date_only_for_a_file(space: Workspace, stack: ExitStack) -> None:
    stack.enter_context(settings_of(Settings(home=space.root)))
    for arguments, says in (
        (["--execution-date", "2026-04-02"], "`--execution-date` is for a payment file"),
        (["--export", "pain001", "--execution-date", "easter"], "`execution_date`"),
    ):
        refused = CliRunner().invoke(app, ["payout", "--credit", "show", *arguments])
        assert isinstance(refused.exception, ConfigError)
        assert says in str(refused.exception)


def test_pages_that_are_written_after_an_export_list_what_moved_money(space: Workspace, pay: Pay) -> None:
    statement = pay().statement
    statements = space.ledger.statements()
    assert [posted.kind for posted in statements] == ["division", "export"]
    rows = list(payment_rows(statements, statements[0].valuation, {}))
    assert [(row.statement, row.fate) for row in rows] == [(statement, "in force")]
