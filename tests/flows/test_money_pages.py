"""Pages of a case, an approval and an annual statement in a browser, made by payouts of a small home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from tests.browser import Browser
from tests.paying import credited, pay, paying_home

TERMS = {"pool": "1000.00", "name": "photos"}
CREDIT = {"Ada Lovelace": 5.0, "Grace Hopper": 3.0, "Mary Somerville": 2.0}
WIDTHS = (390, 1280)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def make_pages(folder: Path) -> dict[str, Path]:
    """The pages, by name: a case that was decided, an approval that waits, and the statement of somebody's year."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROYALTY_ACTOR", "clerk")  # before the home is opened, which reads the settings
        with paying_home(folder / "home") as space:
            proof = folder / "comparison.pdf"
            proof.write_bytes(b"%PDF")
            credited(space, "photos", CREDIT, TERMS)
            pay("photos", {**TERMS, "period": "2026-05"})
            claim = [
                "--claimant",
                "Photo Agency",
                "--contributor",
                "Mary Somerville",
                "--reason",
                "Copies of our photos",
            ]
            opened = run(
                "case", "open", *claim, "--work", "harbour.png", "--evidence", str(proof), "--by", "clerk", "--json"
            )
            case = str(json.loads(opened)["id"])
            run("case", "message", case, "I took these photos myself in 2019.", "--by", "Mary Somerville")
            pay("photos", {**TERMS, "period": "2026-06"})
            verdict = ["--reverse", "--reason", "Both show the same negative", "--award", "Photo Agency=120.00"]
            run("case", "decide", case, *verdict, "--by", "judge")
            waiting = pay(
                "photos", {**TERMS, "period": "2026-07", "approval": {"above": "500.00", "first_payee": True}}
            )
            assert waiting.approval
            year = str(datetime.now(UTC).year)
            written = json.loads(run("statement", "Mary Somerville", "--year", year, "--json"))
            return {
                "case": space.root / "cases" / f"{case}.html",
                "approval": space.root / "approvals" / f"{waiting.approval}.html",
                "annual": Path(written["files"][0]),
            }


@pytest.fixture(scope="module")
def money_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_pages(tmp_path_factory.mktemp("money"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.mark.browser
@pytest.mark.parametrize(
    ("scheme", "widths"),
    [("light", WIDTHS[:1]), pytest.param("light", WIDTHS[1:], marks=pytest.mark.slow),
     pytest.param("dark", WIDTHS, marks=pytest.mark.slow)],
)  # fmt: skip
def test_pages_of_cases_approvals_and_years_are_whole_and_accessible(
    browser: Browser, money_pages: dict[str, Path], scheme: str, widths: tuple[int, ...]
) -> None:
    shown = {
        "case": ("Photo Agency", "I took these photos myself in 2019.", "comparison.pdf", "€120.00"),
        "approval": ("royalty approve", "photos 2026-07", "clerk", "€500.00", "Ada Lovelace"),
        "annual": ("Mary Somerville", "€200.00", "photos 2026-05"),
    }
    browser.scheme(scheme)
    for (name, path), width in product(money_pages.items(), widths):
        browser.resize(width)
        browser.open(path.as_uri())
        text = browser.run("document.body.innerText")
        for part in shown[name]:
            assert part in text, (name, part)
        assert browser.run("document.documentElement.scrollWidth") <= width, (name, width)
        assert browser.accessibility() == [], (name, width)
    browser.scheme("light")
