"""Patch attribution against the sums of its definition, and its laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.valuation.patches import patch_attribution

SHAPE = (2, 7, 6)


@pytest.fixture
def train() -> np.ndarray:
    images = np.random.default_rng(0).integers(256, size=(9, *SHAPE), dtype=np.uint8)
    images.setflags(write=False)  # as those that are mapped from a file
    return images


@pytest.fixture
def generated() -> np.ndarray:
    return np.random.default_rng(1).integers(256, size=(3, *SHAPE), dtype=np.uint8)


def by_definition(
    train: np.ndarray, generated: np.ndarray, patch: int, stride: int, levels: tuple[float, ...], seed: int
) -> np.ndarray:
    """The softmax of each query patch over all training patches, in float64."""
    generator = torch.Generator().manual_seed(seed)
    _, height, width = train.shape[1:]
    items, queries = train / 127.5 - 1, generated / 127.5 - 1
    patches = np.stack(
        [
            items[:, :, y : y + patch, x : x + patch]
            for y in range(height - patch + 1)
            for x in range(width - patch + 1)
        ],
        axis=1,
    )  # (items, positions, channels, patch, patch)
    scores = []
    for level in levels:
        noise = torch.randn(queries.shape, generator=generator).double().numpy()
        for noisy in np.sqrt(level) * queries + np.sqrt(1 - level) * noise:
            for y in range(0, height - patch + 1, stride):
                for x in range(0, width - patch + 1, stride):
                    differences = noisy[:, y : y + patch, x : x + patch] - np.sqrt(level) * patches
                    weights = np.exp(-np.square(differences).sum(axis=(2, 3, 4)) / (2 * (1 - level)))
                    scores.append(weights.sum(axis=1) / weights.sum())
    return np.mean(scores, axis=0)


def test_two_images_of_one_pixel_by_hand() -> None:
    """Black is -1 and white 1: the squared distances to x differ by 4 sqrt(a) x."""
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    noise = torch.randn(1, generator=torch.Generator().manual_seed(5)).item()
    noisy = 0.6 + 0.8 * noise
    white = 1 / (1 + np.exp(-4 * 0.6 * noisy / (2 * 0.64)))
    scores = patch_attribution(images, images[1:], levels=(0.36,), seed=5)
    np.testing.assert_allclose(scores, [1 - white, white], rtol=1e-5)


@pytest.mark.parametrize(("patch", "stride"), [(1, 1), (3, 1), (3, 2), (6, 4)])
def test_equals_the_definition(train: np.ndarray, generated: np.ndarray, patch: int, stride: int) -> None:
    levels = (0.6, 0.3, 0.05)
    scores = patch_attribution(train, generated, patch=patch, stride=stride, levels=levels, seed=3)
    np.testing.assert_allclose(scores, by_definition(train, generated, patch, stride, levels, 3), rtol=1e-4)


def test_defaults_are_a_third_of_the_side_and_half_of_the_patch() -> None:
    images = np.random.default_rng(0).integers(256, size=(4, 1, 12, 14), dtype=np.uint8)
    expected = by_definition(images[:3], images[3:], 4, 2, (0.9, 0.7, 0.5, 0.3), 0)
    np.testing.assert_allclose(patch_attribution(images[:3], images[3:], seed=0), expected, rtol=1e-3)


def test_at_low_noise_a_copy_gets_nearly_all_and_at_high_noise_all_get_the_same(train: np.ndarray) -> None:
    for item in range(3):
        scores = patch_attribution(train, train[item : item + 1], patch=4, levels=(0.99,), seed=0)
        assert scores[item] > 0.999
        scores = patch_attribution(train, train[item : item + 1], patch=4, levels=(1e-6,), seed=0)
        np.testing.assert_allclose(scores, 1 / 9, rtol=0.05)


def test_a_copy_at_another_position_is_found(train: np.ndarray) -> None:
    shifted = np.roll(train[4:5], 1, axis=3)
    assert patch_attribution(train, shifted, patch=3, levels=(0.99,), seed=0).argmax() == 4


def test_scores_of_each_query_are_shares(train: np.ndarray, generated: np.ndarray) -> None:
    for query in generated[:, None]:
        scores = patch_attribution(train, query, seed=0)
        assert scores.sum() == pytest.approx(1)
        assert (scores >= 0).all()
    assert patch_attribution(train, generated, seed=0).sum() == pytest.approx(1)


def test_order_does_not_matter_and_copies_share_equally(train: np.ndarray, generated: np.ndarray) -> None:
    scores = patch_attribution(train, generated, seed=0)
    order = np.random.default_rng(2).permutation(len(train))
    np.testing.assert_allclose(patch_attribution(train[order], generated, seed=0), scores[order], rtol=1e-5)
    twice = patch_attribution(np.concatenate([train, train[:1]]), generated, seed=0)
    assert twice[0] == pytest.approx(twice[-1], rel=1e-6)
    assert twice[0] + twice[-1] > scores[0]
    everything_twice = patch_attribution(np.concatenate([train, train]), generated, seed=0)
    np.testing.assert_allclose(everything_twice[:9], scores / 2, rtol=1e-5)


@pytest.mark.parametrize("entries", [1, 100, 5000])
def test_chunks_change_nothing(train: np.ndarray, generated: np.ndarray, entries: int) -> None:
    scores = patch_attribution(train, generated, patch=3, seed=0)
    np.testing.assert_allclose(patch_attribution(train, generated, patch=3, seed=0, entries=entries), scores, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 7}, "from 1 to the shorter side of the images, 6, got 7"),
        ({"patch": 0}, "from 1 to the shorter side"),
        ({"stride": 0}, "at least 1, got 0"),
        ({"entries": 0}, "at least 1, got"),
        ({"levels": ()}, "above 0 and below 1"),
        ({"levels": (0.5, 1.0)}, "above 0 and below 1"),
    ],
)
def test_arguments_out_of_range_are_refused(
    train: np.ndarray, generated: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patch_attribution(train, generated, **{"seed": 0, **options})


def test_images_that_cannot_be_compared_are_refused(train: np.ndarray, generated: np.ndarray) -> None:
    for other in (generated[:, :1], generated[:, :, :5], generated[0]):
        with pytest.raises(ValueError, match="the same channels, height and width"):
            patch_attribution(train, other, seed=0)
    for few in ((train[:0], generated), (train, generated[:0])):
        with pytest.raises(ValueError, match="at least one training image and one generated image"):
            patch_attribution(*few, seed=0)


def test_large_images_are_reduced() -> None:
    small = np.random.default_rng(3).integers(0, 256, (4, 1, 6, 6), dtype=np.uint8)
    large = small.repeat(4, axis=2).repeat(4, axis=3)
    found = patch_attribution(large, large[:2], side=6, seed=0)
    assert found == pytest.approx(patch_attribution(small, small[:2], seed=0))
    with pytest.raises(ValueError, match="`side` is at least 1 pixel, got 0"):
        patch_attribution(large, large[:2], side=0, seed=0)
