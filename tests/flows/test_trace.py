"""Tracing: from any id the same way, what changed is found, and what is asked badly is answered."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from royalty.infra.ledger.postings import Posting
from royalty.infra.pages.trace import Trace, render_trace
from royalty.infra.settings import Settings
from royalty.infra.stores import tables
from royalty.infra.stores.runstore import StageRecord
from royalty.models.base.errors import InputError
from royalty.tasks.benchmarks.criteria_publication import write_criterion
from royalty.tasks.benchmarks.criterion_stages import (
    MEMBERSHIP,
    OUTLIERS,
    MembershipInputs,
    MembershipOutputs,
    OutliersInputs,
    OutliersOutputs,
)
from royalty.tasks.benchmarks.detection import write_detection
from royalty.tasks.benchmarks.detection_stages import DETECT, CleanSides, DetectInputs, DetectOutputs
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.judge.publication import write_counterfactual, write_lds
from royalty.tasks.judge.stages import (
    COUNTERFACTUAL,
    LDS,
    CounterfactualInputs,
    CounterfactualOutputs,
    LdsInputs,
    LdsOutputs,
)
from royalty.tasks.pay.division import divide, post, release_held
from royalty.tasks.report.trace import trace_target
from royalty.tasks.report.trace_id import identify, part_of, title_of
from royalty.tasks.stages.publishing import Published
from royalty.tasks.stages.stage import Finished, Stage
from tests.conftest import Run
from tests.ledgers import without_triggers
from tests.published import untraceable
from tests.tracing import Home, made_up

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")

WAY = {
    "Payout statement": 1,
    "Policy": 1,
    "Payout table": 1,
    "Credit table": 1,
    "Coalition run": 4,
    "Pruned model": 1,
    "Pruned model, before its recovery": 1,
    "Base model": 1,
    "Images made by the base model": 1,
    "Images made by the pruned model before its recovery": 1,
    "Images made by the pruned model": 1,
    "Values by GMValuator": 1,
    "Training images matched with generated images": 1,
    "Matched training images": 1,
    "Generated images": 1,
    "Classifier that judges": 1,
    "Training images": 1,
    "Held-out images": 1,
    "Images of the classifier": 1,
    "Run": 1,
}

LDS_ROW = {"method": "Shapley, sparsified", "alpha": 0.5, "lds": 0.4, "low": 0.3, "high": 0.5, "seconds": 1.0}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return made_up(tmp_path / "home")


def traced(home: Home, asked: str) -> Trace:
    return trace_target(home.space, asked, identify(home.space, asked))


def ids(home: Home) -> dict[str, str]:
    stages = home.stages
    return {
        "payout statement": home.statement,
        "Credit table": stages.credit.outputs.table,
        "Payout table": stages.pay.outputs.payout,
        "Base model": stages.train.outputs.model,
        "Pruned model": stages.prune.outputs.model,
        "Training images": stages.ingest.outputs.train,
        "coalition run": home.plans[2].key,
        "run": "may",
        "item": home.item,
    }


def test_every_id_and_its_beginning_gives_the_whole_way(home: Home) -> None:
    for kind, identity in ids(home).items():
        for asked in {identity, identity[:8].upper() if kind != "run" else identity}:
            found = traced(home, asked)
            assert (found.kind, found.id) == (kind, identity)
            way = {title: len(steps) for title, steps in found.groups if title != "Item"}
            assert way == WAY, kind
            assert found.matches
            assert [step.title for step in found.steps if step.asked], kind
            assert found.hashed == sum(WAY.values()) - 1, "all but the policy"


def test_outputs_of_one_kind_have_one_title_and_a_fact_that_tells_them_apart() -> None:
    for stage, role, title, part in (
        ("train", "samples.15", "Images sampled during training", ("Step", "15")),
        ("report", "pages.contributors/a.html", "Pages of the report", ("File", "contributors/a.html")),
        ("samples", "images.nobody", "Images of nobody's and of everybody's model", ("Model", "nobody")),
    ):
        assert (title_of(stage, role), part_of(stage, role)) == (title, (part,))
    assert part_of("train", "model") == ()


def test_the_page_shows_a_commit_and_a_flow_run_of_all_steps_once(home: Home) -> None:
    trace = traced(home, "may")
    page = render_trace(trace)
    assert page.count("Prefect flow run") == 1
    assert trace.common[1] == "a-flow-run"
    other = replace(trace, steps=(*trace.steps, replace(trace.steps[-1], flow_run="another")))
    assert other.common[1] is None
    assert "another" in render_trace(other)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {link.removeprefix("#") for link in re.findall(r'href="([^"]+)"', page)} <= anchors


def test_mlflow_runs_lead_to_what_they_show(home: Home) -> None:
    assert traced(home, "f" * 32).kind == "MLflow run"
    (base,) = [step for step in traced(home, "dddddddd").steps if step.title == "Base model"]
    assert base.mlflow_run == "d" * 32
    assert base.flow_run == "a-flow-run"
    assert base.mlflow_url is None, "a local store has no address"


def test_says_who_paid_whom_for_which_images(home: Home) -> None:
    said = {step.title: dict(step.facts) for step in traced(home, home.item).steps}
    assert said["Payout statement"]["ann"] == "€500.00"
    assert said["Training images"]["By contributor"] == "ann 3, bob 4"
    assert "proportion" in said["Policy"]["Terms"]
    assert "seed=0" in said["Run"]["Configuration"]
    assert any("trained on" in value for value in said["Item"].values())


def test_what_changed_is_named_and_nothing_else(home: Home) -> None:
    store = home.space.artifacts
    train, credit = home.stages.train.outputs, home.stages.credit.outputs
    for digest, title in ((train.model, "Base model"), (credit.table, "Credit table")):
        path, before = store.path(digest), store.get(digest)
        path.write_bytes(before + b"x")
        found = traced(home, "may")
        assert [(step.title, step.state) for step in found.steps if step.problem] == [(title, "changed")]
        assert digest[:16] in found.problems[0]
        path.unlink()
        assert [(step.title, step.state) for step in traced(home, "may").steps if step.problem] == [(title, "missing")]
        path.write_bytes(before)
    assert traced(home, "may").matches


def test_a_utility_that_was_changed_in_the_database_is_found(home: Home) -> None:
    without_triggers(home.space.runs.engine, "measurements")
    with Session(home.space.runs.engine) as session, session.begin():
        one = tables.MeasurementRow.coalition == home.plans[2].key
        session.execute(update(tables.MeasurementRow).values(utility=9.0).where(one))
    (problem,) = traced(home, "may").problems
    assert home.plans[2].key[:16] in problem
    assert "run store was changed" in problem


def published(home: Home) -> list[Published]:
    """One of each kind of evaluation under the name of the run, from results that nothing computed."""
    config, criteria = home.config, CriteriaConfig(name="may")
    detection = DetectionConfig(name="may", corruptions=("noise",))
    scored = LdsOutputs("", [LDS_ROW, LDS_ROW | {"method": "D-TRAK (sum)"}])
    compared = CounterfactualOutputs([{"method": "mine", "change": 0.1}])
    detected = DetectOutputs([{"corruption": "noise", "method": "lava", "auroc": 0.5}], {}, [], busy_seconds=0.0)
    sides = DetectInputs("noise", detection.settings, CleanSides("", ""))
    members = MembershipOutputs([{"method": "none", "p": 0.5, "effect": 0.5}], {"trained": [1.0], "held out": [0.0]})
    ranks = OutliersOutputs([{"method": "none", "percentile": 0.5, "auroc": 0.5}], {"none": [0.5, 1.0]})
    return [
        write_lds.fn(config, finished(LDS, LdsInputs([], []), scored)),
        write_counterfactual.fn(config, finished(COUNTERFACTUAL, CounterfactualInputs([], []), compared)),
        write_detection.fn(detection, [finished(DETECT, sides, detected)]),
        write_criterion.fn(
            "membership", criteria, finished(MEMBERSHIP, MembershipInputs([], [], []), members), [], None
        ),
        write_criterion.fn("outliers", criteria, finished(OUTLIERS, OutliersInputs([], []), ranks), [], None),
    ]


def finished(stage: Stage[Inputs, Outputs], inputs: Inputs, outputs: Outputs) -> Finished[Inputs, Outputs]:
    return Finished(stage.name, "a" * 64, inputs, outputs, 0.0, reused=False)


def test_every_kind_of_published_run_is_found_under_the_name_and_by_its_id(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("royalty.tasks.stages.running", "royalty.tasks.stages.publishing"):
        monkeypatch.setattr(f"{module}.settings", lambda: Settings(home=home.space.root))
    written = published(home)
    assert untraceable(home.space.root) == []
    assert {traced(home, each.run).kind for each in written} == {"MLflow run"}
    named = identify(home.space, "may")
    assert set(named.nodes) == {home.stages.logged_run.key, *(each.stage.key for each in written)}
    assert {title: len(steps) for title, steps in traced(home, "may").groups if title in WAY} == WAY


def test_other_amounts_than_the_table_says_are_found(tmp_path: Path) -> None:
    home = made_up(tmp_path / "home")
    table = home.stages.credit.outputs.table
    home.space.ledger.post("june", Posting(valuation=table, currency="JPY", amounts={"ann": 1000}))
    problems = traced(home, "may").problems
    assert len(problems) == 1
    assert "no payout table" in problems[0]


def test_every_payout_and_release_is_found_from_every_id(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("royalty.tasks.pay.division", "royalty.tasks.stages.running"):
        monkeypatch.setattr(f"{module}.settings", lambda: Settings(home=home.space.root))
    terms = PayoutConfig(pool=Decimal(100), period="2026-05", disputed=("bob",))
    later = [
        post.fn(divide.fn(home.stages.credit, terms, pool), terms)
        for terms, pool in ((terms, "may"), (PayoutConfig(), "bonus"))
    ]
    release = release_held.fn("may", terms, ["bob"])
    statements = [posted.id for posted in home.space.ledger.statements()]
    assert len(statements) == len({home.statement, *(division.statement for division in later), release}) == 4
    tables = {division.outputs.payout for division in (home.stages.pay, *later)}
    models = {row.checkpoint for row in home.space.runs.all_coalitions() if row.checkpoint}
    asked = {*ids(home).values(), *statements, *tables, *models, "f" * 32, "e" * 32, "d" * 32}
    asked |= {stage.key for stage in home.space.runs.stages()}
    for identity in sorted(asked):
        found = traced(home, identity)
        assert found.problems == (), identity
        groups = dict(found.groups)
        assert {step.id for step in groups["Payout statement"]} == set(statements), identity
        assert {step.id for step in groups["Payout table"]} == tables, identity
        assert len(groups["Policy"]) == 3, identity


LATER_FIELDS = {
    "ingest": ("copies", "near_copies", "shape", "repeated_items", "licenses"),
    "train": ("gpus",),
    "pay": ("period", "unpayable", "brought", "efficiency_gap", "marginal_error"),
    "track": ("experiments", "runs"),
}
"""Fields that this version reads, and that rows of earlier versions do not have."""


def test_rows_of_an_earlier_version_are_shown_and_compared(tmp_path: Path) -> None:
    home = made_up(tmp_path / "home", lacking=LATER_FIELDS)
    found = traced(home, "may")
    assert {title: len(steps) for title, steps in found.groups} == WAY
    assert (found.problems, found.hashed) == ((), sum(WAY.values()) - 1)
    facts = {step.title: dict(step.facts) for step in found.steps}
    assert facts["Training images"]["By contributor"] == "ann 3, bob 4"
    assert facts["Base model"]["Size"] == "1,000 parameters"
    assert all(step.mlflow_run is None for step in found.steps if step.title != "Run")


def test_rows_with_other_fields_are_verified_and_not_shown(tmp_path: Path) -> None:
    home = made_up(tmp_path / "home", lacking={"ingest": ["total_items"], "train": ["parameters"], "pay": ["rows"]})
    found = traced(home, "may")
    assert {title: len(steps) for title, steps in found.groups} == WAY
    states = {step.title: step.state for step in found.steps if dict(step.facts).keys() & {"Recorded", "Payout table"}}
    assert states == {
        "Payout statement": "recorded",
        "Policy": "recorded",
        "Base model": "verified",
        "Training images": "verified",
    }
    assert found.problems == ()
    home.space.artifacts.path(home.stages.train.outputs.model).write_bytes(b"another")
    assert [step.title for step in traced(home, "may").steps if step.problem] == ["Base model"]


def test_unknown_and_ambiguous_ids_name_the_nearest(home: Home) -> None:
    digest = home.stages.credit.outputs.table
    near = digest[:6] + "".join("0" if digit != "0" else "1" for digit in digest[6:12])
    with pytest.raises(InputError, match=rf"nearest: {digest[:16]} \(Credit table"):
        identify(home.space, near)
    with pytest.raises(InputError, match=r"nearest: may \(run"):
        identify(home.space, "mai")
    with pytest.raises(InputError, match="runs here: may"):
        identify(home.space, "<script>")
    for index in range(2):
        home.space.runs.record_stage(StageRecord("train", "ab" * 30 + f"000{index}", {}, {}, 1.0))
    with pytest.raises(InputError, match=r"2 ids begin with 'abababab'.*stage 'train'"):
        identify(home.space, "abababab")


def test_page_escapes_names_and_is_loud(tmp_path: Path) -> None:
    home = made_up(tmp_path / "home")
    home.space.artifacts.path(home.stages.train.outputs.model).unlink()
    trace = traced(home, "may")
    step = dataclasses.replace(trace.steps[0], id="<script>x</script>")
    page = render_trace(dataclasses.replace(trace, steps=(step,)))
    assert "<script>" not in page
    assert "&lt;script&gt;x" in page
    assert 'role="alert"' in page
    assert "1 mismatch with the records" in page


def test_the_command_exits_with_what_it_found(royalty: Run, tmp_path: Path) -> None:
    home, page = made_up(tmp_path / "home"), tmp_path / "may.html"
    done = royalty("trace", "may", "--json", "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["matches"] is True
    assert home.statement in page.read_text(encoding="utf-8")
    home.space.artifacts.path(home.stages.train.outputs.model).write_bytes(b"another")
    done = royalty("trace", home.statement[:8])
    assert done.returncode == 1
    assert "1 MISMATCH " in done.stdout
    assert done.stderr == ""
