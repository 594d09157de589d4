"""The distance of corrupted training sets from validation, and the accuracy of what is trained on them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from royalty.infra.pages.plots import accuracy_by_distance
from royalty.models.base.errors import InputError
from royalty.models.valuation.set_distance import set_distance
from royalty.tasks.benchmarks import detection_worker, digits_worker, distance_curve_worker
from royalty.tasks.benchmarks.detection_stages import CleanSides, CurveInputs, DetectInputs, DigitsInputs
from royalty.tasks.benchmarks.distance_curve import correlation_of
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from royalty.tasks.stages.stage import TableRow

CONFIG = DetectionConfig(encoding={"encoder": "pixels", "size": 8}, items=600, val_items=400)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    folder = tmp_path_factory.mktemp("curve")
    return stage_context(open_stores(folder / "home", "", folder / "weights", 1), "key", lambda _: None)


@pytest.fixture(scope="module")
def flipping(context: StageContext) -> DetectInputs:
    digits = digits_worker.read_digits(DigitsInputs(), context)
    return DetectInputs("flipped-labels", CONFIG.settings, CleanSides(digits.train.items, digits.val.items))


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["flipped-labels", "noise", "backdoor-square"])
def test_digits_are_farther_the_more_of_them_is_corrupted_and_read_worse_if_labels_are_wrong(
    context: StageContext, flipping: DetectInputs, corruption: str
) -> None:
    drawn = replace(flipping, corruption=corruption)
    rows = distance_curve_worker.measure(CurveInputs(drawn, (0.0, 0.3, 0.6, 0.85)), context).rows
    assert [(row["amount"], row["items"], row["classifier"]) for row in rows] == [
        (amount, 600, "linear") for amount in (0.0, 0.3, 0.6, 0.85)
    ]
    distances, accuracies = ([row[name] for row in rows] for name in ("distance", "accuracy"))
    assert distances == sorted(distances)
    assert accuracies[0] > 0.85
    if corruption != "noise":  # a linear classifier reads digits from noisy ones as well
        assert accuracies[-1] < accuracies[0] - 0.1
        (found,) = correlation_of(rows)
        assert found["correlation"] < -0.7


@pytest.mark.slow
def test_with_nothing_planted_the_set_is_the_clean_one(context: StageContext, flipping: DetectInputs) -> None:
    amounts = list(distance_curve_worker.planted(CurveInputs(flipping, (0.0, 0.5))))
    clean, half = (detection_worker.prepared(drawn, context) for _, drawn in amounts)
    assert (clean.corrupted.planted.sum(), half.corrupted.planted.sum()) == (0, 300)
    np.testing.assert_array_equal(clean.corrupted.labels != half.corrupted.labels, half.corrupted.planted)
    rows = distance_curve_worker.measure(CurveInputs(flipping, (0.5,)), context).rows
    train, val = half.represented
    weights = {"label_weight": 1.5, "divisions": 0}
    expected = set_distance(train, half.corrupted.labels, val, half.val_labels, **weights)
    assert rows[0]["distance"] == pytest.approx(expected.distance)
    assert rows[0]["share"] == pytest.approx(expected.share)


def test_amounts_that_cannot_be_planted_are_refused_before_any_work(
    context: StageContext, flipping: DetectInputs
) -> None:
    curves = [CurveInputs(replace(flipping, corruption="backdoor-square"), (0.5, 0.95)), CurveInputs(flipping, (0.9,))]
    with pytest.raises(InputError, match=r"`backdoor-square`, draw 1, amount 0.95: a share of 0.95 of 600 items"):
        distance_curve_worker.check(curves, context)
    assert distance_curve_worker.check(curves[1:], context) == 1
    with pytest.raises(ValidationError, match=r"at least 3 different `amounts`; got \[0.0, 0.1\]"):
        DetectionConfig(distance={"amounts": [0.1, 0.0, 0.1]})
    with pytest.raises(ValidationError, match="less than 1"):
        DetectionConfig(distance={"amounts": [0.1, 0.2, 1.0]})
    with pytest.raises(ValidationError, match="needs a corruption that is planted in a fraction of the items"):
        DetectionConfig(distance={}, corruptions=["poison-frogs"])


def row(corruption: str, draw: int, amount: float, distance: float, accuracy: float) -> TableRow:
    names = ("corruption", "draw", "amount", "distance", "accuracy", "classifier")
    return dict(zip(names, (corruption, draw, amount, distance, accuracy, "linear"), strict=True))


def test_correlations_are_of_ranks_by_draw_and_count_the_clean_set_once() -> None:
    falling = [row("noise", 0, amount, amount**2, -(amount**3)) for amount in (0.0, 0.1, 0.2, 0.3)]
    # The ranks of accuracy are 3, 4, 1, 2: 1 - 6 (4 + 4 + 4 + 4) / (4 * 15) = -0.6.
    mixed = [
        row("noise", 1, amount, amount, accuracy)
        for amount, accuracy in zip((0.0, 0.1, 0.2, 0.3), (3.0, 4.0, 1.0, 2.0), strict=True)
    ]
    (found,) = correlation_of([*falling, *mixed])
    assert (found["corruption"], found["draws"]) == ("noise", 2)
    assert found["correlation"] == pytest.approx(-0.8)
    assert (found["low"], found["high"]) == (-1, 1)  # Student's interval of two draws leaves the range
    constant = [row("flipped-labels", 0, amount, amount, 0.0) for amount in (0.0, 0.1)]
    by_corruption = {each["corruption"]: each for each in correlation_of([*falling, *constant])}
    assert set(by_corruption) == {"noise", "all"}
    assert by_corruption["noise"]["low"] is None
    # Sets at distances 0, .01, .04, .09 and .1, whose accuracies have ranks 4.5, 3, 2, 1 and 4.5.
    assert by_corruption["all"]["correlation"] == pytest.approx(np.corrcoef(range(5), [4.5, 3, 2, 1, 4.5])[0, 1])


def test_the_plot_has_a_panel_for_each_classifier() -> None:
    curves = {"noise": [(0.1, 0.9), (0.4, 0.5)], "flipped-labels": [(0.1, 0.9), (0.3, 0.2)]}
    sizes = [
        Image.open(io.BytesIO(accuracy_by_distance("curve", panels))).size
        for panels in ({"linear": curves}, {"linear": curves, "network": curves})
    ]
    assert sizes[0][0] < sizes[1][0]
