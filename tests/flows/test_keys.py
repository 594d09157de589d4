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
from royalty.infra.stores import keys
from royalty.models.payout.apportionment import Shares
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import coalition_models, coalitions
from tests.conftest import SMALL
from tests.in_process import own_home
from tests.tracing import made_up
from tests.watching import Watch, watching

TRAINED_BY = [
    ("stacked", "learning_rate=learning_rate", "learning_rate=0.0"),
    ("stacked", "LANES = 8", "LANES = 16"),
    ("stacked_lora", "lr=learning_rate", "lr=0.0"),
    ("denoising", "lr=learning_rate, fused", "lr=0.0, fused"),
]
"""Modules that train coalitions, and a constant of each."""
CONFIG = CreditConfig.model_validate({**yaml.safe_load(SMALL), "name": "watched", "image_credit": {"references": 32}})


@pytest.mark.parametrize(("module", "written", "instead"), TRAINED_BY)
def test_a_constant_of_the_code_that_trains_coalitions_changes_all_their_keys(
    module: str, written: str, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a learning rate of zero in `stacked`, everything was reused once: the key did not cover that module."""
    run, name = made_up(tmp_path / "home"), f"royalty.models.generators.{module}"
    find, edited = keys._origin, tmp_path / f"{module}.py"
    kind = "lora" if module == "stacked_lora" else "ddpm"
    config = CreditConfig.model_validate({"name": "may", "generator": {"kind": kind}})
    ingest, classifier = run.stages.ingest, run.stages.classifier

    def planned() -> set[str]:
        for known in (keys.code_version, keys.modules_run_by, keys._module):
            known.cache_clear()  # a process reads its code once
        sets = [(), ("ann",), ("ann", "bob")]
        plans = coalitions.plan_coalitions.fn(sets, ingest, "start", classifier, config, "sparsified", [0])
        return {plan.key for plan in plans} | {measure.key for plan in plans for measure in plan.measures}

    source = Path(str(find(name))).read_text()
    assert source.count(written) == 1
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_origin", lambda imported: str(edited) if imported == name else find(imported))
        edited.write_text(source)
        before = planned()
        edited.write_text(f"# A comment\n{source}")
        assert planned() == before
        edited.write_text(source.replace(written, instead))
        assert len(before) == 6
        assert planned().isdisjoint(before)
    planned()  # by the code as it is, which other tests run


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
