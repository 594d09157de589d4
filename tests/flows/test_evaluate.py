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
from royalty.models.judging.draws import over_draws
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.plan import CoalitionPlan, MeasurePlan
from royalty.tasks.credit.stages import Ingested, IngestInputs, IngestOutputs
from royalty.tasks.judge.credits import MethodCredit, cross_fitted_credit
from royalty.tasks.judge.held_out import EVERYBODY, Retrained, counterfactual_coalitions
from royalty.tasks.judge.scores import compare_utilities, score
from royalty.tasks.judge.stages import LDS
from royalty.tasks.stages.stage import Finished
from tests.conftest import Run
from tests.watching import Watch

TINY = """
data: {source: digits, contributors: 5, concentration: 1.0}
classifier: {steps: 30}
generator: {steps: 4, batch_size: 16, block_channels: [8, 16], conditional: true}
sampling: {images: 32, steps: 3}
pruning: {recovery_steps: 2}
coalitions: {finetune_steps: 2, batch_size: 16}
evaluation:
  alphas: [0.4, 0.6]
  subsets: 7
  seeds: 2
  again: 5
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
    assert judged["retrained"] == judged["planned"] == 2 * 2 * 7 + 2 * 5, "two sets, and some of the first again"
    methods = {row["method"] for row in judged["rows"]}
    crossed = [row for row in judged["rows"] if row["method"] == "Shapley, retrain, cross-fitted"]
    assert min(row["trained"] for row in crossed) == 10
    assert {"Shapley, sparsified", "leave-one-out, retrain", "D-TRAK (sum)", "DAS (sum)"} <= methods
    assert {"pixel similarity (maximum)", "patches (sum)"} <= methods
    assert {row["seconds"] > 0 for row in judged["rows"] if row["method"] == "patches (sum)"} == {True}
    assert {"game with pairs, retrain", "best single bit", "random credit", "another retraining"} <= methods
    assert all(-1.001 <= row["low"] <= row["high"] <= 1.001 for row in judged["rows"])
    assert {row["among"] for row in judged["rows"]} >= {"all", "within strata"}, "the blurred scanner is planted"
    pairs = {(row["method"], row["other"]) for row in judged["leads"]}
    assert ("game with pairs, sparsified", "leave-one-out, retrain") in pairs
    assert all(0 < row["p"] <= 1 and row["low"] <= row["high"] for row in judged["leads"])
    folder = Path(judged["folder"])
    assert (folder / "lds.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((folder / "lds.csv").open()))) == len(judged["rows"])
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow' / 'mlflow.db'}")
    files = {entry.path for entry in client.list_artifacts(judged["mlflow_run"])}
    assert files == {"lds.csv", "lds.json", "lds.png", "lds-leads.csv", "lds-leads.json"}

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
        means = [over_draws(own) for own in changes]
        assert any((own.low, own.high, own.mean) == pytest.approx(expected) for own in means), row
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
    assert set(before.by_members) == {plan.members for plan in held_out[:-1]}
    again = CoalitionPlan(**{**vars(held_out[3]), "key": "again", "measures": (measured_by("again"),)})
    keep(space.runs, again, 100.0)
    after = cross_fitted_credit.fn(data, ends, [*held_out[:3], again, *held_out[4:]], CreditConfig())[-1]
    same = [members for members, value in before.by_members.items() if value == after.by_members[members]]
    assert held_out[3].members in same
    assert len(same) == 2, "the coalition of its fold of the other size, too"


def test_scores_of_credit_by_held_out_models(space: Workspace) -> None:
    names = ("ann", "bob", "cy", "dan", "eve", "noise")
    data, worth = ingested(*names), dict(zip(names, (4.0, 2.0, 1.0, 0.5, 0.2, -9.0), strict=True))
    trios = list(combinations(names, 3))
    sets = [Retrained({0.5: trios}, [planned(*members, seed=seed) for members in trios]) for seed in (7, 8)]
    again = Retrained({0.5: trios[:6]}, [planned(*members, seed=9) for members in trios[:6]])
    for shift, each in zip((10.0, 60.0, 0.0), (*sets, again), strict=True):
        for plan in each.plans:
            keep(space.runs, plan, shift + sum(worth[name] for name in plan.members))
    values = np.array(list(worth.values()))
    right, wrong = MethodCredit("Shapley, right", values, 10.0, 6, 1.0), MethodCredit("wrong", -values, None, 0, 1.0)
    honest = MethodCredit("sees the noise alone", np.array([0, 0, 0, 0, 0, -1.0]), None, 0, 1.0)
    methods = [right, wrong, honest]
    scored = score.fn(data, sets, again, methods, ["noise"], 0)
    rows = {(row["method"], row["among"]): row for row in scored.outputs.rows}
    assert rows["Shapley, right", "all"]["lds"] == pytest.approx(1)
    assert rows["Shapley, right", "all"]["bias"] == pytest.approx(-25), "the second set is 50 higher"
    assert (rows["wrong", "all"]["lds"], rows["wrong", "all"]["bias"]) == (pytest.approx(-1), None)
    assert rows["sees the noise alone", "all"]["lds"] > 0.8
    assert rows["best single bit", "all"]["lds"] == pytest.approx(rows["sees the noise alone", "all"]["lds"])
    for among in ("within strata", "without planted"):
        assert rows["sees the noise alone", among]["lds"] == 0
        assert rows["Shapley, right", among]["lds"] == pytest.approx(1)
    assert rows["another retraining", "all"]["lds"] == pytest.approx(1)
    assert rows["another retraining", "all"]["coalitions"] == 6
    assert rows["random credit", "all"]["low"] < 0 < rows["random credit", "all"]["high"]
    leads = {(row["other"], row["among"]): row for row in scored.outputs.leads}
    assert leads["wrong", "all"]["difference"] == pytest.approx(2)
    assert leads["sees the noise alone", "within strata"]["p"] < 0.01
    assert {row["method"] for row in scored.outputs.leads} == {"Shapley, right"}
    assert LDS.kept(space, scored.key).outputs.rows == scored.outputs.rows
    assert score.fn(data, sets, again, methods, ["noise"], 0).reused
    assert not score.fn(data, sets, again, methods, [], 0).reused
    biased = score.fn(data, sets, again, [MethodCredit("Shapley, right", values, 11.0, 6, 1.0)], ["noise"], 0)
    assert not biased.reused, "the utility of nobody is a part of what is judged"


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
    interval = over_draws([-0.5, -0.25])
    expected = {"change": -0.375, "low": interval.low, "high": interval.high, "seeds": 2}
    assert row == {"method": "m", "done": "without top 40%", **expected}
    (single,) = compare_utilities.fn(asked, plans[:2]).outputs.rows
    assert (single["change"], single["low"], single["high"]) == (-0.5, None, None), "one seed has no interval"


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
