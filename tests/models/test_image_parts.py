"""Credit divided among images: closed form, laws, and bad images of a good contributor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from sklearn.datasets import load_digits

from royalty.models.base.errors import InputError
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.properties.classifier import Classifier
from royalty.models.valuation import image_parts as module
from royalty.models.valuation.image_parts import divide_credit, image_parts
from royalty.models.valuation.semivalues import owen_values

SEEDS = (101, 102, 103)
"""Chosen before any result of theirs was seen; the method was chosen on seeds 0 to 4."""


def problem(seed: int = 0, images: int = 7, references: int = 5, contributors: int = 3):
    generator = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(contributors), generator.integers(contributors, size=images - contributors)])
    features, points = generator.normal(size=(images, 3)), generator.normal(size=(references, 3))
    return features, owners, points, np.zeros((references, contributors), bool), generator.random(images)


def test_values_are_the_owen_values_of_coverage() -> None:
    features, owners, points, provided, weights = problem()
    found = image_parts(features, owners, points, provided, weights=weights)
    squared = np.square(points[:, None] - features).sum(axis=2)
    assert found.scale**2 == pytest.approx(np.median(squared.min(axis=1)))
    similarity = weights * np.exp(-squared / (2 * found.scale**2))

    def coverage(sets: np.ndarray) -> np.ndarray:
        return np.where(sets[:, None], similarity, 0.0).max(axis=2).mean(axis=1)

    unions = [np.flatnonzero(owners == owner).tolist() for owner in range(3)]
    np.testing.assert_allclose(found.values, owen_values(coverage, unions, 20_000, seed=0), atol=0.003)
    everything = coverage(np.ones((1, len(owners)), bool))[0]
    assert found.values.sum() == pytest.approx(everything, rel=1e-12)


def test_references_of_a_contributor_count_for_the_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    features, owners, points, provided, _ = problem()
    provided[:2, 1] = True
    found = image_parts(features, owners, points, provided)
    monkeypatch.setattr(module, "TILE_BYTES", 8 * len(owners))  # a reference at a time, of the same scale
    tiled = image_parts(features, owners, points, provided)
    np.testing.assert_allclose(found.values, tiled.values, rtol=1e-12)
    assert found.seen_by.tolist() == [5, 3, 5]
    points[:2] = features[owners == 1][0]  # a copy of an own image
    again = image_parts(features, owners, points, provided)
    alone = image_parts(features, owners, points, np.zeros_like(provided))
    assert again.shares[owners == 1][0] < alone.shares[owners == 1][0]
    provided[:, 1] = True
    unseen = image_parts(features, owners, points, provided)
    assert unseen.shares[owners == 1] == pytest.approx(1 / (owners == 1).sum())


def test_parts_keep_order_invariance_copies_and_single_images() -> None:
    features, owners, points, provided, weights = problem(3, images=12)
    owners[owners == 2] = 1
    owners[4] = 2  # a contributor of one image
    features[5], owners[5], weights[5] = features[0], owners[0], weights[0]  # a copy by the same contributor
    found = image_parts(features, owners, points, provided, weights=weights)
    assert found.shares[4] == 1.0
    assert found.shares[0] == pytest.approx(found.shares[5], rel=1e-12)
    order = np.random.default_rng(1).permutation(12)
    moved = image_parts(features[order], owners[order], points[::-1], provided, weights=weights[order])
    np.testing.assert_allclose(moved.shares, found.shares[order], rtol=1e-9)
    once = np.arange(12) != 5
    without = image_parts(features[once], owners[once], points, provided, weights=weights[once])
    other = owners[once] != owners[0]
    np.testing.assert_allclose(without.values[other], found.values[once][other], rtol=1e-9)
    assert without.values[0] < found.values[[0, 5]].sum() + 1e-12, "a second copy does not lose"
    assert np.bincount(owners, found.values) == pytest.approx(np.bincount(owners[once], without.values))


def test_credit_is_divided_to_the_last_part_whatever_its_sign() -> None:
    features, owners, points, provided, weights = problem(5, images=40)
    shares = image_parts(features, owners, points, provided, weights=weights).shares
    credit = np.array([1.5, -0.25, 0.0])
    parts = divide_credit(shares, owners, credit)
    np.testing.assert_allclose(np.bincount(owners, parts), credit, atol=1e-14)
    assert (parts[owners == 0] >= 0).all()
    assert (parts[owners == 2] == 0).all()
    for owner in (0, 1):
        mine = owners == owner
        assert np.array_equal(np.argsort(parts[mine]), np.argsort(shares[mine])), "a better image is charged less"
    nothing = image_parts(features, owners, points, provided, weights=np.zeros(40))
    assert nothing.shares == pytest.approx(1 / np.bincount(owners)[owners])


def test_wrong_arguments_are_named() -> None:
    features, owners, points, provided, weights = problem()
    for changed, says in (
        ({"references": points[:, :2]}, "matrices of the same width"),
        ({"references": points[:0]}, "a row at least"),
        ({"features": np.where(features == features[0, 0], np.nan, features)}, "finite"),
        ({"provided": provided[1:]}, "a row for each of 5"),
        ({"owners": owners + 1}, "from 0 to 2"),
        ({"weights": weights * 9}, "from 0 to 1"),
    ):
        given = {"features": features, "owners": owners, "references": points, "provided": provided, **changed}
        with pytest.raises(InputError, match=says):
            image_parts(**given)


def below(bad: np.ndarray, shares: np.ndarray) -> float:
    """AUROC: how often a good image has a higher share than a bad one."""
    ranks, number = rankdata(shares), bad.sum()
    return float(1 - (ranks[bad].sum() - number * (number + 1) / 2) / (number * (~bad).sum()))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("noise", 0.99), ("blur", 0.95), ("label", 0.97)])
def test_bad_images_of_a_good_contributor_come_last(kind: str, least: float) -> None:
    """A fifth of the images of the largest of twelve contributors is bad, of those that are held out, too."""
    found = [below(*planted(kind, seed)) for seed in SEEDS]
    print(kind, np.round(found, 3))
    assert min(found) >= least


def planted(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images of the contributor are bad, and the shares of them all."""
    scans, generator = load_digits(), np.random.default_rng([seed, 7])
    images, labels = np.round(scans.images * (255 / 16)).astype(np.uint8)[:, None], scans.target.copy()
    owners = generator.choice(12, len(images), p=generator.dirichlet(np.full(12, 2.0)))
    own = np.flatnonzero(owners == np.bincount(owners).argmax())
    bad = np.isin(np.arange(len(images)), generator.choice(own, len(own) // 5, replace=False))
    match kind:
        case "noise":
            images[bad] = generator.integers(0, 256, images[bad].shape)
        case "blur":
            images[bad] = gaussian_filter(images[bad].astype(float), (0, 0, 1.0, 1.0)).round()
        case "label":
            labels[bad] = (labels[bad] + generator.integers(1, 10, bad.sum())) % 10
    place = generator.random(len(images))
    held, trained = place < 0.15, place >= 0.4
    weights = None
    if kind == "label":
        judge, known = Classifier(1, 10, seed=seed), (place >= 0.15) & (place < 0.4)
        judge.fit(images[known], labels[known], steps=300, seed=seed)
        weights = judge.probabilities(images[trained])[np.arange(trained.sum()), labels[trained]]
    features = EfficientNetLite0(size=64).features(images[held | trained])
    side = held[held | trained]
    shares = image_parts(
        features[~side], owners[trained], features[side], owners[held, None] == np.arange(12), weights=weights
    ).shares
    mine = owners[trained] == owners[own[0]]
    return bad[trained][mine], shares[mine]
