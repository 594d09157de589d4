"""Pooled models: contributors are trained once each, and shared with runs that train coalitions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from royalty.tasks.config.credit import CoalitionConfig, CreditConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.coalitions import draw_coalitions, plan_coalitions
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.recording import coalition_edges
from tests.conftest import SMALL, Run
from tests.flows.test_units import judge

SOURCE = DigitsSource(contributors=5)


@pytest.mark.usefixtures("new_home")
def test_parts_are_planned_once_for_each_contributor_and_seed() -> None:
    config = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=14, method="pooled"))
    data = ingest.fn(SOURCE, 0)
    coalitions = draw_coalitions.fn(data, config.coalitions, 0)
    pooled = plan_coalitions.fn(coalitions, data, "start", judge(), config, "pooled", [0, 1])
    single = [(name,) for name in data.outputs.players]
    sparsified = plan_coalitions.fn(single, data, "start", judge(), config, "sparsified", [0, 1])
    assert {part.key for plan in pooled for part in plan.parts} == {plan.key for plan in sparsified}
    assert not {plan.key for plan in pooled} & {plan.key for plan in sparsified}
    for plan in pooled:
        assert [part.members for part in plan.parts] == [(name,) for name in plan.members]
        assert {(part.seed, part.method, part.measures) for part in plan.parts} <= {(plan.seed, "sparsified", ())}
        edges = {edge.parent for edge in coalition_edges(plan, "checkpoint") if edge.role == "parts"}
        assert edges == {part.key for part in plan.parts}


@pytest.mark.usefixtures("new_home")
def test_public_contributors_are_parts_of_every_model() -> None:
    data = ingest.fn(SOURCE, 0, public=["scanner-02"])
    config = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=14, method="pooled", public=("scanner-02",)))
    member = data.outputs.players[0]
    plans = plan_coalitions.fn([(member,), ()], data, "start", judge(), config, "pooled", [0])
    assert [[part.providers for part in plan.parts] for plan in plans] == [
        [(member,), ("scanner-02",)],
        [("scanner-02",)],
    ]


@pytest.mark.slow
def test_a_run_trains_each_contributor_once_and_its_models_are_used_again(royalty: Run, tmp_path: Path) -> None:
    def rows() -> list[tuple[str, str, str]]:
        with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
            query = "select method, members, checkpoint from coalition_models"
            return database.execute(query).fetchall()

    (tmp_path / "pooled.yaml").write_text(SMALL.replace("count: 12", "count: 12, method: pooled"))
    done = royalty("run", "--config", "pooled.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 8
    page = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "a mixture of models of its members" in page
    models = rows()
    trained = {members: checkpoint for method, members, checkpoint in models if method == "sparsified"}
    pooled = {members: checkpoint for method, members, checkpoint in models if method == "pooled"}
    assert (len(trained), len(pooled)) == (3, 8)
    assert set(trained) <= set(pooled), "coalitions of one"
    assert len(set(pooled.values())) == 8
    assert json.loads(royalty("run", "--config", "pooled.yaml", "--json").stdout)["measured"] == 0

    (tmp_path / "plain.yaml").write_text(SMALL + "name: plain\n")
    assert royalty("run", "--config", "plain.yaml").returncode == 0
    assert len(rows()) == len(models) + 5, "coalitions of one are those that were mixed"
    traced = royalty("trace", result["table"])
    assert traced.returncode == 0, traced.stdout + traced.stderr
