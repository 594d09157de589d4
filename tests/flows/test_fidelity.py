"""Credit corrected by retrained models: in the configuration, in the estimate, and through a whole run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from royalty.flows.configuration import ConfigError, as_credit_config
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import members_of, sample_coalitions
from royalty.models.valuation.semivalues import exact_shapley
from royalty.tasks.config.credit import CreditConfig, FidelityConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.counts import check_run
from royalty.tasks.credit.estimate import estimate_credit
from royalty.tasks.credit.fidelity import coalitions_to_retrain, fidelity_sentence
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.measured import MeasuredGame
from royalty.tasks.credit.stages import FidelityOutputs
from tests.conftest import WITHOUT_BOOTSTRAP, Run
from tests.flows.test_evaluate import keep, planned

NAMES = [f"n{number}" for number in range(6)]


def measured(masks: np.ndarray, utilities: np.ndarray, null: float, grand: float) -> MeasuredGame:
    seeds = np.zeros(len(masks), int)
    return MeasuredGame(masks, utilities, seeds, seeds, null, grand, ())


def test_credit_is_that_of_the_retrained_game() -> None:
    worth = np.arange(1.0, 7.0)
    masks = sample_coalitions(6, 40, seed=0)
    cheap = measured(masks, masks @ (worth[::-1] + 1), 0.5, 27.0)
    few = measured(masks[:24:2], masks[:24:2] @ worth, 0.0, 21.0)
    config = CreditConfig(fidelity=FidelityConfig(retrain=12))
    found = cheap.corrected_by(few, config)
    assert found.corrected.values == pytest.approx(exact_shapley(lambda chosen: chosen @ worth, 6), abs=0.05)
    without = measured(masks[1:], cheap.utilities[1:], 0.5, 27.0)  # a cheap training failed
    assert without.corrected_by(few, config).corrected.values == pytest.approx(worth, abs=0.1)


@pytest.mark.usefixtures("new_home")
def test_pairs_of_a_run_have_the_sign_of_its_corrected_credit() -> None:
    """Cheap utilities fall where retrained ones rise; `scaled` turns them round, in the credit and in the pairs."""
    data = ingest.fn(DigitsSource(contributors=5), 0)
    names, runs = data.outputs.players, open_workspace(settings()).runs
    drawn = members_of(sample_coalitions(5, 30, seed=0), names)
    plans = [planned(*members) for members in (tuple(names), (), *drawn)]
    few = [planned(*members, seed=8) for members in (tuple(names), (), *drawn[:20])]
    for plan, slope in (*((plan, -0.5) for plan in plans), *((plan, 1.0) for plan in few)):
        substitutes = bool({names[1], names[3]} & set(plan.members))
        keep(runs, plan, slope * (len(plan.members) + 2 * substitutes))
    config = CreditConfig(fidelity=FidelityConfig(retrain=20, scaled=True))
    credit = estimate_credit.fn(data, plans, config, few).outputs
    assert (credit.null_utility, credit.grand_utility) == (0, 7)
    assert credit.interactions is not None
    (pair,) = credit.interactions.pairs
    assert {pair.first, pair.second} == {names[1], names[3]}
    assert pair.ci_high < 0


def test_some_measured_coalitions_are_retrained_and_the_ends() -> None:
    everybody, drawn = tuple(NAMES), members_of(sample_coalitions(6, 62, seed=0), NAMES)
    plans = [planned(*members) for members in (everybody, (), *drawn)]
    config = CreditConfig(fidelity=FidelityConfig(retrain=10))
    chosen = coalitions_to_retrain(plans, NAMES, config)
    assert chosen[:2] == [everybody, ()]
    assert len(set(chosen)) == 12
    assert set(chosen[2:]) <= set(drawn)
    assert not any(set(NAMES) - set(members) == set(other) for members in chosen[2:] for other in chosen[2:])
    assert all(0 < sum(name in members for members in chosen[2:]) < 10 for name in NAMES), "of all coalitions, too"
    assert chosen == coalitions_to_retrain(plans, NAMES, config)


def test_too_few_retrained_models_are_refused_before_anything_trains() -> None:
    config = CreditConfig(fidelity=FidelityConfig(retrain=10))
    with pytest.raises(InputError, match=r"`fidelity\.retrain`: .*12 contributors takes at least 15 .* got 10"):
        check_run([f"n{number}" for number in range(12)], config)
    check_run(NAMES, config)
    for changed, says in (
        ({"coalitions": {"method": "retrain"}, "fidelity": {"retrain": 20}}, "corrects cheap models"),
        ({"credit": {"value": "banzhaf"}, "fidelity": {"retrain": 20}}, "corrects Shapley values"),
        ({"stopping": {"stderr": 0.5}, "fidelity": {"retrain": 20}}, "credit that is not corrected yet"),
        ({"stopping": {"top": 3}, "fidelity": {"retrain": 20}}, "credit that is not corrected yet"),
        ({"coalitions": {"count": 40}, "fidelity": {"retrain": 50}}, "at most `coalitions.count`, which is 40"),
    ):
        with pytest.raises(ConfigError, match=says):
            as_credit_config({"name": "few", **changed})


def test_the_sentence_says_what_was_compared() -> None:
    found = FidelityOutputs(0.81, 0.2, 0.1, 0.5, 20, 25.5, 0.097, 0.031, 1.0)
    text = fidelity_sentence(found)
    for part in ("20 coalitions", "0.81", "+0.2", "25.5", "9.7%", "3.1%"):
        assert part in text
    plain = fidelity_sentence(FidelityOutputs(None, 0.2, 0.1, 0.5, 20, 25.5, None, None, 1.0))
    assert "utilities have no rank correlation, because those of one kind or both do not vary; cheap ones" in plain
    assert "labels" not in plain


@pytest.mark.slow
def test_a_run_retrains_compares_and_corrects(royalty: Run, tmp_path: Path) -> None:
    # Six contributors have 62 coalitions, of which 20 are measured: credit is not exact.
    config = WITHOUT_BOOTSTRAP.replace("contributors: 3", "contributors: 6").replace("count: 12", "count: 20")
    config = config.replace("steps: 60", "steps: 200")  # retrained models are better than none
    terms = "payout: {post: true, equal_share: 0.25, policy: by-reliability, limits: {stderr: null}}"
    config = config.replace("payout: {post: true, limits: {stderr: null}}", terms)
    (tmp_path / "few.yaml").write_text(f"{config}fidelity: {{retrain: 10}}\n")
    done = royalty("run", "--config", "few.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 22
    (sentence,) = [note for note in result["notes"] if "retrained in full" in note]
    assert "10 coalitions" in sentence
    told = re.search(r"the largest standard error is ([\d.]+) of", result["ended"])
    assert told is not None, result["ended"]
    credits = pd.read_parquet(Path(result["folder"]) / "credit.parquet")
    error = float(credits["stderr"].max() / credits["credit"].std(ddof=0))
    assert float(told.group(1)) == pytest.approx(error, abs=0.01), "of the corrected credit"
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow' / 'mlflow.db'}")
    run = client.get_run(result["mlflow_run"])
    assert run.data.metrics["fidelity/coalitions"] == 10
    assert run.data.metrics["fidelity/fid"] > 0
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert "fidelity" in {child.info.run_name for child in children}
    table = pd.read_parquet(Path(result["folder"]) / "credit.parquet")
    paid = pd.read_csv(Path(result["folder"]) / "payout.csv")
    assert paid["share"].min() > 0.25 / 6 - 1e-4
    assert paid["credit_apart"].sum() == pytest.approx(0, abs=1e-6)
    assert table["credit"].sum() == pytest.approx(paid["credit"].sum())
    page = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "0.25 of the pool is divided equally" in page
    assert "With one contributor as two names" in page
    again = json.loads(royalty("run", "--config", "few.yaml", "--json").stdout)
    assert (again["measured"], again["table"]) == (0, result["table"])
