"""The payout flow: from a run's credit, dry, twice, held and released, and exported. Its tasks run as functions."""

from __future__ import annotations

import csv
import json
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prefect import Task
from typer.testing import CliRunner

import royalty.flows.payout
from royalty.flows.cli.app import app
from royalty.flows.configuration import ConfigError, load_payout_config
from royalty.flows.payout import PayoutResult
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.items import ImageSet, item_id
from royalty.tasks.config.credit import CreditEstimateConfig, StoppingConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import CREDIT, CreditInputs, CreditOutputs
from royalty.tasks.credit.stages import INGEST, IngestInputs, IngestOutputs
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.stages.stage import as_json
from tests.in_process import settings_of
from tests.tracing import CERTAINTY

NAMES = ("=cmd|' /C calc'!A0", "名前", "zoë")
DEBTOR = {"name": "Museum", "iban": "DE89 3704 0044 0532 0130 00", "country": "DE", "town": "Köln"}
OWN = {"disputed": ["zoë"]}


def credit_record(key: str, measurements: list[str], outputs: CreditOutputs) -> StageRecord:
    inputs = CreditInputs(CreditEstimateConfig(), StoppingConfig(), measurements, failed=digest_of([]), seed=0)
    return StageRecord(CREDIT.name, key, as_json(inputs), as_json(outputs), 0.0)


def credited(here: Settings, run: str) -> Workspace:
    """A home in which a run has come to credit, without what that takes."""
    space = open_workspace(here)
    columns = {"contributor": NAMES, "items": 3, "credit": [3.0, 2.0, 1.0], "stderr": 0.1}
    table = pd.DataFrame({**columns, "ci_low": [2.8, 1.8, 0.8], "ci_high": [3.2, 2.2, 1.2]})
    outputs = CreditOutputs(
        table=space.artifacts.put(table.to_parquet(index=False)),
        null_utility=0.0,
        grand_utility=6.0,
        failed=[],
        trained=8,
        diagnostics={"efficiency_gap": 0.0},
        certainty=CERTAINTY,
    )
    record = credit_record(f"key of {run}", [], outputs)
    space.runs.record_stage(record)
    space.runs.claim_name(run, {"data": {"source": "digits"}, "payout": OWN})
    space.ledger.record_credit(run, record.key, outputs.table)
    return space


Pay = Callable[..., PayoutResult]


@pytest.fixture
def here(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """On SQLite, or the database that a test names."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return Settings(home=tmp_path / "home")
    return Settings(home=tmp_path / "home", database_url=request.getfixturevalue("postgres_url"))


@pytest.fixture
def space(here: Settings, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for module in (
        "royalty.tasks.pay.division",
        "royalty.tasks.stages.running",
        "royalty.tasks.pay.statements",
        "royalty.tasks.pay.payment_files",
        "royalty.tasks.credit.estimate",
        "royalty.tasks.pay.identities",
        "royalty.tasks.pay.approvals",
        "royalty.flows.payout",
    ):
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    for name, known in vars(royalty.flows.payout).copy().items():
        if isinstance(known, Task):
            monkeypatch.setattr(royalty.flows.payout, name, known.fn)
    return credited(here, "show")


@pytest.fixture
def pay(space: Workspace) -> Pay:
    def run(
        given: dict[str, str] | None = None,
        *,
        terms: Path | None = None,
        debtor: dict[str, str] | None = None,
        **more: object,
    ) -> PayoutResult:
        asked = {"pool": "100.00", "currency": "EUR", "period": "2026-05", **(given or {})}
        return royalty.flows.payout.payout.fn("show", load_payout_config(terms, OWN, asked, debtor or {}), **more)

    return run


def test_paid_once_held_released_and_exported(space: Workspace, pay: Pay, tmp_path: Path) -> None:
    ledger = space.ledger
    dry = pay(dry_run=True)
    assert (dry.statement, dry.files, ledger.statements()) == (None, [], [])
    first, again = pay(), pay()
    assert first.change is not None
    assert again.change is not None
    assert first.change.repeats is None
    assert again.change.repeats is not None
    assert again.change.repeats.id == first.statement
    assert replace(first, change=None) == replace(again, change=None)
    assert first.rows == dry.rows
    assert [row["amount"] for row in first.rows] == ["50.00", "33.33", "0.00"]
    assert first.notes == ["zoë: in dispute, held; €16.67 held"]
    assert ledger.balance("show", period="2026-05") == {NAMES[0]: 5000, "名前": 3333, "zoë": 0}
    (nobody,) = first.checks
    assert nobody.startswith("Nobody would get more of the pool as two contributors, each with half of the credit")
    (by_heads,) = pay({"floor": "0.2", "pool": "10", "period": "2026-06"}, dry_run=True).checks
    assert "zoë would gain most: €4.00 instead of €2.00. Members of a tier are paid the same" in by_heads
    assert "Floors and caps apply to each name." in by_heads

    written = Path(first.files[0])
    cells = [row["contributor"] for row in csv.DictReader(written.open(encoding="utf-8"))]
    assert cells == [f"'{NAMES[0]}", *NAMES[1:]]
    assert pd.read_parquet(written.with_suffix(".parquet"))["contributor"].tolist() == list(NAMES)
    assert json.loads((written.parent / "statement.json").read_text())["id"] == first.statement

    with pytest.raises(InputError, match=r"there are none. Add a column `payee`"):
        pay(export="pain001", debtor=DEBTOR)
    rows = f'"{NAMES[0]}",,NL91ABNA0417164300,,,\n名前,Namae,GB29NWBK60161331926819,EUR,GB,Leeds\n'
    rows += "zoë,Zoë & Co,FR1420041010050500013M02606,eur,,\n"
    header = "contributor,name,payee,currency,country,town\n"
    (tmp_path / "payees.csv").write_text(header + rows, encoding="utf-8")
    (tmp_path / "terms.yaml").write_text("payees: payees.csv\ndisputed: [zoë]\n", encoding="utf-8")
    terms = {"terms": tmp_path / "terms.yaml", "debtor": DEBTOR, "export": "pain001"}
    for result, amounts in ((pay(**terms), ["50.00", "33.33"]), (pay(**terms, release=["zoë"]), ["16.67"])):
        document = ET.parse(result.files[-1]).getroot()
        assert sorted(amount.text or "" for amount in document.findall(".//{*}InstdAmt")) == sorted(amounts)
    assert result.rows == [{"contributor": "zoë", "amount": "16.67"}]
    assert ledger.balance("show", period="2026-05")["zoë"] == 1667
    kinds = ["division", "export", "release", "export"]
    assert [(one.kind, one.active) for one in ledger.statements()] == [(kind, True) for kind in kinds]


def test_who_has_no_payee_waits_and_who_shares_one_is_named(pay: Pay, tmp_path: Path) -> None:
    rows = f'"{NAMES[0]}",,acc-1,JPY\n名前,,,JPY\nzoë,,acc-1,\n'
    (tmp_path / "payees.csv").write_text("contributor,name,payee,currency\n" + rows, encoding="utf-8")
    (tmp_path / "terms.yaml").write_text("payees: payees.csv\n", encoding="utf-8")
    result = pay({"pool": "100", "currency": "JPY"}, terms=tmp_path / "terms.yaml")
    assert [(row["amount"], row["held"]) for row in result.rows] == [("50", "0"), ("0", "33"), ("17", "0")]
    assert result.notes == [
        "名前: without a payee in this currency, held; ¥33 held",
        f"{NAMES[0]}, zoë are paid into the same account",
    ]


def test_money_smaller_than_a_payment_and_of_three_decimals(space: Workspace, pay: Pay) -> None:
    carried = pay({"pool": "0.010", "currency": "KWD", "minimum": "1.000"})
    assert [row["carried"] for row in carried.rows] == ["0.005", "0.003", "0.000"]
    assert sum(space.ledger.balance("show", period="2026-05").values()) == 0
    assert space.ledger.balance("show", "account", period="2026-05") == {NAMES[0]: 5, "名前": 3}


def test_what_cannot_be_paid_is_one_error_and_posts_nothing(space: Workspace, pay: Pay) -> None:
    with pytest.raises(InputError, match="no run 'nobody' has credit here"):
        royalty.flows.payout.payout.fn("nobody")
    for given, says in {
        ("pool", "10.5"): "JPY, which has 0 decimals",
        ("currency", "XXL"): "an ISO 4217 code",
        ("period", ""): "at least 1 character",
    }.items():
        with pytest.raises(ConfigError, match=says):
            pay({"currency": "JPY", "pool": "1", **dict([given])})
    with pytest.raises(ConfigError, match="check digits that fit"):
        pay(debtor={"name": "M", "iban": "DE00370400440532013000"})
    assert space.ledger.statements() == []
    space.artifacts.path(space.runs.stage("key of show").outputs["table"]).unlink()
    with pytest.raises(
        InputError, match=r"the table of 'show' is not in .*\. Set ROYALTY_HOME to the home of that run"
    ):
        pay()
    assert Decimal(sum(space.ledger.balance("show").values())) == 0


def test_the_command_line_lists_and_verifies(space: Workspace, pay: Pay, stack: ExitStack) -> None:
    pay()
    stack.enter_context(settings_of(Settings(home=space.root)))
    listed = CliRunner().invoke(app, ["ledger", "--json"])
    assert listed.exit_code == 0
    shown = json.loads(listed.output)
    assert (shown["verified"]["statements"], shown["statements"][0]["pool"]) == (1, "show")
    with space.ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER entries_no_update")
        connection.exec_driver_sql("UPDATE entries SET amount_minor = 1 WHERE contributor = 'zoë'")
    broken = CliRunner().invoke(app, ["ledger"])
    assert broken.exit_code == 1
    assert "is not valid: its hash does not match its content" in broken.output
    for arguments in (["--export", "pdf"], ["--release", "zoë", "--dry-run"]):
        refused = CliRunner().invoke(app, ["payout", "--credit", "show", *arguments])
        assert isinstance(refused.exception, ConfigError)


@pytest.mark.parametrize("here", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_an_entry_that_somebody_adds_pays_nobody(here: Settings, space: Workspace, pay: Pay, stack: ExitStack) -> None:
    pay()
    stack.enter_context(settings_of(here))
    columns = "statement, pool, contributor, valuation, kind, amount_minor, currency"
    forged = f"INSERT INTO entries ({columns}) SELECT 'ghost2', pool, '名前', 'v2', 'account', 900000, currency"
    forged += " FROM entries WHERE id = 1"
    if not here.database_url:
        with closing(sqlite3.connect(here.root / "royalty.db")) as connection, connection:
            connection.execute(forged)
    else:
        with space.ledger.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no foreign keys
            connection.exec_driver_sql(forged)
    listed = CliRunner().invoke(app, ["ledger"])
    assert listed.exit_code == 1
    assert "statement ghost2 is not valid: entry 6 " in listed.output
    assert "(kind 'account', contributor '名前', 900000 minor units of EUR)" in listed.output
    verified = json.loads(CliRunner().invoke(app, ["ledger", "--json"]).stdout)["verified"]
    assert (verified["broken"], verified["entry"], verified["statements"]) == ("ghost2", 6, 1)
    for asked in ({"pool": "1.00", "period": "2026-06"}, {}):
        for dry_run in (False, True):
            with pytest.raises(LedgerBroken, match=r"a ledger that verifies, but .* entry 6 .*Restore the database"):
                pay(asked, dry_run=dry_run)
    with pytest.raises(LedgerBroken):
        pay(release=["zoë"])
    assert [one.amount for one in space.ledger.statements()] == [10_000]
    assert len(list((here.root / "payouts").iterdir())) == 1


def test_copies_are_named_with_the_credit_of_both_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    owners = [("a", "b"), ("a", "b"), ("c",), ("c",)]
    data = ImageSet.merge(images, [item_id(image) for image in images], np.zeros(4, int), ["any"], owners)
    space = open_workspace(Settings(home=tmp_path))
    brought = IngestOutputs(
        train=space.artifacts.put(data.to_bytes()),
        validation="",
        classifier="",
        contributors=list(data.contributors),
        items={"a": 2, "b": 2, "c": 2},
        contributor_digests=[data.digest_of(index) for index in range(3)],
        shared_items=2,
        total_items=4,
    )
    source = as_json(IngestInputs({"source": "folder"}, seed=0))
    space.runs.record_stage(StageRecord(INGEST.name, "data", source, as_json(brought), 0.0))
    space.runs.record_anchor("show", {"ingest": "data"})
    keys = []
    for members in (["a"], ["b"], ["c"], ["a", "b"], ["a", "c"], ["b", "c"]):
        key = "".join(members)
        space.runs.record_coalition(CoalitionRecord(key, members, "sparsified", 0, 1, 1.0, "cpu", "x"))
        utility = 6.0 * bool({"a", "b"} & set(members)) + ("c" in members)
        space.runs.record_measurement(MeasurementRecord(f"m{key}", key, "fid", 0, utility, 1.0, 1.0))
        keys.append(f"m{key}")
    credits = pd.DataFrame({"contributor": ["a", "b", "c"], "credit": [3.0, 3.0, 1.0], "ci_low": 0.5, "ci_high": 4.0})
    outputs = CreditOutputs(
        table=space.artifacts.put(credits.to_parquet(index=False)),
        null_utility=0.0,
        grand_utility=7.0,
        failed=[],
        trained=8,
        diagnostics={"efficiency_gap": 0.0},
        certainty=CERTAINTY,
    )
    credit = CREDIT.finished(credit_record("credit", keys, outputs))
    monkeypatch.setattr("royalty.tasks.pay.identities.settings", lambda: Settings(home=tmp_path))
    *_, found = check_identities.fn("show", credit, PayoutConfig())
    assert found == (
        "a and b have 100% of the smaller set of images in common, exactly or nearly. Sum of their credits: +6.000. "
        "Credit as one contributor: +6.000."
    )
    cheap = replace(credit, inputs=replace(credit.inputs, retrained=["some"]))
    corrected = credits.assign(credit=[1.0, 1.0, 4.0])
    other = replace(cheap.outputs, table=space.artifacts.put(corrected.to_parquet(index=False)))
    *_, found = check_identities.fn("show", replace(cheap, outputs=other), PayoutConfig())
    assert found.endswith(
        "Sum of their Shapley values by the cheap models, which retrained ones do not correct here: +6.000. "
        "Value as one contributor: +6.000."
    )
    banzhaf = replace(credit.inputs, config=credit.inputs.config.model_copy(update={"value": "banzhaf"}))
    *_, found = check_identities.fn("show", replace(credit, inputs=banzhaf, outputs=other), PayoutConfig())
    assert found.endswith("Sum of their Shapley values: +6.000. Value as one contributor: +6.000.")
