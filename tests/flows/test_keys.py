"""The key of every stage covers all code of the project that the stage runs: a flow is run small, and watched.

The tests of other flows watch them as they run: those that take `watch`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from royalty.infra.processes.workers import Reference
from royalty.models.payout.apportionment import Shares
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import coalition_models
from tests.conftest import SMALL
from tests.in_process import own_home
from tests.watching import Watch, watching

CONFIG = CreditConfig.model_validate({**yaml.safe_load(SMALL), "name": "watched", "image_credit": {"references": 32}})


@pytest.mark.slow
def test_a_run_and_its_revaluation(watch: Watch, tmp_path: Path, prefect_url: str) -> None:
    from royalty.flows.credit import credit
    from royalty.flows.revalue import revalue

    with own_home(tmp_path / "home", prefect_url):
        credit(CONFIG)
        revalue(CONFIG)
    assert watch.stages >= {"ingest", "classifier", "train", "prune", "measure", "credit", "pay", "gmvaluator"}
    assert watch.stages >= {"coalition", "utility", "track", "report", "image-credit"}
    folder = tmp_path / "home" / "runs" / "watched"
    parts, paid = (pd.read_csv(folder / file).set_index("contributor") for file in ("image-credit.csv", "payout.csv"))
    by_name = parts.groupby("contributor")
    assert by_name["credit"].sum().to_dict() == pytest.approx(paid["credit"].to_dict())
    cents = (100 * parts["amount"].dropna()).round().groupby("contributor").sum()
    assert cents.to_dict() == (100 * paid["amount"][paid["amount"] > 0]).round().to_dict()
    assert by_name.size().to_dict() == paid["items"].to_dict()


@pytest.mark.slow
def test_code_that_no_key_covers_is_seen(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module that trains coalitions side by side once was, and a library that is found by its name only."""
    from royalty.flows.credit import credit

    hidden = Reference("royalty.models.payout.apportionment", "largest_remainder")
    library = Reference("babel.numbers", "get_currency_precision")
    fit = coalition_models.coalition_models

    def with_hidden(*arguments: Any) -> Any:
        hidden(Shares([1], 1))
        library("EUR")
        return fit(*arguments)

    monkeypatch.setattr(coalition_models, "coalition_models", with_hidden)
    with own_home(tmp_path / "home", prefect_url), watching() as watch:
        credit(CONFIG)
    assert watch.uncovered == {"coalition": {"royalty.models.payout.apportionment", "babel"}}
