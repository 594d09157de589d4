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
from royalty.tasks.benchmarks import detection_worker
from royalty.tasks.benchmarks.detection_stages import CheckInputs, CleanSides
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.detection import CORRUPTIONS, DetectionConfig
from royalty.tasks.items.stored_items import keep_items
from royalty.tasks.stages.context import open_stores, stage_context


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
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    ids, labels = tuple(item_id(image) for image in images), np.arange(40) % 2
    digest = keep_items(context.artifacts, Items(ids, images, None, labels, None)).items
    config = DetectionConfig(encoding={"encoder": "pixels", "size": 8})
    inputs = CheckInputs(CORRUPTIONS, config.settings, CleanSides(digest, digest))
    with pytest.raises(InputError, match=r"^2 corruptions cannot be planted") as refusal:
        detection_worker.check(inputs, context)
    assert "`irrelevant-class`: an irrelevant class is spread over at least two others" in str(refusal.value)
    assert "`poison-frogs`: between 1 and 20 images" in str(refusal.value)
    possible = tuple(name for name in CORRUPTIONS if name not in ("irrelevant-class", "poison-frogs"))
    assert detection_worker.check(CheckInputs(possible, config.settings, inputs.sides), context) == len(possible)
