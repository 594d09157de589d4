"""Judging credit through the installed command line, on models small enough to retrain in a moment."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from royalty.infra.settings import settings
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, RunStore
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.generators.training import Training
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.plan import CoalitionPlan, MeasurePlan
from royalty.tasks.credit.stages import Ingested, IngestInputs, IngestOutputs
from royalty.tasks.judge.credits import MethodCredit, cross_fitted_credit
from royalty.tasks.judge.held_out import EVERYBODY, counterfactual_coalitions
from royalty.tasks.judge.scores import compare_utilities, score
from royalty.tasks.judge.stages import LDS
from royalty.tasks.stages.stage import Finished
from tests.conftest import Run
from tests.watching import Watch

TINY = """
data: {source: digits, contributors: 5, concentration: 1.0}
classifier: {steps: 30}
generator: {steps: 4, batch_size: 16, block_channels: [8, 16]}
sampling: {images: 32, steps: 3}
pruning: {recovery_steps: 2}
coalitions: {finetune_steps: 2, batch_size: 16}
evaluation:
  alphas: [0.4, 0.6]
  subsets: 7
  seeds: 2
  shapley: {sparsified: 14, retrain: 10}
  gradients: {images: 2, timesteps: 2, projection: 32}
"""

LEFT = {"without top 10%": 4, "without top 20%": 4, "without top 40%": 3, "only top 60%": 3}
"""Of five contributors, those that are left."""


@pytest.mark.slow
def test_lds_then_counterfactual_on_kept_models(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = royalty("evaluate", "lds", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (judged,) = json.loads(done.stdout)
    assert judged["retrained"] == judged["planned"] == 2 * 2 * 7
    methods = {row["method"] for row in judged["rows"]}
    crossed = [row for row in judged["rows"] if row["method"] == "Shapley, retrain, cross-fitted"]
    assert {row["trained"] for row in crossed} == {10, 12}
    assert {"Shapley, sparsified", "leave-one-out, retrain", "D-TRAK (sum)", "pixel similarity (maximum)"} <= methods
    assert all(-1 <= row["low"] <= row["high"] <= 1 and row["seeds"] == 2 for row in judged["rows"])
    folder = Path(judged["folder"])
    assert (folder / "lds.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((folder / "lds.csv").open()))) == len(judged["rows"])
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow' / 'mlflow.db'}")
    files = {entry.path for entry in client.list_artifacts(judged["mlflow_run"])}
    assert files == {"lds.csv", "lds.json", "lds.png"}

    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        before = database.execute("select count(*) from coalition_models").fetchone()[0]
    done = royalty("evaluate", "counterfactual", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (judged,) = json.loads(done.stdout)
    assert {row["done"] for row in judged["rows"]} == set(LEFT)
    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        rows = database.execute("select method, seed from coalition_models").fetchall()
        utilities = database.execute(
            "select members, seed, utility from coalition_models join measurements on coalition = coalition_models.key "
            "where method = 'retrain' and seed >= 1000"
        ).fetchall()
    assert len(rows) > before
    assert {method for method, _ in rows[before:]} == {"retrain"}, "credit is reused; only held-out models are new"

    worth = {(seed, tuple(json.loads(members))): utility for members, seed, utility in utilities}
    whole = {seed: worth[seed, members] for seed, members in worth if len(members) == 5}
    for row in judged["rows"]:
        changes = (
            [worth[seed, members] / whole[seed] - 1 for seed in whole]
            for members in {members for _, members in worth if len(members) == LEFT[row["done"]]}
            if all((seed, members) in worth for seed in whole)
        )
        expected = (row["low"], row["high"], row["change"])
        assert any((min(own), max(own), np.mean(own)) == pytest.approx(expected) for own in changes), row
    assert watch.stages >= {"coalition", "utility", "attribute", "lds", "counterfactual"}


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path))
    settings.cache_clear()
    yield open_workspace(settings())
    settings.cache_clear()


def test_no_coalition_has_a_part_in_the_credit_that_predicts_it(space: Workspace) -> None:
    data = ingested("ann", "bob", "cy", "dan", "eve")
    plans = [planned(*members) for size in (0, 2, 3, 5) for members in combinations(data.outputs.contributors, size)]
    ends, held_out = [plans[-1], plans[0]], plans[1:-1]
    worth = np.random.default_rng(0).normal(size=len(plans))
    for plan, utility in zip(plans[:-2], worth, strict=False):  # all but everybody and one of the held out
        keep(space.runs, plan, utility)
    keep(space.runs, plans[-1], 2.0)
    before = cross_fitted_credit.fn(data, ends, held_out, CreditConfig())[-1]
    assert set(before.values) == {plan.members for plan in held_out[:-1]}
    again = CoalitionPlan(**{**vars(held_out[3]), "key": "again", "measures": (measured_by("again"),)})
    keep(space.runs, again, 100.0)
    after = cross_fitted_credit.fn(data, ends, [*held_out[:3], again, *held_out[4:]], CreditConfig())[-1]
    same = [members for members in before.values if np.array_equal(before.values[members], after.values[members])]
    assert held_out[3].members in same
    assert len(same) == 2, "the coalition of its fold of the other size, too"


def test_scores_of_credit_by_held_out_models(space: Workspace) -> None:
    data = ingested("ann", "bob", "cy", "dan")
    worth = np.array([4.0, 2.0, 1.0, 0.5])
    pairs = list(combinations(data.outputs.contributors, 2))
    plans = [planned(*members) for members in pairs]
    for plan, own in zip(plans, combinations(worth, 2), strict=True):
        keep(space.runs, plan, 10 + sum(own))
    right = MethodCredit("right", worth, 10.0, 6, 1.0)
    wrong = MethodCredit("wrong", -worth, None, 0, 1.0)
    scored = score.fn(data, {0.5: pairs}, plans, [right, wrong])
    rows = {row["method"]: row for row in scored.outputs.rows}
    assert (rows["right"]["lds"], rows["right"]["bias"], rows["right"]["error"]) == pytest.approx((1, 0, 0))
    assert (rows["wrong"]["lds"], rows["wrong"]["bias"], rows["wrong"]["error"]) == (pytest.approx(-1), None, None)
    assert LDS.kept(space, scored.key).outputs.rows == scored.outputs.rows
    assert score.fn(data, {0.5: pairs}, plans, [right, wrong]).reused
    biased = score.fn(data, {0.5: pairs}, plans, [MethodCredit("right", worth, 11.0, 6, 1.0), wrong])
    assert not biased.reused, "the utility of nobody is a part of what is judged"
    assert biased.outputs.rows[0]["bias"] == pytest.approx(1)


def test_changes_of_counterfactuals_by_seed(space: Workspace) -> None:
    data = ingested("ann", "bob", "cy", "dan", "eve")
    credit = MethodCredit("m", np.array([0.1, 0.5, 0.2, 0.4, 0.3]), 0.0, 0, 0.0)
    asked = counterfactual_coalitions(data, [credit])
    assert asked["m", "without top 10%"] == ("ann", "cy", "dan", "eve")
    assert asked["m", "only top 60%"] == ("bob", "dan", "eve")
    plans = [planned(*members, seed=seed) for seed in (7, 8) for members in (asked[EVERYBODY], ("ann", "cy", "eve"))]
    for plan, utility in zip(plans, (2.0, 1.0, 4.0, 3.0), strict=True):
        keep(space.runs, plan, utility)
    (row,) = compare_utilities.fn(asked, plans).outputs.rows  # of the other counterfactuals nothing is measured
    assert row == {"method": "m", "done": "without top 40%", "change": -0.375, "low": -0.5, "high": -0.25, "seeds": 2}


def ingested(*names: str) -> Ingested:
    """A set with these contributors, a stage that nobody ran."""
    items, digests = dict.fromkeys(names, 1), ["0" * 64] * len(names)
    outputs = IngestOutputs("", "", "", list(names), items, digests, 0, [], [], len(names), [1, 8, 8], 0, {})
    return Finished("ingest", "k", IngestInputs({}, 0), outputs, 0.0, reused=False)


def planned(*members: str, seed: int = 7) -> CoalitionPlan:
    key = f"{' '.join(members)} {seed}"
    return CoalitionPlan(key, members, "", "", "retrain", Training(1, 1, 0.1, 0.0, 1, 0.1), seed, (measured_by(key),))


def measured_by(key: str) -> MeasurePlan:
    return MeasurePlan(f"measured {key}", "fid", "", "", 16, 1, 0)


def keep(runs: RunStore, plan: CoalitionPlan, utility: float) -> None:
    """Record a coalition's model as trained and measured."""
    runs.record_coalition(CoalitionRecord(plan.key, list(plan.members), "retrain", 7, 1, 1.0, "cpu", "model"))
    runs.record_measurement(MeasurementRecord(plan.measures[0].key, plan.key, "fid", 0, utility, 1.0, 1.0))
