"""Paying: what gates stop is not posted, and what is small adds up over pools."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import LimitsConfig, PayoutConfig
from royalty.tasks.pay.division import pay, release_held


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    here = Settings(home=tmp_path)
    for module in ("royalty.tasks.pay.division", "royalty.tasks.stages.stage"):
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    return open_workspace(here)


def credited(space: Workspace, big: float = 9.0) -> StageRecord:
    columns = {"contributor": ["big", "small"], "items": [1, 1], "credit": [big, 1.0], "stderr": [0.5, 0.5]}
    table = pd.DataFrame({**columns, "ci_low": [big - 1, 0.0], "ci_high": [big + 1, 2.0]})
    outputs = {"table": space.artifacts.put(table.to_parquet(index=False)), "failed": [["big"]], "trained": 4}
    return StageRecord("credit", "k", {}, {**outputs, "diagnostics": {"efficiency_gap": 0.0}}, 0.0)


def test_a_gate_stops_the_payout_and_nothing_is_posted(space: Workspace) -> None:
    limits = LimitsConfig(failed_share=0.2, interval_width=0.1, efficiency_gap=0)
    refused = pay.fn(credited(space), PayoutConfig(limits=limits), "may").outputs
    assert "`payout.limits.failed_share` is 0.2" in refused["refusal"]
    assert "0.5, and `payout.limits.interval_width` is 0.1" in refused["refusal"]
    assert "efficiency_gap" not in refused["refusal"]
    assert refused["statement"] is None
    assert [row["amount"] for row in refused["rows"]] == [None, None]
    assert space.ledger.balance("may") == {}


def test_a_run_takes_back_what_another_was_paid_only_when_that_is_said(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10))
    pay.fn(credited(space), config, "may", source="cats")
    refused = pay.fn(credited(space, big=4.0), config, "may", source="dogs").outputs
    assert "'may' was by that of 'cats', and is asked to be by that of 'dogs'" in refused["refusal"]
    assert (refused["statement"], [row["amount"] for row in refused["rows"]]) == (None, [None, None])
    assert space.ledger.balance("may") == {"big": 900, "small": 100}
    pay.fn(credited(space, big=4.0), config, "may", source="dogs", replace_other_runs=True)
    assert space.ledger.balance("may") == {"big": 800, "small": 200}


def test_small_payments_wait_for_the_next_pool_and_repeating_changes_nothing(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(1), minimum=Decimal("0.15"))
    first = pay.fn(credited(space), config, "may")
    assert [row["amount"] for row in first.outputs["rows"]] == ["0.90", "0.00"]
    second = pay.fn(credited(space), config, "june")
    assert [row["amount"] for row in second.outputs["rows"]] == ["0.90", "0.20"]
    assert space.ledger.accounts("july", "EUR", ["small"]) == {}
    for pool, record in (("may", first), ("june", second)):
        again = pay.fn(credited(space), config, pool)
        assert again.reused
        assert again.outputs["rows"] == record.outputs["rows"]
        assert again.outputs["statement"] == record.outputs["statement"]


def test_who_has_no_payee_waits_for_one_and_is_released(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10))
    payees = {"big": Payee("Big", "DE89370400440532013000", "EUR"), "small": Payee("Small", "x", "USD")}
    held = pay.fn(credited(space), config, "may", payees=payees).outputs
    assert [(row["amount"], row["held"]) for row in held["rows"]] == [("9.00", "0.00"), ("0.00", "1.00")]
    assert held["rows"][1]["reason"] == "without a payee in this currency, held"
    assert space.ledger.balance("may", "held") == {"small": 100}
    release_held.fn("may", config, ["small"])
    assert space.ledger.balance("may") == {"big": 900, "small": 100}
    again = pay.fn(credited(space), config, "may", payees=None).outputs
    assert again["statement"] == held["statement"], "with a payee by now, and paid"


def test_a_dry_run_posts_nothing_and_ledger_entries_balance(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10), cap=Decimal("0.3"), negative="carry")
    shown = pay.fn(credited(space), config, "may", post=False).outputs
    assert shown["statement"] is None
    assert space.ledger.statements() == []
    posted = pay.fn(credited(space), config, "may").outputs
    assert posted["rows"] == shown["rows"]
    assert space.ledger.balance("may", "reserve") == {"": 400}
    assert space.ledger.balance("may", "pool") == {"": -1000}
