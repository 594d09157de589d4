"""Credit over several pipelines: in the configuration, and through whole runs that share what they can."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from royalty.flows.configuration import ConfigError, as_credit_config
from royalty.flows.credit import forecast
from royalty.flows.revalue import revalue
from royalty.infra.pages.language import shipped_language
from royalty.infra.settings import settings
from royalty.infra.stores.runstore import CoalitionRecord
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import members_of, sample_coalitions
from royalty.tasks.config.credit import CoalitionConfig, CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.pipelines import pipeline_seed
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.counts import check_counterfactual, check_gallery, check_run
from royalty.tasks.credit.estimate import estimate_credit, load_table
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.pairs import untold_pairs
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.report.notes import interval_sources
from tests.conftest import WITHOUT_BOOTSTRAP, Run
from tests.flows.test_evaluate import keep, planned

CONFIG = CreditConfig(name="several", coalitions=CoalitionConfig(pipelines=2))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"coalitions": {"groups": 4}}, r"`coalitions\.groups: 4`"),
        ({"coalitions": {"units": "images"}}, r"`coalitions\.units: images`"),
        ({"fidelity": {"retrain": 20}}, r"`fidelity\.retrain: 20`"),
        ({"stopping": {"stderr": 0.5}}, r"`stopping\.stderr: 0\.5`: a target looks at one pipeline"),
        ({"stopping": {"top": 3}}, r"`stopping\.top: 3`"),
    ],
)
def test_settings_of_one_pipeline_are_refused(changed: dict[str, dict[str, object]], says: str) -> None:
    several = {**changed, "coalitions": {"pipelines": 2, **changed.get("coalitions", {})}}
    with pytest.raises(ConfigError, match=rf"`coalitions\.pipelines: 2` does not go with {says}.*or leave the other"):
        as_credit_config({"name": "several", **several})
    as_credit_config({"name": "one", **changed})


def test_what_is_of_one_pipeline_is_refused_before_anything_trains() -> None:
    names = [f"n{number}" for number in range(12)]
    check_run(names, CONFIG)
    for check in (check_counterfactual, check_gallery):
        with pytest.raises(InputError, match=r"`coalitions\.pipelines`: .* of one pipeline; got 2\. Set it to 1"):
            check(names, CONFIG)
    for flow in (forecast, revalue):
        with pytest.raises(InputError, match=r"`coalitions\.pipelines`: .* one pipeline; got 2\. Set it to 1"):
            flow.fn(CONFIG)


def test_no_seed_is_used_by_two_pipelines() -> None:
    first, second = (range(start, start + 100) for start in (pipeline_seed(7, 0), pipeline_seed(7, 1)))
    assert first[0] == 7
    assert not set(first) & set(second), "training seeds and draws, at most 100 of each"


def test_the_report_says_what_the_intervals_hold() -> None:
    assert interval_sources(CONFIG).startswith("the seeds of the classifier, the base model and its pruned copy (2 ")
    pairs = untold_pairs(CONFIG)
    assert pairs is not None
    assert "several pipelines" in pairs.omitted
    for code in ("en", "de"):
        assert " 3 " in shipped_language(code).text("chart_pipelines", pipelines=3)


@pytest.mark.usefixtures("new_home")
def test_credit_is_the_mean_and_checks_of_identities_are_of_the_first_pipeline() -> None:
    """The second pipeline has twice the utilities, and one training of it failed."""
    data = ingest.fn(DigitsSource(contributors=5), 0)
    names, space = data.outputs.players, open_workspace(settings())
    drawn = members_of(sample_coalitions(5, 20, seed=0), names)
    pipelines = [[planned(*members, seed=seed) for members in (tuple(names), (), *drawn)] for seed in (7, 8)]
    worth = dict(zip(names, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    for scale, plans in enumerate(pipelines, start=1):
        for plan in plans:
            keep(space.runs, plan, scale * (1 + sum(worth[name] for name in plan.members)))
    lost = replace(planned(*drawn[0], seed=9), key="lost")
    record = CoalitionRecord("lost", list(lost.members), "retrain", 9, 1, 1.0, "cpu", None, "diverged")
    space.runs.record_coalition(record)
    first, second = pipelines[0], [*pipelines[1], lost]
    credit = estimate_credit.fn(data, first, CONFIG, further=[second])
    outputs, table = credit.outputs, load_table(space, credit.outputs.table).set_index("contributor")
    assert table["credit"].to_dict() == pytest.approx({name: 1.5 * value for name, value in worth.items()}, rel=1e-3)
    assert (outputs.null_utility, outputs.grand_utility) == pytest.approx((1.5, 24.0))
    assert outputs.ends == (1.0, 16.0)
    assert (outputs.failed, outputs.trained) == ([list(lost.members)], len(first) + len(second))
    assert outputs.certainty.relative_stderr is not None
    assert outputs.certainty.relative_stderr > 0.1, "of the mean, although coalitions have no noise"
    assert credit.inputs.pipelines == [len(first), len(second)]
    assert credit.inputs.of_one_game == [plan.measures[0].key for plan in first]
    checks = check_identities.fn("several", credit, PayoutConfig(), data)
    assert any("the measured coalitions of the first pipeline" in sentence for sentence in checks)
    one = estimate_credit.fn(data, first, CONFIG.model_copy(update={"coalitions": CoalitionConfig()}))
    assert one.inputs.of_one_game == credit.inputs.of_one_game
    alone = check_identities.fn("one", one, PayoutConfig(), data)
    gains = [next(line for line in lines if "as two names, where" in line) for lines in (checks, alone)]
    assert "nobody would gain" in gains[1], "worth adds up"
    assert gains[0].replace(" of the first pipeline", "") == gains[1], "of one game, and not of a mix of two"


@pytest.mark.slow
def test_further_pipelines_reuse_earlier_ones(royalty: Run, tmp_path: Path) -> None:
    results, tables = {}, {}
    for pipelines in (1, 2, 3):
        text = WITHOUT_BOOTSTRAP.replace("count: 12,", f"count: 12, pipelines: {pipelines},")
        text = text.replace("payout: {post: true, ", "payout: {")
        (tmp_path / f"of{pipelines}.yaml").write_text(text)
        done = royalty("run", "--config", f"of{pipelines}.yaml", "--json")
        assert done.returncode == 0, done.stderr
        results[pipelines] = json.loads(done.stdout)
        tables[pipelines] = pd.read_parquet(Path(results[pipelines]["folder"]) / "credit.parquet")
    models = results[1]["measured"]
    assert models == 8, "3 contributors have 6 coalitions, and nobody and everybody"
    for pipelines in (2, 3):
        result = results[pipelines]
        folder, table = Path(result["folder"]), tables[pipelines].set_index("contributor")
        assert (result["measured"], result["reused"]) == (models, (pipelines - 1) * models)
        each = pd.read_parquet(folder / "pipelines.parquet").set_index("contributor")
        alone = tables[1].set_index("contributor")
        columns = ["credit", "stderr", "ci_low", "ci_high"]
        pd.testing.assert_frame_equal(each.loc[each["pipeline"] == 1, columns].loc[alone.index], alone[columns])
        assert table["credit"].to_numpy() == pytest.approx(each.groupby("contributor")["credit"].mean()[table.index])
        half, rerun = table["ci_high"] - table["credit"], table["rerun_high"] - table["credit"]
        assert rerun.to_numpy() == pytest.approx(np.sqrt(2) * half)
        (sentence,) = [note for note in result["notes"] if "Between pipelines" in note]
        assert f"mean over {pipelines} pipelines" in sentence
        report = (folder / "report.html").read_text(encoding="utf-8")
        assert sentence.partition(":")[0] in report
        assert f"pruned copy ({pipelines} pipelines)" in report
        assert "several pipelines" in report
        pages = [file.read_text(encoding="utf-8") for file in (folder / "contributors").glob("*.html")]
        assert len(pages) == 3
        assert all(f"trained {pipelines} times" in page for page in pages)
        metrics = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow' / 'mlflow.db'}").get_run(result["mlflow_run"])
        assert metrics.data.metrics["credit/pipelines"] == pipelines
        assert metrics.data.metrics["credit/deviation_pipelines"] >= 0
    assert pd.read_parquet(Path(results[3]["folder"]) / "pipelines.parquet")["credit"].nunique() == 9
    again = json.loads(royalty("run", "--config", "of3.yaml", "--json").stdout)
    assert (again["measured"], again["table"]) == (0, results[3]["table"])
    traced = royalty("trace", "of2")
    assert traced.returncode == 0, traced.stdout
    assert traced.stdout.count("Base model") >= 2
