"""Global properties: closed forms, how sure they are against repeated draws, and what is refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from royalty.models.base.errors import InputError
from royalty.models.distances.distance import FeatureDistance, euclidean, squared_euclidean
from royalty.models.encoders.pixels import PixelEncoder
from royalty.models.properties import kid as kid_module
from royalty.models.properties.aesthetic import aesthetic_scores, linear_head, smooth_quantile
from royalty.models.properties.class_entropy import class_entropy, class_entropy_error, entropy
from royalty.models.properties.cluster_entropy import cluster_centres, nearest_centre
from royalty.models.properties.custom import load_function
from royalty.models.properties.diversity import distances_from_others, diversity_error
from royalty.models.properties.fid import Gaussian, frechet_distance, gaussian
from royalty.models.properties.inception_score import inception_score, inception_score_error
from royalty.models.properties.kid import kid, kid_error
from royalty.models.properties.manifold import error_of_share, inside
from royalty.models.properties.property import Context, Property, error_of_mean, jackknife
from royalty.models.properties.registry import chosen_property

PIXELS = FeatureDistance("l2", PixelEncoder((1, 1, 4)), euclidean)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def pictures(images: int, seed: int = 0, low: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, size=(images, 1, 4, 4), dtype=np.uint8)


def context(reference: np.ndarray) -> Context:
    def classifier(images: np.ndarray) -> np.ndarray:
        shades = images.reshape(len(images), -1)[:, :3].astype(float) + 1
        return shades / shades.sum(axis=1, keepdims=True)

    return Context(reference, classifier)


def built(name: str, reference: np.ndarray) -> Property:
    return chosen_property(name).build(context(reference))


def test_frechet_distance_of_gaussians_with_known_moments() -> None:
    left = Gaussian(np.array([0.0, 0.0]), np.diag([1.0, 2.0]))
    right = Gaussian(np.array([3.0, 4.0]), np.diag([5.0, 1.0]))  # commuting: sum of squared differences of deviations
    assert frechet_distance(left, right) == pytest.approx(25 + 16 + 1)
    assert frechet_distance(left, left) == pytest.approx(0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), left=st.integers(3, 40), right=st.integers(3, 40), dimensions=st.integers(1, 12))
def test_frechet_distance_is_the_definition_and_does_not_turn(
    seed: int, left: int, right: int, dimensions: int
) -> None:
    first, second = normal(seed, left, dimensions), 1 + 2 * normal(seed + 1, right, dimensions)
    covariances = [np.atleast_2d(np.cov(side, rowvar=False)) for side in (first, second)]
    root = sqrtm(covariances[0] @ covariances[1] + 1e-12 * np.eye(dimensions)).real
    defined = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    distance = frechet_distance(gaussian(first), gaussian(second))
    assert distance == pytest.approx(defined, abs=1e-3)
    assert frechet_distance(gaussian(second), gaussian(first)) == pytest.approx(distance)
    turn = ortho_group.rvs(dimensions, random_state=seed) if dimensions > 1 else np.ones((1, 1))
    assert frechet_distance(gaussian(first @ turn), gaussian(second @ turn)) == pytest.approx(distance)


def test_kid_is_the_definition_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = normal(0, 9, 4), normal(1, 7, 4) + 1

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within = [np.mean([kernel(x, y) for x in side for y in side if x is not y]) for side in (list(first), list(second))]
    defined = sum(within) - 2 * np.mean([kernel(x, y) for x in first for y in second])
    assert kid(first, second) == pytest.approx(defined)
    monkeypatch.setattr(kid_module, "TILE", 2)
    assert kid(first, second) == pytest.approx(defined)


def test_kid_of_one_distribution_is_0_on_average_however_few_the_images() -> None:
    kids = [kid(normal(2 * seed, 12, 5), normal(2 * seed + 1, 10, 5)) for seed in range(2000)]
    assert abs(np.mean(kids)) < 4 * np.std(kids) / math.sqrt(len(kids))
    assert np.std(kids) / math.sqrt(len(kids)) < 0.02  # so that the bound above means something


def test_manifolds_of_identical_and_of_disjoint_sets() -> None:
    features = normal(0, 60, 3)
    assert inside(features, features).all()
    assert not inside(features, features + 100).any()
    between = np.linalg.norm(features[:, None] - features[None], axis=2)
    radii = np.sort(between, axis=1)[:, 3]
    others = 1.5 * normal(1, 80, 3)
    defined = (np.linalg.norm(others[:, None] - features[None], axis=2) <= radii).any(axis=1)
    assert 0 < defined.mean() < 1
    np.testing.assert_array_equal(inside(features, others), defined)


def test_precision_and_recall_see_what_is_missing() -> None:
    everything, half = pictures(80), pictures(80, seed=1)
    half[40:] = half[:40]  # real ones, but half of them twice
    far = np.full((40, 1, 4, 4), 255, np.uint8)
    for name in ("precision@pixels", "recall@pixels"):
        assert built(name, everything).of(everything) == 1
        assert built(name, everything).of(far) == 0
    narrow = everything[np.square(everything.astype(float) - 128).mean(axis=(1, 2, 3)).argsort()[:20]]
    assert built("precision@pixels", everything).of(narrow) == 1
    assert built("recall@pixels", everything).of(narrow) < 1


def test_cluster_entropy_of_known_shares() -> None:
    centres = 100 * np.eye(4)
    reference = np.concatenate([centre + normal(at, 10, 4) for at, centre in enumerate(centres)])
    found = cluster_centres(reference, 4)
    np.testing.assert_allclose(found[found.argmax(axis=0)], centres, atol=2)
    made = np.repeat(centres, [8, 4, 2, 2], axis=0)
    clusters = nearest_centre(made + normal(9, 16, 4), found)
    assert entropy(clusters) / math.log(2) == pytest.approx(0.5 + 0.5 + 2 * 3 / 8)
    assert entropy(nearest_centre(made[:8], found)) == 0
    assert len(cluster_centres(np.ones((30, 4)), 20)) == 1


def test_cluster_entropy_of_the_reference_is_in_bits_of_at_most_20_clusters() -> None:
    reference = pictures(100)
    cluster = built("cluster-entropy@pixels", reference)
    assert 3 < cluster.of(reference) <= math.log2(20)
    assert cluster.of(np.repeat(reference[:1], 8, axis=0)) == 0


@pytest.mark.parametrize("images", [2, 3, 9, 10])
def test_diversity_is_the_mean_of_all_pairs_of_few_images(images: int) -> None:
    features = normal(images, images, 4).astype(np.float32)
    between = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_allclose(distances_from_others(features, PIXELS), between.sum(axis=1) / (images - 1), rtol=1e-5)


def test_diversity_of_many_images_is_near_that_of_all_pairs_and_of_copies_is_0() -> None:
    features = normal(0, 400, 4).astype(np.float32)
    squared = FeatureDistance("l2", PixelEncoder((1, 1, 4)), squared_euclidean)
    all_pairs = 2 * features.var(axis=0, ddof=1).sum()  # of squared distances
    some = distances_from_others(features, squared)
    assert some.mean() == pytest.approx(all_pairs, abs=0.2 * diversity_error(features, squared))
    assert built("diversity@l2", pictures(4)).of(np.repeat(pictures(1), 10, axis=0)) == 0


def test_smooth_quantile_is_between_neighbours_and_moves_with_the_scores() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(101.0))
    assert smooth_quantile(scores) == pytest.approx(90, abs=0.5)
    assert smooth_quantile(2 * scores + 1) == pytest.approx(2 * smooth_quantile(scores) + 1)


def draws_of(statistic: Callable[[np.ndarray], float], make: Callable[[int], np.ndarray], draws: int) -> float:
    return float(np.std([statistic(make(seed)) for seed in range(1, draws + 1)], ddof=1))


REFERENCE = normal(10**6, 200, 4)


def probabilities(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([0.2, 0.3, 0.5], size=100)


def features(seed: int) -> np.ndarray:
    return normal(seed, 100, 4) + 0.5


@pytest.mark.parametrize(
    ("statistic", "error", "make"),
    [
        (inception_score, inception_score_error, probabilities),
        (class_entropy, class_entropy_error, probabilities),
        (lambda made: kid(made, REFERENCE), lambda made: kid_error(made, REFERENCE), features),
        (lambda made: inside(REFERENCE, made).mean(), lambda made: error_of_share(inside(REFERENCE, made)), features),
        (lambda made: distances_from_others(made, PIXELS).mean(), lambda made: diversity_error(made, PIXELS), features),
        (np.mean, error_of_mean, lambda seed: normal(seed, 100)),
    ],
    ids=["inception-score", "class-entropy", "kid", "precision", "diversity", "mean"],
)
def test_closed_errors_are_those_of_repeated_draws(
    statistic: Callable[[np.ndarray], float],
    error: Callable[[np.ndarray], float],
    make: Callable[[int], np.ndarray],
) -> None:
    said = np.sqrt(np.mean([error(make(seed)) ** 2 for seed in range(1, 31)]))
    assert said == pytest.approx(draws_of(statistic, make, 300), rel=0.2)
    left_out = np.sqrt(np.mean([jackknife(make(seed), statistic) ** 2 for seed in range(1, 31)]))
    assert said == pytest.approx(left_out, rel=0.2)


@pytest.mark.parametrize(
    ("statistic", "most"),
    [
        (lambda made: -frechet_distance(gaussian(made), gaussian(REFERENCE)), 1.25),
        (lambda made: smooth_quantile(made[:, 0]), 1.25),
        (lambda made: float(inside(made, REFERENCE[:60]).mean()), 1.8),  # see `recall`
    ],
    ids=["fid", "quantile", "recall"],
)
def test_the_jackknife_is_the_error_of_repeated_draws(statistic: Callable[[np.ndarray], float], most: float) -> None:
    said = np.sqrt(np.mean([jackknife(features(seed), statistic) ** 2 for seed in range(1, 21)]))
    assert 0.8 < said / draws_of(statistic, features, 200) < most


def test_the_jackknife_of_a_mean_is_that_of_the_mean() -> None:
    values = normal(0, 15)
    assert jackknife(values, np.mean) == pytest.approx(error_of_mean(values))


@pytest.mark.parametrize("name", ["inception-score", "class-entropy", "fid@pixels", "kid@pixels", "diversity@l2"])
def test_a_better_model_has_the_higher_property(name: str) -> None:
    """Of the reference's own distribution, and of a narrow one."""
    reference = pictures(100)
    credited = built(name, reference)
    good, narrow = pictures(100, seed=1), np.repeat(pictures(1, low=200), 100, axis=0)
    assert credited.of(good) > credited.of(narrow)
    value, error = credited.measure(good, error=True)
    assert (value, error) == (credited.of(good), credited.stderr(good))
    assert math.isnan(credited.measure(good)[1])


def test_images_for_an_error() -> None:
    credited = Property(lambda images: images.reshape(len(images), -1).mean(axis=1), np.mean)
    pilot = pictures(200)
    needed = credited.images_for(pilot, stderr=2.0)
    assert credited.stderr(pictures(needed, seed=3)) == pytest.approx(2.0, rel=0.3)
    assert credited.images_for(pilot, stderr=1.0) == pytest.approx(4 * needed, abs=4)
    assert credited.images_for(np.zeros_like(pilot), stderr=1.0) == credited.least
    with pytest.raises(InputError, match="above 0, got 0"):
        credited.images_for(pilot, stderr=0)
    with pytest.raises(
        InputError, match=r"of 0\.01 takes [\d,]+ images of each model, and 100,000 are the most; of 200"
    ):
        credited.images_for(pilot, stderr=0.01)


@pytest.mark.parametrize("name", ["fid@pixels", "kid@pixels", "precision@pixels", "recall@pixels", "cluster-entropy"])
def test_too_few_reference_images(name: str) -> None:
    images = 0 if name == "recall@pixels" else 1
    with pytest.raises(InputError, match=f"there are {images}; raise `data.held_out.classifier`"):
        built(name, pictures(images))


def test_too_few_images_and_no_number() -> None:
    credited = built("fid@pixels", pictures(9))
    with pytest.raises(InputError, match=r"this property takes at least 2 images, got 1; raise `sampling\.images`"):
        credited.of(pictures(1))
    with pytest.raises(InputError, match="the error of this property takes at least 4 images, got 3"):
        credited.stderr(pictures(3))
    with pytest.raises(InputError, match="finite numbers, and of these 3 images one is nan"):
        Property(lambda images: images, lambda images: math.nan).of(pictures(3))


OWN = """
import numpy as np
limit = 3
def brightness(images): return images.mean()
def endless(images): return np.inf
def words(images): return "bright"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_metrics.py").write_text(OWN)
    (tmp_path / "my_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_metrics", raising=False)


@pytest.mark.usefixtures("own")
def test_a_function_of_the_users_own() -> None:
    chosen = chosen_property("my_metrics:brightness")
    assert chosen.title == "my_metrics:brightness"
    assert "my_metrics" in chosen.modules
    images = pictures(50)
    credited = chosen.build(context(images))
    assert credited.of(images) == images.mean()
    assert credited.stderr(images) == pytest.approx(error_of_mean(images.mean(axis=(1, 2, 3))), rel=0.5)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_absent:brightness", "my_absent failed with ModuleNotFoundError"),
        ("my_broken:brightness", "my_broken failed with ZeroDivisionError: division by zero"),
        ("my_metrics:brightnes", "has no brightnes; it has brightness, endless, words"),
        ("my_metrics:limit", "names a function of uint8 images; got int"),
        ("math:sqrt", "math is not written in Python"),
    ],
)
def test_a_function_that_is_none(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_function(path)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"), [("endless", "one is inf"), ("words", "a single number; .* returned str")]
)
def test_a_function_that_returns_no_number(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built(f"my_metrics:{name}", pictures(4)).of(pictures(4))


class Halves:
    """An encoder: means of the upper and of the lower half."""

    name, dimensions = "halves", 2

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).unflatten(1, (2, -1)).mean(dim=2)

    def features(self, images: np.ndarray, **_: object) -> np.ndarray:
        return images.reshape(len(images), 2, -1).mean(axis=2).astype(np.float32)


def test_aesthetic_scores_are_the_heads_answer_to_directions(tmp_path: Path) -> None:
    torch.save({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([1.0])}, tmp_path / "model.pth")
    head = linear_head(tmp_path, 2)
    images = np.zeros((2, 1, 4, 4), np.uint8)
    images[0, 0, :2], images[1, 0, :2], images[1, 0, 2:] = 200, 60, 80
    np.testing.assert_allclose(aesthetic_scores(Halves(), head, images), [4, 1 + 3 * 0.6 + 4 * 0.8], rtol=1e-6)
    with pytest.raises(InputError, match="weights of another network"):
        linear_head(tmp_path, 3)
