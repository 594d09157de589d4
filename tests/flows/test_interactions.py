"""Substitutes and complements of a run: from its measurements to the record of credit, and to its pages."""

from __future__ import annotations

import numpy as np

from royalty.infra.stores.runstore import StageRecord
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.sure_pairs import SurePairs
from royalty.tasks.config.credit import CreditEstimateConfig, StoppingConfig
from royalty.tasks.credit.estimate import CREDIT, CreditInputs, CreditOutputs, MeasuredGame
from royalty.tasks.report.composing import pair_section
from royalty.tasks.stages.stage import as_json
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
    section = pair_section(kept)
    assert section is not None
    (row,) = section.rows
    assert (row.first, row.second, row.distinct) == ("bob", "dee", True)
    assert row.ci_low < -2 < row.ci_high < 0
    assert section.of("dee") == (row,)
    assert section.of("ann") == ()
    assert section.tested == 15


def test_records_of_earlier_versions_have_no_interactions() -> None:
    earlier = record(None)
    del earlier.outputs["interactions"]
    assert CREDIT.finished(earlier).outputs.interactions is None
    assert pair_section(None) is None
