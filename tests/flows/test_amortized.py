"""Coalitions that one model is told: their plans and keys, and a run that trains it once."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from royalty.tasks.config.credit import CoalitionConfig, CreditConfig, FidelityConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.coalitions import draw_coalitions, plan_coalitions, shares, side_by_side
from royalty.tasks.credit.expected import expected
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.recording import coalition_edges
from tests.conftest import WITHOUT_BOOTSTRAP, Run
from tests.flows.test_units import judge
from tests.in_process import own_home
from tests.watching import Watch

SOURCE = DigitsSource(contributors=5)
CONFIG = CreditConfig(
    data=SOURCE,
    coalitions=CoalitionConfig(count=14, method="amortized", amortized_steps=30),
    fidelity=FidelityConfig(retrain=8, scaled=True),
)
TOLD = WITHOUT_BOOTSTRAP.replace("count: 12", "count: 12, method: amortized, amortized_steps: 9") + (
    "fidelity: {retrain: 6, scaled: true}\n"
)


@pytest.mark.usefixtures("new_home")
def test_one_training_for_each_seed_is_planned() -> None:
    data = ingest.fn(SOURCE, 0)
    coalitions = draw_coalitions.fn(data, CONFIG.coalitions, 0)
    plans = plan_coalitions.fn(coalitions, data, "start", judge(), CONFIG, "amortized", [0, 1])
    for seed in (0, 1):
        of_seed = [plan for plan in plans if plan.seed == seed]
        parts = {part.key: part for plan in of_seed for part in plan.parts}
        assert len(parts) == 1
        (whole,) = parts.values()
        assert (whole.members, whole.seed, whole.measures) == (tuple(data.outputs.players), seed, ())
        assert whole.training.steps == 30
        for plan in of_seed:
            assert len(plan.parts) == bool(plan.members)
            edges = {edge.parent for edge in coalition_edges(plan, "checkpoint") if edge.role == "parts"}
            assert edges == (set(parts) if plan.members else set())
    assert len({plan.key for plan in plans} | {part.key for plan in plans for part in plan.parts}) == len(plans) + 2
    assert len(shares(plans, side_by_side(plans, CONFIG))) > 2, (
        "coalitions are sampled in several processes, unlike pooled ones"
    )


@pytest.mark.usefixtures("new_home")
def test_any_changed_contributor_changes_every_model() -> None:
    data = ingest.fn(SOURCE, 0)
    first = data.outputs.players[0]
    digests = [*data.outputs.contributor_digests[:-1], "other images"]
    other = replace(data, outputs=replace(data.outputs, contributor_digests=digests))
    for method, same in (("amortized", False), ("sparsified", True)):
        before, after = (
            plan_coalitions.fn([(first,)], each, "start", judge(), CONFIG, method, [0])[0]  # type: ignore[arg-type]
            for each in (data, other)
        )
        assert (before.key == after.key) is same
        assert [part.key for part in before.parts] != [part.key for part in after.parts] or same


@pytest.mark.usefixtures("new_home")
def test_nobody_is_told_the_public_images() -> None:
    data = ingest.fn(SOURCE, 0, public=["scanner-02"])
    coalitions = CONFIG.coalitions.model_copy(update={"public": ("scanner-02",)})
    config = CONFIG.model_copy(update={"coalitions": coalitions})
    (nobody,) = plan_coalitions.fn([()], data, "start", judge(), config, "amortized", [0])
    (whole,) = nobody.parts
    assert whole.providers == (*data.outputs.players, "scanner-02")


def test_the_expected_work_has_one_training() -> None:
    whole = expected(CONFIG).budget
    steps = CONFIG.coalitions.amortized_steps
    each = CONFIG.coalitions.model_copy(update={"method": "sparsified", "finetune_steps": steps})
    assert whole.hours < expected(CONFIG.model_copy(update={"coalitions": each})).budget.hours
    longer = CONFIG.coalitions.model_copy(update={"amortized_steps": 16 * steps})
    same = expected(CONFIG.model_copy(update={"coalitions": longer})).budget
    assert same.hours == pytest.approx(expected(CONFIG.model_copy(update={"coalitions": each})).budget.hours)


@pytest.mark.slow
def test_a_run_trains_one_model_and_uses_it_again(royalty: Run, tmp_path: Path) -> None:
    def rows() -> list[tuple[str, str, int]]:
        with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
            query = "select members, checkpoint, items from coalition_models where method = 'amortized'"
            return database.execute(query).fetchall()

    (tmp_path / "told.yaml").write_text(TOLD)
    done = royalty("run", "--config", "told.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 8
    page = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "one model for all coalitions, which is told the coalition" in page
    models = rows()
    assert len(models) == 9
    assert len({checkpoint for _, checkpoint, _ in models}) == 9
    sizes = sorted(
        path.stat().st_size
        for _, checkpoint, _ in models
        for path in (tmp_path / "home" / "artifacts").rglob(f"*{checkpoint[2:]}*")
    )
    assert sizes[6] < sizes[7] / 10, "all but nobody and the one model are a digest and what it is told"
    assert json.loads(royalty("run", "--config", "told.yaml", "--json").stdout)["measured"] == 0
    traced = royalty("trace", result["table"])
    assert traced.returncode == 0, traced.stdout + traced.stderr


@pytest.mark.slow
def test_the_keys_of_a_run_cover_its_code(watch: Watch, tmp_path: Path, prefect_url: str) -> None:
    from royalty.flows.credit import credit

    with own_home(tmp_path / "home", prefect_url):
        credit(CreditConfig.model_validate({**yaml.safe_load(TOLD), "name": "told"}))
    assert watch.stages >= {"coalition", "utility"}
