"""Substitutes and complements of a run: from its measurements to the record of credit, and to its pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from royalty.infra.pages.contributors import ContributorPage, file_of
from royalty.infra.pages.language import shipped_language
from royalty.infra.pages.report import Report, render_report
from royalty.infra.stores.runstore import StageRecord
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.sure_pairs import SurePairs
from royalty.tasks.config.credit import (
    CoalitionConfig,
    CreditConfig,
    CreditEstimateConfig,
    FidelityConfig,
    StoppingConfig,
)
from royalty.tasks.credit.estimate import CREDIT, CreditInputs, CreditOutputs
from royalty.tasks.credit.measured import MeasuredGame
from royalty.tasks.credit.pairs import untold_pairs
from royalty.tasks.report.composing import pair_section
from royalty.tasks.report.contents import Contents
from royalty.tasks.stages.stage import as_json
from tests.infra.test_report import report  # noqa: F401  a fixture
from tests.tracing import CERTAINTY

NAMES = ["ann", "bob", "cy", "dee", "eve", "fay"]


def measured() -> MeasuredGame:
    """Two trainings of each coalition; bob and dee provide the same."""
    masks = np.repeat(sample_coalitions(6, 40, seed=0), 2, axis=0)
    noise = 0.1 * np.random.default_rng(0).normal(size=80)
    utilities = masks.sum(axis=1) + 2.0 * (masks[:, 1] | masks[:, 3]) + noise
    seeds, draws = np.tile([0, 1], 40), np.zeros(80, dtype=int)
    return MeasuredGame(masks, utilities, seeds, draws, 0.0, 8.0, ())


def record(interactions: SurePairs | None) -> StageRecord:
    outputs = CreditOutputs("table", 0.0, 8.0, [], 82, {}, CERTAINTY, interactions)
    inputs = CreditInputs(CreditEstimateConfig(), StoppingConfig(), [], failed="none", seed=0)
    return StageRecord(CREDIT.name, "key", as_json(inputs), as_json(outputs), 0.0)


def test_substitutes_are_kept_with_credit_and_shown() -> None:
    found = measured().interactions(NAMES, CreditEstimateConfig(), seed=0)
    kept = CREDIT.finished(record(found)).outputs.interactions
    assert kept == found
    section = pair_section(kept, corrected=False)
    assert section is not None
    (row,) = section.rows
    assert (row.first, row.second, row.distinct) == ("bob", "dee", True)
    assert row.ci_low < -2 < row.ci_high < 0
    assert section.of("dee") == (row,)
    assert section.of("ann") == ()
    assert section.tested == 15


def test_pairs_of_scaled_cheap_models_have_the_sign_of_the_credit() -> None:
    """Cheap utilities that fall where retrained ones rise: substitutes look like complements."""
    game = measured()
    cheap = replace(game, utilities=-0.5 * game.utilities, null=0.0, grand=-4.0)
    config = CreditConfig(fidelity=FidelityConfig(retrain=12, scaled=True))
    few = replace(game, masks=game.masks[:40], utilities=game.utilities[:40])
    slope = cheap.corrected_by(few, config).slope
    assert slope == pytest.approx(-2, abs=0.1)
    (reversed_pair,) = cheap.interactions(NAMES, config.credit, seed=0).pairs
    (pair,) = cheap.scaled(slope).interactions(NAMES, config.credit, seed=0).pairs
    assert reversed_pair.value > 0 > pair.ci_high
    (true,) = game.interactions(NAMES, config.credit, seed=0).pairs
    assert pair.value == pytest.approx(true.value, rel=0.1)


def test_pages_say_that_pairs_are_of_the_cheap_models(report: Report) -> None:  # noqa: F811
    section = pair_section(measured().interactions(NAMES, CreditEstimateConfig(), seed=0), corrected=True)
    assert section is not None
    html = render_report(replace(report, interactions=section))
    assert "Pairs are those of the cheap models" in html
    assert "cheap" not in render_report(replace(report, interactions=replace(section, cheap=False)))
    page = ContributorPage(report.rows[0], 3, (), None, (), (), None, None, None, pairs=section.of("bob"))
    contents = Contents(replace(report, interactions=section), (page,), "1", (), shipped_language("en"))
    sentence = "This was measured by the cheap models of coalitions"
    assert sentence in dict(contents.render())[file_of("ann")]
    plain = replace(contents, report=report)
    assert sentence not in dict(plain.render())[file_of("ann")]


def test_an_amortized_model_tells_nothing_of_pairs() -> None:
    amortized = CoalitionConfig(method="amortized")
    told = untold_pairs(CreditConfig(coalitions=amortized, fidelity=FidelityConfig(retrain=12, scaled=True)))
    assert told is not None
    assert "amortized" in told.omitted
    assert untold_pairs(CreditConfig()) is None


def test_records_of_earlier_versions_have_no_interactions() -> None:
    earlier = record(None)
    del earlier.outputs["interactions"]
    assert CREDIT.finished(earlier).outputs.interactions is None
    assert pair_section(None, corrected=False) is None
