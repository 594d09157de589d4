"""Baselines: by which encoder images are compared, in how many clusters, and that each method is timed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from royalty.models.encoders.registry import build_encoder
from royalty.models.valuation.similarity import aggregate, embedding_distance, feature_similarity
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.judge import baselines, baselines_worker
from royalty.tasks.judge.stages import AttributeInputs, Gradients

GENERATOR = np.random.default_rng(0)
TRAINED, GENERATED = (GENERATOR.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8) for count in (12, 30))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Scores of a set with one label, for which a classifier is not trained, and none is loaded."""
    data = SimpleNamespace(
        images=TRAINED,
        membership=np.arange(12)[:, None] % 2 == np.arange(2),
        contributors=("ann", "bob"),
        labels=np.zeros(12, dtype=int),
    )
    model = SimpleNamespace(sample=lambda count, **_: GENERATED[:count])
    credited = SimpleNamespace(least=1, of=lambda images: float(images.mean()))
    for name, made in {"load_images": data, "load_model": model, "load_property": credited}.items():
        monkeypatch.setattr(baselines_worker, name, lambda *_, made=made: made)
    monkeypatch.setattr(baselines_worker, "differentiable", lambda _: None)
    inputs = AttributeInputs(
        "train", "base", "", "", "inception-score", {"images": 30}, Gradients(4, 2, 8, 0.5), 0, encoder="pixels"
    )
    context = SimpleNamespace(advance=lambda _: None, weights=SimpleNamespace(locate=lambda _: Path()))
    return data, baselines_worker.attribute(inputs, context)


def test_images_are_compared_by_the_encoder_of_the_run(scored: Any) -> None:
    data, outputs = scored
    encoder = build_encoder("pixels", shape=(1, 8, 8))
    features, made = encoder.features(TRAINED), encoder.features(GENERATED)
    similar = aggregate(feature_similarity(features, made), data.membership, "average")
    assert outputs.scores["encoder similarity (average)"] == pytest.approx(similar.tolist())
    whole = aggregate(embedding_distance(features, made, np.zeros(30, int)), data.membership, "average")
    assert outputs.scores["embedding distance (average)"] != pytest.approx(whole.tolist()), "there are twenty clusters"
    assert set(outputs.scores) == set(outputs.seconds)


def test_each_method_that_compares_is_timed(scored: Any) -> None:
    _, outputs = scored
    untimed = {name for name, seconds in outputs.seconds.items() if not seconds}
    assert untimed == {"number of images"}


def test_the_encoder_is_an_input_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[AttributeInputs] = []
    monkeypatch.setattr(baselines, "run_in_worker", lambda _stage, inputs, *_, **__: asked.append(inputs))
    stage = SimpleNamespace(
        outputs=SimpleNamespace(train="t", model="m", classifier="c"), inputs=SimpleNamespace(images="i", kind="ddpm")
    )
    for name in ("pixels", "efficientnet-lite0"):
        config = CreditConfig.model_validate({"matching": {"encoder": name}})
        baselines.attribute.fn(stage, stage, stage, config)
    assert [inputs.encoder for inputs in asked] == ["pixels", "efficientnet-lite0"]
