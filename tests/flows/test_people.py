"""What people get: balances, annual statements, and totals for tax authorities; accounts in another currency."""

from __future__ import annotations

import csv
import email
import email.policy
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from royalty.flows.cli.app import app
from royalty.flows.configuration import ConfigError
from royalty.infra.ledger.balances import Balance, accounts_of
from royalty.infra.ledger.postings import Posting
from royalty.infra.pages import language
from royalty.infra.pages.pdf import print_pdf
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.conversion import converted
from royalty.tasks.config.payout import PayoutConfig
from tests.paying import credited, pay, paying_home

YEAR = datetime.now(UTC).year
HEADER = "contributor,name,payee,currency,country,tax_form,tax_form_date,tax_id,withholding\n"
ROWS = """ann,Ann <Lee>,acc-ann-0001,USD,US,W-9,2026-01-05,12-3456789,
bob,,acc-bob,USD,US,,,,
cy,,acc-cy,JPY,CH,W-8BEN,2026-01-07,,10
dee,,,,DE,,,,
"""


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with paying_home(tmp_path / "home") as space:
        (tmp_path / "payees.csv").write_text(HEADER + ROWS)
        terms = {"payees": str(tmp_path / "payees.csv"), "debtor": {"name": "Museum", "iban": "DE89370400440532013000"}}
        credited(space, "fund", {"ann": 4.0, "bob": 3.0, "cy": 2.0, "dee": 1.0}, terms)
        yield space


@pytest.fixture
def terms(tmp_path: Path) -> dict[str, Any]:
    return {
        "pool": "1000.00",
        "currency": "USD",
        "name": "fund",
        "payees": str(tmp_path / "payees.csv"),
        "countries": {"CH": {"reserve": "0.05"}, "US": {"minimum": "20.00"}},
        "withholding": {"without_form": 24},
        "conversion": {"date": "2026-05-29", "source": "ECB", "rates": {"JPY": "150.305"}},
    }


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_each_is_paid_by_their_own_terms(space: Workspace, terms: dict[str, Any]) -> None:
    result = pay("fund", {**terms, "period": "1"})
    table = {row["contributor"]: row for row in result.rows}
    assert {name: (row["amount"], row["held"], row["carried"], row["withheld"]) for name, row in table.items()} == {
        "ann": ("400.00", "0.00", "0.00", "0.00"),
        "bob": ("228.00", "0.00", "0.00", "72.00"),
        "cy": ("171.00", "0.00", "10.00", "19.00"),
        "dee": ("0.00", "100.00", "0.00", "0.00"),
    }
    assert (table["cy"]["paid_amount"], table["cy"]["paid_currency"], table["cy"]["rate"]) == (
        "25702",
        "JPY",
        "150.305",
    )
    assert (table["ann"]["paid_amount"], table["ann"]["rate"]) == ("", "")
    small = pay("fund", {**terms, "period": "2", "pool": "40.00"})
    assert [(row["amount"], row["carried"]) for row in small.rows][:2] == [("0.00", "16.00"), ("0.00", "12.00")]
    balances = accounts_of(space.ledger).balances()
    assert balances["ann", "USD"] == Balance(earned=41600, paid=40000, carried=1600)
    assert balances["bob", "USD"] == Balance(earned=31200, paid=22800, withheld=7200, carried=1200)
    assert balances["dee", "USD"] == Balance(earned=10400, unclaimed=10400)
    recorded = space.ledger.terms("fund", space.ledger.statements()[-1].valuation, period="2")
    assert recorded is not None
    assert recorded["conversion"]["rates"] == {"JPY": "150.305"}
    assert recorded["personal"]["cy"] == {"reserve": "1/20", "withholding": "1/10"}

    shown = command("balance", "--json")
    assert {row["contributor"]: row["earned"] for row in json.loads(shown.stdout)}["dee"] == 10400
    for part in ("Unclaimed", "Withheld", "$416.00"):
        assert part in command("balance").stdout


def test_what_was_posted_is_repeated_whatever_payees_became(
    space: Workspace, terms: dict[str, Any], tmp_path: Path
) -> None:
    first = pay("fund", terms)
    (tmp_path / "payees.csv").write_text(
        HEADER + ROWS.replace(",10\n", ",0\n").replace("bob,,acc-bob,USD,US,", "bob,,acc-bob,USD,US,W-9")
    )
    assert pay("fund", terms).statement == first.statement
    assert len(space.ledger.statements()) == 1


def test_an_annual_statement_is_a_page_a_text_and_a_message(space: Workspace, terms: dict[str, Any]) -> None:
    pay("fund", {**terms, "period": "1"})
    done = command("statement", "cy", "--year", str(YEAR), "--json")
    document = json.loads(done.stdout)
    html, text, message = (Path(file) for file in document["files"])
    page = html.read_text()
    for part in ("$200.00", "$171.00", "$19.00", "$10.00", "25702 JPY at 150.305", "Museum", "W-8BEN of 2026-01-07"):
        assert part in page, part
    assert "acc-cy" in page
    assert "http" not in page.replace("http-equiv", "")
    lines = text.read_text().splitlines()
    assert max(map(len, lines)) <= 72
    assert "no tax advice" in " ".join(lines)
    mail = email.message_from_bytes(message.read_bytes(), policy=email.policy.default)
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert mail["Subject"] == f"Your statement for {YEAR}"

    done = command("statement", "ann", "--year", str(YEAR), "--json")
    page = Path(json.loads(done.stdout)["files"][0]).read_text()
    assert "Ann &lt;Lee&gt;" in page
    assert "12-3456789" not in page, "tax numbers are shown by their end"
    earlier = command("statement", "ann", "--year", str(YEAR - 1), "--json")
    assert json.loads(earlier.stdout)["currencies"] == []
    later = json.loads(command("statement", "ann", "--year", str(YEAR + 1), "--json").stdout)["currencies"]
    assert later[0]["opening"]["paid"] == later[0]["closing"]["paid"] == 40000
    replaced = space.ledger.statements()[-1]
    amounts = {name: minor - 952 for name, minor in replaced.paid.items() if name == "ann"}
    space.ledger.post("fund", Posting("another table", "USD", amounts), period="1", replace=True)
    text = Path(json.loads(command("statement", "ann", "--year", str(YEAR), "--json").stdout)["files"][1]).read_text()
    assert "fund 1, division\n    earned $400.00; paid $400.00" in text
    assert "fund 1, replacement of an earlier division\n    earned -$9.52" in text
    for arguments in (("zed", "--year", str(YEAR)), ("ann", "--year", "1")):
        assert isinstance(command("statement", *arguments).exception, InputError)


def test_an_annual_statement_in_another_language(space: Workspace, terms: dict[str, Any], tmp_path: Path) -> None:
    pay("fund", {**terms, "period": "1"})
    arguments = ("statement", "cy", "--year", str(YEAR), "--json", "--language")
    html, text, message = (Path(file) for file in json.loads(command(*arguments, "de").stdout)["files"])
    page = html.read_text()
    for part in (
        '<html lang="de" dir="ltr">',
        f"{YEAR} wurden 200,00\xa0$ verdient, 171,00\xa0$ ausgezahlt und 19,00\xa0$ als Steuer einbehalten.",
        "gezahlt von <bdi>Museum</bdi>",
        "25702 JPY zum Kurs von 150,305 JPY für 1 USD",
        "W-8BEN vom 2026-01-07",
        "keine Steuerberatung",
    ):
        assert part in page, part
    assert "Verteilung\n    verdient 200,00\xa0$" in text.read_text()
    mail = email.message_from_bytes(message.read_bytes(), policy=email.policy.default)
    assert mail["Subject"] == f"Ihre Abrechnung für {YEAR}"
    english = (Path(language.__file__).parent / "languages" / "en.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(english.replace('"Earned"', '"<b>Gagné"').replace("locale: en", "locale: ar"))
    page = Path(json.loads(command(*arguments, str(own)).stdout)["files"][0]).read_text()
    assert '<html lang="ar" dir="rtl">' in page
    assert "&lt;b&gt;Gagné" in page, "a translation is text, and no HTML"
    own.write_text(english.replace("subject:", "sujet:"))
    assert isinstance(command(*arguments, str(own)).exception, language.LanguageError)
    assert isinstance(command(*arguments, str(tmp_path / "none.yaml")).exception, ConfigError)


def test_pages_have_no_sentence_beside_the_language(space: Workspace, terms: dict[str, Any], tmp_path: Path) -> None:
    """With every sentence replaced by its name, no English is left in the page and in the text."""
    pay("fund", {**terms, "period": "1"})
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text))))
        for name, text in language.shipped_language("en").sentences.items()
    }
    names["date_pattern"] = "y"
    (tmp_path / "own.yaml").write_text(json.dumps({"locale": "en", **names}))
    arguments = ("statement", "cy", "--year", str(YEAR), "--json", "--language", str(tmp_path / "own.yaml"))
    html, text, _ = (Path(file) for file in json.loads(command(*arguments).stdout)["files"])
    body = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html.read_text(), flags=re.DOTALL)
    for written in (body, text.read_text()):
        words = set(re.findall(r"\b[a-z]{4,}\b", re.sub(r"\b[0-9a-f]{64}\b", "", written)))
        assert words <= {"fund"}, words


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_totals_for_tax_authorities(space: Workspace, terms: dict[str, Any], tmp_path: Path) -> None:
    pay("fund", {**terms, "period": "1"})
    pay("fund", {**terms, "period": "2", "pool": "500.00"})
    out = tmp_path / "out.csv"
    assert command("tax", "1099-misc", "--year", str(YEAR), "--out", str(out)).exit_code == 0
    boxes = ("contributor", "box_2_royalties", "box_4_federal_income_tax_withheld")
    assert [tuple(row[box] for box in boxes) for row in rows_of(out)] == [
        ("ann", "600.00", "0.00"), ("bob", "450.00", "108.00"),
    ]  # fmt: skip
    assert rows_of(out)[0]["recipient_tin"] == "12-3456789"
    assert command("tax", "dac7", "--year", str(YEAR), "--out", str(out)).exit_code == 0
    table = {row["contributor"]: row for row in rows_of(out)}
    quarter = (datetime.now(UTC).month + 2) // 3
    assert set(table) == {"ann", "bob", "cy"}, "dee was paid nothing"
    assert sum(Decimal(table["cy"][f"consideration_q{number}"]) for number in range(1, 5)) == Decimal("294.50")
    assert (table["cy"][f"activities_q{quarter}"], table["cy"][f"taxes_q{quarter}"]) == ("2", "29.45")
    assert command("tax", "dac7", "--year", str(YEAR - 1), "--out", str(out)).exit_code == 0
    assert rows_of(out) == []
    about = {
        "birth_date": "1990-02-03",
        "registration_number": "HRB 7",
        "address": "Weg 1, 8000 Zürich",
        "town": "Zürich",
    }
    extra = f"contributor,payee,{','.join(about)}\ncy,acc-cy,{','.join(map(json.dumps, about.values()))}\n"
    (tmp_path / "about.csv").write_text(extra.replace("\\u00fc", "ü"))
    arguments = ("tax", "dac7", "--year", str(YEAR), "--out", str(out), "--payees", str(tmp_path / "about.csv"))
    assert command(*arguments).exit_code == 0
    table = {row["contributor"]: row for row in rows_of(out)}
    assert {column: table["cy"][column] for column in about} == about
    assert {table[name][column] for name in ("ann", "bob") for column in (*about, "fees_q1")} == {""}
    assert isinstance(command("tax", "w-2", "--year", "2026", "--out", str(out)).exception, ConfigError)


def test_payments_converted_to_dollars_are_royalties_and_what_is_left_out_is_said(
    space: Workspace, terms: dict[str, Any], tmp_path: Path
) -> None:
    """From pools in EUR, where some are paid in dollars and others are not."""
    out, year = tmp_path / "out.csv", str(YEAR)
    payees = tmp_path / "payees.csv"
    payees.write_text(payees.read_text().replace("dee,,,,DE,,,,", "dee,,acc-dee,,US,W-9,,,0"))
    converts = {"date": "2026-05-29", "source": "ECB", "rates": {"USD": "1.08", "JPY": "162"}}
    euros = {**terms, "currency": "EUR", "countries": {}, "conversion": converts}
    pay("fund", {**euros, "name": "euros"})
    done = command("tax", "1099-misc", "--year", year, "--out", str(out))
    boxes = ("contributor", "box_2_royalties", "box_4_federal_income_tax_withheld")
    assert [tuple(row[box] for box in boxes) for row in rows_of(out)] == [
        ("ann", "432.00", "0.00"), ("bob", "324.00", "77.76"),
    ]  # fmt: skip
    assert "dee: 100.00 EUR is left out, because no rate to US dollars" in " ".join(done.stdout.split())
    pay("fund", {**terms, "name": "small", "pool": "90.00", "countries": {}})
    done = command("tax", "1099-misc", "--year", year, "--out", str(out))
    assert "dee is left out: paid 9.00 USD, less than 10.00" in done.stdout
    payees.write_text(payees.read_text().replace("acc-ann-0001,USD,US,W-9,2026-01-05", "acc-ann-0001,USD,US,,"))
    done = command("tax", "1099-misc", "--year", year, "--out", str(out))
    assert "ann is left out: paid 468.00 USD, without a tax form" in done.stdout


def test_rates_and_countries_are_checked() -> None:
    for terms, message in (
        ({"countries": {"EU": {}}}, "two letters of ISO 3166-1"),
        ({"countries": {"US": {"minimum": "1.005"}}}, "smallest units"),
        ({"countries": {"US": {"reserve": 1}}}, "less than 1"),
        ({"conversion": {"date": "2026-05-29", "source": "ECB", "rates": {"XYZ": 1}}}, "ISO 4217"),
        ({"conversion": {"date": "2026-05-29", "source": "ECB", "rates": {"USD": 0}}}, "greater than 0"),
        ({"withholding": {"rate": 101}}, "less than or equal to 100"),
    ):
        with pytest.raises(ValueError, match=message):
            PayoutConfig.model_validate(terms)


@pytest.mark.parametrize(
    ("amount", "rate", "decimals", "result"),
    [
        ("0.125", "1", 2, "0.12"),
        ("0.135", "1", 2, "0.14"),
        ("10.00", "162.415", 0, "1624"),
        ("1", "0.3077", 3, "0.308"),
    ],
)
def test_conversion_rounds_half_to_even(amount: str, rate: str, decimals: int, result: str) -> None:
    assert converted(Decimal(amount), Decimal(rate), decimals) == Decimal(result)


def test_without_a_browser_a_pdf_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="install Chromium, or print"):
        print_pdf(tmp_path / "page.html", tmp_path / "page.pdf")


@pytest.mark.browser
def test_a_page_is_printed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>Statement</p>")
    print_pdf(page, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
