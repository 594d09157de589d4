"""Planted corruptions: where they are said to be, as many as asked for, and of the stated kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from royalty.models.base.choices import CorruptionName
from royalty.models.base.errors import InputError
from royalty.models.data.corruptions import CORRUPTIONS, Corrupted, with_trigger

SHAPES = [(1, 8, 8), (3, 32, 32)]
SETTINGS: dict[CorruptionName, dict[str, Any]] = {
    "flipped-labels": {"share": 0.25},
    "noise": {"share": 0.25},
    "backdoor-square": {"share": 0.05, "target_label": 2},
    "backdoor-watermark": {"share": 0.05, "target_label": 2},
    "backdoor-blend": {"share": 0.05, "target_label": 2},
    "irrelevant-class": {"removed": 5},
    "poison-frogs": {"poison_class": 2, "count": 3, "steps": 20},
}


def blocks(images: Tensor) -> Tensor:
    """An encoder that is not linear: squares of the means of blocks of 4 by 4 pixels."""
    return images.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).flatten(1).square()


def clean(shape: tuple[int, int, int], items: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Images of soft noise around a grey of their class, with labels 0, 2, 5 and 9."""
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 2, 5, 9], size=items)
    grey = 60 + 15 * labels[:, None, None, None]
    return (grey + generator.integers(-20, 20, size=(items, *shape))).astype(np.uint8), labels


def plant(name: CorruptionName, images: np.ndarray, labels: np.ndarray, seed: int = 0, **changes: Any) -> Corrupted:
    extra = {"target": images[labels == 9][0], "features": blocks} if name == "poison-frogs" else {}
    return CORRUPTIONS[name](images, labels, seed=seed, **{**SETTINGS[name], **extra, **changes})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SETTINGS)
def test_mask_is_what_changed_and_seeds_reproduce(name: CorruptionName, shape: tuple[int, int, int]) -> None:
    images, labels = clean(shape)
    before = images.copy(), labels.copy()
    corrupted = plant(name, images, labels)
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(labels, before[1])
    changed = (corrupted.images != images).any(axis=(1, 2, 3)) | (corrupted.labels != labels)
    np.testing.assert_array_equal(corrupted.planted, changed)
    assert (corrupted.images.dtype, corrupted.labels.dtype) == (np.uint8, np.int64)
    again, other = plant(name, images, labels), plant(name, images, labels, seed=1)
    np.testing.assert_array_equal(again.images, corrupted.images)
    np.testing.assert_array_equal(again.labels, corrupted.labels)
    assert (other.images != corrupted.images).any() or (other.labels != corrupted.labels).any()


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 0.5), items=st.integers(50, 120), seed=st.integers(0, 1000))
def test_share_is_exact(share: float, items: int, seed: int) -> None:
    images, labels = clean((1, 8, 8), items)
    count = round(share * items)
    for name in ("flipped-labels", "noise", "backdoor-square"):
        if 0 < count < (labels != 2).sum():
            assert plant(name, images, labels, seed, share=share).planted.sum() == count


def test_flipped_labels_are_wrong_and_evenly_so() -> None:
    images, labels = clean((1, 8, 8), 4000)
    corrupted = plant("flipped-labels", images, labels, share=0.9)
    for label in (0, 2, 5, 9):
        called = corrupted.labels[corrupted.planted & (labels == label)]
        names, counts = np.unique(called, return_counts=True)
        assert set(names) == {0, 2, 5, 9} - {label}
        # Three in a row have a deviation below sqrt(n / 4); five of them are exceeded once in a million.
        assert np.abs(counts - len(called) / 3).max() < 5 * np.sqrt(len(called) / 4)


def test_noise_has_its_deviation_and_leaves_labels() -> None:
    images, labels = np.full((40, 1, 32, 32), 128, dtype=np.uint8), np.arange(40) % 2
    corrupted = plant("noise", images, labels, share=0.5, sigma=20.0)
    np.testing.assert_array_equal(corrupted.labels, labels)
    assert (corrupted.images[corrupted.planted] - 128.0).std() == pytest.approx(20, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_triggers_differ_and_are_one_pattern(shape: tuple[int, int, int]) -> None:
    grey = np.full((2, *shape), 120, dtype=np.uint8)
    square, watermark, blend = (with_trigger(grey, trigger) for trigger in ("square", "watermark", "blend"))
    side = {8: 2, 32: 5}[shape[-1]]
    touched = (square != grey).any(axis=(0, 1))
    assert touched[-side:, -side:].all()
    assert touched.sum() == side**2
    assert 0.05 < (watermark != grey).mean() < 0.5
    assert np.abs(watermark.astype(int) - grey).max() == round(0.3 * (255 - 120))
    assert (blend != grey).mean() > 0.8
    assert np.abs(blend.astype(int) - grey).max() <= round(0.2 * 135)
    for shown in (square, watermark, blend):
        np.testing.assert_array_equal(shown[0], shown[1])
    images, labels = clean(shape)
    corrupted = plant("backdoor-blend", images, labels)
    assert (labels[corrupted.planted] != 2).all()
    assert (corrupted.labels[corrupted.planted] == 2).all()
    np.testing.assert_array_equal(corrupted.images[corrupted.planted], with_trigger(images[corrupted.planted], "blend"))


def test_irrelevant_class_is_spread_evenly() -> None:
    images, labels = clean((1, 8, 8))
    corrupted = plant("irrelevant-class", images, labels)
    np.testing.assert_array_equal(corrupted.planted, labels == 5)
    names, counts = np.unique(corrupted.labels[corrupted.planted], return_counts=True)
    assert set(names) == {0, 2, 9} == set(corrupted.labels)
    assert np.ptp(counts) <= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("opacity", [0.0, 0.3])
def test_frogs_collide_in_features_and_stay_near_in_pixels(shape: tuple[int, int, int], opacity: float) -> None:
    images, labels = clean(shape)
    images[labels == 9, :, ::2] //= 3
    target = images[labels == 9][0]
    far, near = (
        plant("poison-frogs", images, labels, target=target, opacity=opacity, steps=60, beta=beta)
        for beta in (1e-4, 10.0)
    )
    np.testing.assert_array_equal(far.labels, labels)
    assert (labels[far.planted] == 2).all()
    base = images[far.planted] + opacity * (target.astype(float) - images[far.planted])

    def distances(shown: np.ndarray) -> tuple[float, float]:
        features = blocks(_unit(shown)) - blocks(_unit(target[None]))
        return float(features.square().sum(1).mean()), float(np.sqrt(np.square(shown - base).mean()))

    collision_base, _ = distances(base)
    collision_far, moved_far = distances(far.images[far.planted])
    collision_near, moved_near = distances(near.images[near.planted])
    assert collision_far < 0.05 * collision_base
    assert collision_far < collision_near <= 1.05 * collision_base
    assert moved_near < moved_far
    # In pixels the poison stays nearer to its base than the target, whose features it has, is.
    assert moved_far < np.sqrt(np.square(target - base).mean())


def test_frogs_reach_the_closed_form_of_linear_features() -> None:
    """With features w x the minimum is, pixel by pixel, (w^2 t / D + beta b) / (w^2 / D + beta), D = |w (b - t)|^2."""
    images, labels = clean((1, 8, 8))
    target, w = images[labels == 9][0], np.linspace(0.2, 2, 64).reshape(8, 8)
    weights = torch.from_numpy(w).float()
    corrupted = plant(
        "poison-frogs",
        images,
        labels,
        target=target,
        features=lambda shown: (weights * shown).flatten(1),
        opacity=0.0,
        beta=0.05,
        steps=300,
    )
    base = images[corrupted.planted] / 255
    pull = w**2 / np.square(w * (base - target / 255)).sum(axis=(1, 2, 3), keepdims=True)
    expected = 255 * (pull * target / 255 + 0.05 * base) / (pull + 0.05)
    np.testing.assert_allclose(corrupted.images[corrupted.planted], expected, atol=0.7)


def _unit(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).float() / 255


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("noise", {"share": 0.0}, r"in \(0, 1\), not 0\.0"),
        ("flipped-labels", {"share": 1.0}, r"in \(0, 1\), not 1\.0"),
        ("flipped-labels", {"share": 0.001}, r"0\.001 of 200 items is 0"),
        ("backdoor-square", {"share": 0.95}, "is 190; between 1 and"),
        ("backdoor-square", {"target_label": 1}, r"no item has label 1; choose one of 0, 2, 5, 9"),
        ("irrelevant-class", {"removed": 3}, "no item has label 3"),
        ("noise", {"sigma": 0.0}, r"not 0\.0"),
        ("poison-frogs", {"count": 500}, "not 500"),
        ("poison-frogs", {"opacity": 1.0}, r"not 1\.0"),
        ("poison-frogs", {"target": np.zeros((3, 8, 8), np.uint8)}, r"not uint8 of \(3, 8, 8\)"),
    ],
)
def test_broken_rules_are_named(name: CorruptionName, changes: dict[str, Any], message: str) -> None:
    images, labels = clean((1, 8, 8))
    with pytest.raises(InputError, match=message):
        plant(name, images, labels, **changes)


def test_one_class_and_unknown_settings_are_refused() -> None:
    images, labels = clean((1, 8, 8))
    for name in ("flipped-labels", "noise", "backdoor-square", "irrelevant-class"):
        with pytest.raises(InputError, match="two classes"):
            plant(name, images, np.full(len(labels), 2))
    with pytest.raises(InputError, match="at least two others"):
        plant("irrelevant-class", images, np.where(labels == 5, 5, 0))
    with pytest.raises(TypeError, match="sigma"):
        plant("flipped-labels", images, labels, sigma=3.0)
    with pytest.raises(InputError, match="uint8 images"):
        plant("noise", images.astype(float), labels)
