"""What configuration and images tell is refused before anything trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import Task
from pydantic import ValidationError

from royalty.flows import credit as crediting
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.models.generators.training import UNLEARNING
from royalty.tasks.benchmarks import detection_worker, validation_worker
from royalty.tasks.benchmarks.detection_stages import CheckInputs, CleanSides, DetectInputs, SweepInputs
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.detection import CORRUPTIONS, DetectionConfig, ValidationSweep
from royalty.tasks.items.stored_items import keep_items
from royalty.tasks.stages.context import StageContext, open_stores, stage_context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own for flows that are called as functions, and so are their tasks."""
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    for name, known in vars(crediting).copy().items():
        if isinstance(known, Task):
            monkeypatch.setattr(crediting, name, known.fn)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"credit": {"beta": [4, 1]}}, r"`credit\.beta: \[4.0, 1.0\]` does nothing"),
        ({"credit": {"value": "banzhaf", "beta": [4, 1]}}, r"`credit\.beta: \[4.0, 1.0\]` does nothing"),
        ({"fidelity": {"scaled": True}}, r"`fidelity\.scaled: true` does nothing: .*`fidelity\.retrain` is 0"),
        ({"fidelity": {"retrain": 20}, "credit": {"estimator": "game"}}, r"`credit\.estimator: game` does nothing"),
        ({"fidelity": {"retrain": 20}, "credit": {"ridge": 0.1}}, r"`credit\.ridge: 0.1` does nothing"),
        ({"fidelity": {"retrain": 20}, "credit": {"bootstrap": 200}}, r"`credit\.bootstrap: 200` does nothing"),
        ({"coalitions": {"units": "images"}, "credit": {"estimator": "mixed"}}, r"`credit\.estimator: mixed` does"),
        ({"coalitions": {"units": "images"}, "credit": {"ridge": 0.1}}, r"`credit\.ridge: 0.1` does nothing"),
        ({"payout": {"equal_by": "image"}}, r"`equal_by: image` does nothing: .* set `equal_share`"),
    ],
)
def test_settings_that_do_nothing_are_refused(changes: dict[str, Any], refused: str) -> None:
    with pytest.raises(ValidationError, match=refused):
        CreditConfig.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"credit": {"value": "beta", "beta": [4, 1]}},
        {"fidelity": {"retrain": 20, "scaled": True}, "credit": {"estimator": "mixed", "confidence": 0.9}},
        {"credit": {"estimator": "constrained", "ridge": 0.1, "bootstrap": 200}},
        {"payout": {"equal_by": "image", "equal_share": 0.3}},
    ],
)
def test_settings_that_do_something_are_taken(changes: dict[str, Any]) -> None:
    CreditConfig.model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payout": {"disputed": ["nobody"]}}, "`payout.disputed` names contributors, and 'nobody' brought no images"),
        ({"payout": {"floor": "0.3"}}, "`payout.floor` of 0.3 for each of 4 contributors.*at most 0.25"),
        (
            {"property": "cluster-entropy", "data": {"held_out": {"classifier": 0.01, "validation": 0.01}}},
            "cluster-entropy compares with at least 20 held-out images, and there are",
        ),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_run_is_refused_before_it_trains(changes: dict[str, Any], message: str) -> None:
    data = {"source": "digits", "contributors": 4, **changes.pop("data", {})}
    config = CreditConfig.model_validate({"name": "bad", "data": data, **changes})
    with pytest.raises(InputError, match=message):
        crediting.prepare(config)
    space = open_workspace(settings())
    assert [stage.name for stage in space.runs.stages()] == ["ingest"]
    assert not space.runs.knows("bad")


@pytest.mark.parametrize("method", UNLEARNING)
def test_evaluated_methods_are_checked_like_those_of_a_run(method: str) -> None:
    config = {"generator": {"conditional": True}, "evaluation": {"shapley": {"sparsified": 40, method: 40}}}
    with pytest.raises(ValidationError, match=f"`evaluation.shapley.{method}`: {method} unlearns"):
        CreditConfig.model_validate(config)


def test_corruptions_that_cannot_be_planted_are_all_named_before_any_is_looked_for(tmp_path: Path) -> None:
    context, sides = two_classes(tmp_path)
    config = DetectionConfig(encoding={"encoder": "pixels", "size": 8})
    inputs = CheckInputs(CORRUPTIONS, config.settings, sides)
    with pytest.raises(InputError, match=r"^2 corruptions cannot be planted") as refusal:
        detection_worker.check(inputs, context)
    assert "`irrelevant-class`: an irrelevant class is spread over at least two others" in str(refusal.value)
    assert "`poison-frogs`: between 1 and 20 images" in str(refusal.value)
    possible = tuple(name for name in CORRUPTIONS if name not in ("irrelevant-class", "poison-frogs"))
    assert detection_worker.check(CheckInputs(possible, config.settings, inputs.sides), context) == len(possible)


def two_classes(folder: Path) -> tuple[StageContext, CleanSides]:
    """Forty images of two classes in turn, as both sides."""
    context = stage_context(open_stores(folder / "home", "", folder / "weights", 1), "key", lambda _: None)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    ids, labels = tuple(item_id(image) for image in images), np.arange(40) % 2
    digest = keep_items(context.artifacts, Items(ids, images, None, labels, None)).items
    return context, CleanSides(digest, digest)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"sizes": [0, 10, 31]}, r"`noise`, draw 1: methods see 30 validation images, and .* has 31"),
        ({"sizes": [5], "flipped": [0.0, 0.2, 0.4, 0.6, 0.8]}, r"of 5 validation images, \d0% .*, label \d has [01]\."),
        ({"sizes": [6], "flipped": [0.01]}, "a share of 0.01 of 6 items is 0"),
    ],
)
def test_validation_sets_that_cannot_be_drawn_are_refused(
    tmp_path: Path, validation: dict[str, Any], message: str
) -> None:
    context, sides = two_classes(tmp_path)
    config = DetectionConfig(encoding={"encoder": "pixels", "size": 8}, validation=validation)
    assert config.validation is not None
    drawn = DetectInputs("noise", config.settings, sides)
    with pytest.raises(InputError, match=message):
        validation_worker.check([SweepInputs(drawn, config.validation)], context)
    possible = ValidationSweep(sizes=(0, 10, 30), flipped=(0, 0.1))
    assert validation_worker.check([SweepInputs(drawn, possible)], context) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": {"sizes": [10, 10]}}, "`sizes` has a number twice"),
        ({"validation": {"flipped": [0.1, 0.1]}}, "`flipped` has a number twice"),
        ({"validation": {"sizes": []}}, "at least 1 item"),
        ({"validation": {"sizes": [-1]}}, "greater than or equal to 0"),
        ({"validation": {"flipped": [1.0]}}, "less than 1"),
        ({"validation": {"sizes": [4]}}, "at least 5, one image for each fold of `confidence`; got 4"),
        ({"validation": {"sizes": [0, 9]}, "methods": ["sava", "lava"]}, "all of `methods` need validation"),
        ({"validation": {}, "encoding": {"encoder": "preact-resnet18"}}, "features would change with it"),
    ],
)
def test_a_sweep_of_validation_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DetectionConfig.model_validate(changes)
