"""Looking for planted corruptions by smaller and mislabelled validation sets."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from royalty.infra.pages.plots import auroc_by_validation
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.tasks.benchmarks import detection_worker, validation_worker
from royalty.tasks.benchmarks.detection import validation_summary_of
from royalty.tasks.benchmarks.detection_stages import CleanSides, DetectInputs, SweepInputs, SweepOutputs
from royalty.tasks.config.detection import DetectionConfig, Looking, ValidationSweep
from royalty.tasks.items.stored_items import keep_items
from royalty.tasks.stages.context import StageContext, open_stores, stage_context

METHODS: tuple[Looking, ...] = ("detector", "lava", "confidence", "confident-learning", "random")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[list, SweepOutputs]:
    """Rows of the whole validation set, and those of a sweep that has it as its largest."""
    folder = tmp_path_factory.mktemp("sweep")
    context = stage_context(open_stores(folder / "home", "", folder / "weights", 1), "key", lambda _: None)
    config = DetectionConfig(encoding={"encoder": "pixels", "size": 8}, methods=METHODS, removed=())
    drawn = DetectInputs("flipped-labels", config.settings, CleanSides(*(side(context, seed) for seed in (0, 1))))
    whole = detection_worker.detect(drawn, context).rows
    (size,) = {len(detection_worker.labels_of(drawn, context)[1])}
    validation = ValidationSweep(sizes=(size, 0, 12), flipped=(0.4, 0.0))
    return whole, validation_worker.sweep(SweepInputs(drawn, validation), context)


def side(context: StageContext, seed: int) -> str:
    """Images of three classes that differ in brightness."""
    generator = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    images = (60 * labels[:, None, None, None] + generator.integers(0, 90, (120, 1, 8, 8))).astype(np.uint8)
    ids = tuple(item_id(image) for image in images)
    return keep_items(context.artifacts, Items(ids, images, None, labels, None)).items


@pytest.mark.slow
def test_the_whole_set_gives_the_same_and_less_or_worse_validation_other_rates(swept) -> None:
    whole, outputs = swept
    assert outputs.failed == {}
    rates = {(row["method"], row["size"], row["flipped"]): row["auroc"] for row in outputs.rows}
    largest = max(size for _, size, _ in rates)
    for row in whole:
        assert rates[row["method"], largest, 0.0] == row["auroc"]
    for method in ("lava", "confidence"):
        assert (method, 0, 0.0) not in rates
        assert rates[method, largest, 0.0] > rates[method, largest, 0.4]
        assert len({rate for (name, *_), rate in rates.items() if name == method}) > 2
    # Labels alone are wrong, so that the detector finds them by the other items about as well.
    assert {size for method, size, _ in rates if method == "detector"} == {0, 12, largest}
    assert rates["detector", largest, 0.0] - 0.1 < rates["detector", 0, 0.0] != rates["detector", largest, 0.0]
    for method in ("confident-learning", "random"):
        assert len({rate for (name, *_), rate in rates.items() if name == method}) == 1
        assert {place[1:] for place in rates if place[0] == method} == {
            (size, share) for size in (0, 12, largest) for share in ((0.0, 0.4) if size else (0.0,))
        }
    assert list(dict.fromkeys(row["method"] for row in outputs.rows)) == list(METHODS)


def test_smaller_sets_are_parts_of_larger_ones_with_each_class_in_its_share() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    small, large = (validation_worker._chosen(labels, size, seed=4) for size in (20, 50))
    assert set(small) < set(large)
    assert np.abs(np.bincount(labels[small]) - [12, 6, 2]).max() <= 1
    wrong = validation_worker._flipped(labels[large], 0.1, seed=4)
    assert (wrong != labels[large]).sum() == 5


def test_means_over_corruptions_are_taken_by_draw() -> None:
    rates = {("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.9, ("b", 1): 0.9}
    rows = [
        {"corruption": name, "method": "m", "size": 9, "flipped": 0.1, "draw": draw, "auroc": rate}
        for (name, draw), rate in rates.items()
    ]
    found = {row["corruption"]: row for row in validation_summary_of(rows)}
    assert {name: (row["draws"], round(row["auroc"], 9)) for name, row in found.items()} == {
        "a": (2, 0.6),
        "b": (2, 0.9),
        "all": (2, 0.75),
    }
    half = found["all"]["high"] - found["all"]["auroc"]
    assert half == pytest.approx(12.706 * 0.05, rel=1e-3)  # Student's quantile, and the error of 0.7 and 0.8


@pytest.mark.parametrize("sizes", [(0,), (9,), (0, 9, 90)])
def test_curves_are_drawn_without_validation_and_by_size(sizes: tuple[int, ...]) -> None:
    panel = {"m": [(size, 0.5) for size in sizes]}
    one, two = (auroc_by_validation("name: noise", panels) for panels in ({0.0: panel}, {0.0: panel, 0.1: panel}))
    widths = [Image.open(io.BytesIO(picture)).width for picture in (one, two)]
    assert widths[0] < widths[1]
