"""Credit of images: the progress of dividing it counts what its bar counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.data.stored import open_set
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.items import image_credit, image_credit_worker


@pytest.mark.usefixtures("new_home")
def test_progress_ends_where_its_bar_does(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ingest.fn(DigitsSource(contributors=5), 0)
    space, done, totals = open_workspace(settings()), [0], []

    def embed(_store: Any, _encoder: Any, images: np.ndarray, _ids: Any, advance: Any) -> None:
        advance(len(images))

    def divide(_stage: Any, inputs: Any, worker: Any, *, total: int, **_: Any) -> None:
        totals.append(total)
        monkeypatch.setattr(
            image_credit_worker, "load_images", lambda _, digest: open_set(space.artifacts.verified(digest))
        )
        monkeypatch.setattr(image_credit_worker, "embed_missing", embed)
        embeddings = SimpleNamespace(lookup=lambda _, ids: (None, np.random.default_rng(0).random((len(ids), 4))))
        context = SimpleNamespace(
            artifacts=space.artifacts,
            weights=SimpleNamespace(locate=None),
            embeddings=embeddings,
            advance=lambda count: done.append(done[-1] + count),
        )
        worker(inputs, context)

    monkeypatch.setattr(image_credit, "run_in_worker", divide)
    monkeypatch.setattr(image_credit, "image_credit_worker", image_credit_worker)
    table = pd.DataFrame({"contributor": data.outputs.players, "credit": 1.0})
    credit = SimpleNamespace(outputs=SimpleNamespace(table=space.artifacts.put(table.to_parquet(index=False))))
    judge = SimpleNamespace(outputs=SimpleNamespace(classifier=""))
    config = CreditConfig.model_validate({"image_credit": {"references": 40, "encoder": "pixels"}})
    image_credit.divide_among_images.fn(data, judge, credit, config)
    assert totals == [done[-1]]
