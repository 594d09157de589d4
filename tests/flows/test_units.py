"""Public images are in every model, nobody's too, and are refused where a paid contributor has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from royalty.flows.configuration import ConfigError, as_credit_config
from royalty.infra.settings import Settings, settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.models.valuation.semivalue_estimates import estimate_semivalues
from royalty.tasks.config.credit import CoalitionConfig, CreditConfig, CreditEstimateConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit import coalitions
from royalty.tasks.credit.coalitions import draw_coalitions, plan_coalitions, plan_image_sets, shares, side_by_side
from royalty.tasks.credit.counts import check_run
from royalty.tasks.credit.drawn import drawn_items
from royalty.tasks.credit.image_sets import gather_sets
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.measured import MeasuredGame
from royalty.tasks.credit.pairs import untold_pairs
from royalty.tasks.credit.stages import Classified, ClassifierInputs, ClassifierOutputs, Ingested
from royalty.tasks.stages.stage import Finished
from tests.conftest import WITHOUT_BOOTSTRAP, Run
from tests.flows.test_evaluate import keep

SOURCE = DigitsSource(contributors=5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def judge() -> Classified:
    outputs = ClassifierOutputs("", 0.0, 0.0)
    return Finished("classifier", "k", ClassifierInputs("", "", 1, 0), outputs, 0.0, reused=False)


def planned(data: Ingested, config: CreditConfig) -> list:
    coalitions = draw_coalitions.fn(data, config.coalitions, 0)
    return plan_coalitions.fn(coalitions, data, "start", judge(), config, "sparsified", [0])


def test_a_public_contributor_is_listed_once() -> None:
    with pytest.raises(ValueError, match="is listed once, got a twice"):
        CoalitionConfig(public=("a", "b", "a"))


def test_public_images_are_in_every_model_and_are_no_players() -> None:
    plain = ingest.fn(SOURCE, 0)
    data = ingest.fn(SOURCE, 0, public=["scanner-02"])
    assert data.outputs.contributors == plain.outputs.contributors
    assert data.outputs.players == [name for name in plain.outputs.players if name != "scanner-02"]
    config = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=14, public=("scanner-02",)))
    plans = planned(data, config)
    assert {plan.public for plan in plans} == {("scanner-02",)}
    assert all("scanner-02" not in plan.members for plan in plans)
    nobody = next(plan for plan in plans if not plan.members)
    assert nobody.providers == ("scanner-02",)
    assert nobody in shares(plans, 8)[0], "nobody's model is trained as others are"
    without = {plan.members: plan.key for plan in planned(plain, config)}
    assert all(without.get(plan.members) != plan.key for plan in plans), "public images are in the keys"


def test_fewer_coalitions_share_a_process_where_none_are_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = planned(ingest.fn(SOURCE, 0), CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=14)))
    trained = sum(bool(plan.members) for plan in plans)
    attentive = as_credit_config({"generator": {"kind": "ddpm", "attention": [1]}})
    for config, runner, size in (
        (CreditConfig(), "threads", 8),
        (attentive, "threads", 2),
        (attentive, "tcp://host:1", 1),
    ):
        monkeypatch.setattr(coalitions, "settings", lambda runner=runner: Settings(runner=runner, workers=2))
        groups = shares(plans, side_by_side(plans, config))
        assert len(groups) == -(-trained // size)
        assert sorted(plan.key for group in groups for plan in group) == sorted(plan.key for plan in plans)
    others = [as_credit_config({"generator": {"kind": kind}}) for kind in ("beta-vae", "dcgan")]
    assert {side_by_side(plans, other) for other in others} == {8}
    told = [replace(plan, method="amortized") for plan in plans]
    assert side_by_side(told, attentive) == 8, "a coalition of these trains nothing"


def test_public_images_of_paid_contributors_are_refused_by_name_and_count() -> None:
    planted = DigitsSource(contributors=5, planted=True)
    copied = ingest.fn(planted, 0).outputs
    ((first, second, count),) = [pair for pair in copied.copies if "planted-copier" in pair[:2]]
    with pytest.raises(InputError, match=rf"{first} and {second} \({count}\).*do not make them public"):
        ingest.fn(planted, 0, public=["planted-copier"])
    both = [first, second]
    assert ingest.fn(planted, 0, public=both).outputs.public == sorted(both), "nobody who is paid has these"
    with pytest.raises(InputError, match="nobody-there brought none"):
        ingest.fn(SOURCE, 0, public=["nobody-there"])


def test_sets_of_images_are_planned_counted_and_credited_by_image() -> None:
    data = ingest.fn(SOURCE, 0, public=["scanner-02"])
    config = CreditConfig(data=SOURCE, coalitions=CoalitionConfig(count=16, units="images", public=("scanner-02",)))
    plans = plan_image_sets.fn(data, "start", judge(), config, [0])
    space = open_workspace(settings())
    images = open_set(space.artifacts.verified(data.outputs.train))
    public = images.membership[:, images.contributors.index("scanner-02")]
    rows = [drawn_items(images, plan.drawn, plan.public) for plan in plans]
    assert all(chosen[public].all() for chosen in rows), "public images are in every set"
    assert all((first ^ second)[~public].all() for first, second in zip(rows[::2], rows[1::2], strict=True))
    assert len({plan.key for plan in plans}) == len({plan.measures[0].key for plan in plans}) == 16
    worth = np.arange(1.0, 5.0)
    for plan, chosen in zip(plans, rows, strict=True):
        counts = [images.membership[chosen, images.contributors.index(name)].sum() for name in data.outputs.players]
        keep(space.runs, plan, float(counts @ worth))
    brought = np.array([data.outputs.items[name] for name in data.outputs.players])
    measured = gather_sets(space, data, plans, (0.0, float(brought @ worth)))
    found = measured.estimate(CreditEstimateConfig(), 0)
    assert found.values == pytest.approx(brought * worth)
    told = untold_pairs(config)
    assert told is not None
    assert "sets of images" in told.omitted
    with pytest.raises(InputError, match="at least 14 sets of images, got 12"):
        check_run(list("abcde"), CreditConfig(coalitions=CoalitionConfig(count=12, units="images")))
    with pytest.raises(ConfigError, match=r"`coalitions\.units: images` .* `fidelity\.retrain`"):
        as_credit_config({"name": "few", "coalitions": {"units": "images"}, "fidelity": {"retrain": 20}})


@pytest.mark.slow
def test_a_run_credits_by_image(royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text(WITHOUT_BOOTSTRAP.replace("count: 12", "count: 14, units: images"))
    done = royalty("run", "--config", "images.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 16
    assert sum(row["credit"] for row in result["rows"]) != 0
    page = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "Coalitions are sets of images" in page
    assert json.loads(royalty("run", "--config", "images.yaml", "--json").stdout)["measured"] == 0


def test_credit_is_the_semivalue_that_is_declared() -> None:
    masks = (np.arange(1, 15)[:, None] >> np.arange(4) & 1).astype(bool)
    utilities = np.random.default_rng(0).normal(size=14)
    measured = MeasuredGame(masks, utilities, np.zeros(14, int), np.zeros(14, int), 0.0, 1.0, ())
    found = measured.estimate(CreditEstimateConfig(value="beta", beta=(4.0, 1.0)), 0)
    expected = estimate_semivalues(masks, utilities, 0.0, 1.0, value="beta", alpha=4.0, beta=1.0)
    assert np.array_equal(found.values, expected.values)
    assert not np.allclose(found.values, measured.estimate(CreditEstimateConfig(), 0).values)
