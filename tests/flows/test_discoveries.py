"""What the detector flags in the detection benchmark, by false discovery rate."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from pydantic import ValidationError

from royalty.infra.pages.plots import discovery_curves
from royalty.models.encoders.representation import represent
from royalty.models.judging.detection import discoveries
from royalty.models.valuation.detector import detect_items
from royalty.tasks.benchmarks import detection_worker
from royalty.tasks.benchmarks.detection import discoveries_of
from royalty.tasks.benchmarks.detection_stages import CleanSides, DetectInputs
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.stages.context import open_stores, stage_context
from tests.flows.test_validation_sets import side


def test_flags_are_those_of_the_detector_at_each_rate(tmp_path: Path) -> None:
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)
    config = DetectionConfig(
        encoding={"encoder": "pixels", "size": 8}, methods=("detector", "random"), removed=(), fdr=(0.5, 0.2)
    )
    drawn = DetectInputs("flipped-labels", config.settings, CleanSides(*(side(context, seed) for seed in (0, 1))))
    rows = detection_worker.detect(drawn, context).flagged
    trial = detection_worker.prepared(drawn, context)
    train, val = represent(*trial.features, None, "features")
    assert [row["fdr"] for row in rows] == [0.2, 0.5]
    for row in rows:
        found = detect_items(train, trial.corrupted.labels, val, trial.val_labels, fdr=row["fdr"])
        measured = discoveries(found.flagged, trial.corrupted.planted)
        assert (row["flagged"], row["fdp"], row["power"]) == (measured.flagged, measured.fdp, measured.power)
    assert rows[1]["power"] > 0.5


def test_means_over_draws_and_over_corruptions() -> None:
    measured = {("a", 0): (10, 0.1, 0.4), ("a", 1): (20, 0.3, 0.8), ("b", 0): (0, 0.0, 0.0), ("b", 1): (8, 0.0, 1.0)}
    stages = [
        SimpleNamespace(
            outputs=SimpleNamespace(
                flagged=[
                    {"corruption": name, "method": "detector", "draw": draw, "fdr": 0.1}
                    | dict(zip(("flagged", "fdp", "power"), values, strict=True))
                ]
            )
        )
        for (name, draw), values in measured.items()
    ]
    found = {(row["measure"], row["corruption"]): row for row in discoveries_of(stages)}
    means = {place: round(row["mean"], 9) for place, row in found.items()}
    assert means["flagged", "a"] == 15
    assert (means["fdp", "a"], means["fdp", "b"], means["fdp", "all"]) == (0.2, 0, 0.1)
    assert (means["power", "a"], means["power", "b"], means["power", "all"]) == (0.6, 0.5, 0.55)
    assert {(row["fdr"], row["draws"]) for row in found.values()} == {(0.1, 2)}
    half = found["fdp", "all"]["high"] - 0.1
    assert half == pytest.approx(12.706 * 0.05, rel=1e-3)  # Student's quantile, and the error of 0.05 and 0.15
    assert discoveries_of([]) == []


def test_rates_outside_0_to_1_are_refused() -> None:
    for rates in ((0.0,), (1.0,), ()):
        with pytest.raises(ValidationError, match="fdr"):
            DetectionConfig(fdr=rates)


def test_curves_are_drawn() -> None:
    curves = {"noise": [(0.1, 0.05), (0.05, 0.0)], "all": [(0.05, 0.0), (0.1, 0.1)]}
    assert Image.open(io.BytesIO(discovery_curves("name", curves, curves))).width > 1000
