"""The distance of two sets: closed forms, and laws that hold for any sets."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.set_distance import SetDistance, set_distance

Set = tuple[np.ndarray, np.ndarray]


def blobs(seed: int, items: int = 240, shift: float = 0.0, classes: int = 3) -> Set:
    """Items of classes that lie four deviations apart, all moved by `shift` in the first dimension."""
    generator = np.random.default_rng(seed)
    labels = np.arange(items) % classes
    features = generator.normal(size=(items, 5)) + 4 * np.eye(5)[labels]
    return (features + shift * np.eye(5)[0]).astype(np.float32), labels


def between(
    first: Set, second: Set, *, label_weight: float = 1.0, epsilon: float = 1.0, divisions: int = 0
) -> SetDistance:
    return set_distance(*first, *second, label_weight=label_weight, epsilon=epsilon, divisions=divisions)


def test_of_shifted_points_is_the_shift() -> None:
    """Exact transport moves every item by the shift."""
    points, _ = blobs(0)
    moved = points + np.float32(10) * np.eye(5, dtype=np.float32)[0]
    found = set_distance(points, None, moved, None, epsilon=0.02)
    assert found.distance == pytest.approx(10, rel=1e-2)
    assert found.label_distances is None


def test_of_equal_sets_is_zero_in_any_order_and_number_of_copies() -> None:
    features, labels = blobs(0)
    order = np.random.default_rng(1).permutation(len(labels))
    same = between((features, labels), (features[order], labels[order]))
    twice = between((features, labels), (np.repeat(features, 2, axis=0), np.repeat(labels, 2)))
    assert max(same.distance, twice.distance) < 2e-3 * same.typical
    assert same.label_distances == pytest.approx(same.label_distances.T, abs=1e-3)  # type: ignore[union-attr]


def test_samples_of_large_labels_are_drawn_by_content() -> None:
    """1,300 items of two labels: more than label distances, and the scale, are computed from."""
    features, labels = blobs(0, items=1300, classes=2)
    order = np.random.default_rng(1).permutation(len(labels))
    whole, moved = (features, labels), (features[order], labels[order])
    twice = np.concatenate([features, features[order]]), np.concatenate([labels, labels[order]])
    for other in (whole, moved, twice):
        assert between(whole, other).distance < 1e-6
    second = blobs(1, items=1300, classes=2)
    found = between(whole, second, divisions=1)
    assert between(moved, second, divisions=1).chance == pytest.approx(found.chance, rel=1e-5)
    for other in (moved, twice):
        assert between(other, second).distance == pytest.approx(found.distance, rel=1e-5)


def test_parts_sum_to_the_distance_and_follow_the_items() -> None:
    first, second = blobs(0, shift=1.0), blobs(1)
    found = between(first, second)
    assert found.parts.sum() == pytest.approx(found.distance, abs=1e-9)
    order = np.random.default_rng(1).permutation(len(first[1]))
    moved = between((first[0][order], first[1][order]), second)
    assert moved.parts == pytest.approx(found.parts[order], abs=5e-3 * found.typical / len(order))


def test_it_is_symmetric_and_grows_with_the_shift() -> None:
    second = blobs(1)
    distances = [between(blobs(0, shift=shift), second).distance for shift in (0.0, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances)
    assert between(second, blobs(0, shift=1.0)).distance == pytest.approx(distances[2], rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_triangle(seed: int) -> None:
    """Near exact transport; with much entropy the distance is more like the square of one."""
    generator = np.random.default_rng(seed)
    sets = [blobs(10 * seed + side, shift=generator.uniform(0, 3)) for side in range(3)]
    ab, bc, ac = (between(sets[one], sets[other], epsilon=0.05) for one, other in ((0, 1), (1, 2), (0, 2)))
    assert ac.distance <= ab.distance + bc.distance + 0.01 * ac.typical


def test_wrong_labels_drive_sets_apart_that_have_equal_features() -> None:
    features, labels = blobs(0)
    wrong = labels.copy()
    wrong[:60] = (labels[:60] + 1) % 3
    plain = between((features, wrong), (features, labels), label_weight=0.0)
    found = between((features, wrong), (features, labels))
    assert plain.distance < 1e-3 * plain.typical < found.distance
    assert found.parts[:60].mean() > found.distance / len(labels) > found.parts[60:].mean()


def test_labels_are_compared_by_their_items_and_may_be_missing() -> None:
    features, labels = blobs(0)
    renamed = between((features, labels), (features, 7 - labels))
    assert renamed.distance < 2e-3 * renamed.typical
    fewer = between((features, labels), (features[labels < 2], labels[labels < 2]))
    assert fewer.label_distances is not None
    assert fewer.label_distances.shape == (3, 2)
    assert fewer.parts[labels == 2].sum() > 0.9 * fewer.distance


def test_the_part_of_a_group_is_how_the_distance_changes_with_its_mass() -> None:
    """Without labels: those of label distances depend on all items of a label."""
    first, second = blobs(0, shift=1.0)[0], blobs(1)[0]
    base = set_distance(first, None, second, None, tolerance=1e-5, divisions=0)
    for group in (base.parts.argsort()[:5], base.parts.argsort()[-5:]):  # the best and the worst items
        more = set_distance(np.concatenate([first, first[group]]), None, second, None, tolerance=1e-5, divisions=0)
        mass = len(group) / (len(first) + len(group))
        expected = mass * (base.parts[group].mean() * len(first) - base.distance)
        assert more.distance - base.distance == pytest.approx(expected, rel=0.2)


def test_bad_input() -> None:
    features, labels = blobs(0)
    with pytest.raises(InputError, match="one set has none; give both, or neither"):
        set_distance(features, labels, features, None)
    with pytest.raises(InputError, match="got 5 and 4 dimensions"):
        set_distance(features, labels, features[:, :4], labels)
    for divisions, rule in ((2.5, "`divisions` is a whole number; got 2.5"), (-1, "0 or above; got -1")):
        with pytest.raises(InputError, match=rule):
            set_distance(features, labels, features, labels, divisions=divisions)  # type: ignore[arg-type]
    for tolerance in (2, 5.0):
        with pytest.raises(InputError, match=r"lies in \(0, 2\)"):
            set_distance(features, labels, features, labels, tolerance=tolerance)
    with pytest.raises(InputError, match="the first set's row 0 has nan"):
        set_distance(features * np.nan, labels, features, labels)
    with pytest.raises(InputError, match="`device` is a device of torch"):
        set_distance(features, labels, features, labels, device="nope")
    with pytest.raises(InputError, match="must not vanish in float32"):
        set_distance(features * np.float32(1e-30), labels, features, labels)
    with pytest.raises(InputError, match="has nan in dimension 0"):
        set_distance(features * np.nan, labels, features, labels)
    with pytest.raises(InputError, match="epsilon is a finite number above 0, got 0"):
        set_distance(features, labels, features, labels, epsilon=0)


def test_samples_of_one_distribution_are_as_far_apart_as_chance() -> None:
    found = between(blobs(0), blobs(1), divisions=5)
    assert found.chance == pytest.approx(found.distance, rel=0.1)
    moved = between(blobs(0, shift=1.0), blobs(1), divisions=1)
    assert moved.chance is not None
    assert moved.distance > 2 * moved.chance
    assert between(blobs(0), blobs(1), divisions=0).chance is None
