"""GMValuator: the definition, the laws of its values, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.valuation import gmvaluator
from royalty.models.valuation.copies import earliest_members, earliest_of_each
from royalty.models.valuation.gmvaluator import build_index, gmvaluator_values
from royalty.models.valuation.items import contributor_values
from royalty.models.valuation.sharing import effective_neighbours, softmin, temperature_of

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


def problem(seed: int, items: int = 40, generated: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of both sides, and qualities."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(items, 6)), generator.normal(size=(generated, 6)), generator.uniform(size=generated)


def metric(table: np.ndarray) -> Metric:
    """Distances looked up in a table, `(generated, items)`."""
    return lambda generated, items: table[generated[:, None], items]


def brute_force(
    train: np.ndarray,
    generated: np.ndarray,
    k: int,
    recall_k: int,
    table: np.ndarray | None,
    quality: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, list[tuple[int, int, float, float]]]:
    """Values and contributions, one generated image after another."""
    values, contributions = np.zeros(len(train)), []
    train = train / np.linalg.norm(train, axis=1, keepdims=True)
    for j, point in enumerate(generated):
        embedded = np.linalg.norm(train - point / np.linalg.norm(point), axis=1)
        distances = embedded if table is None else table[j]
        recalled = np.argsort(embedded)[:recall_k]
        nearest = recalled[np.argsort(distances[recalled])][:k]
        weights = np.exp(-distances[nearest] / temperature)
        for i, weight in zip(nearest, weights, strict=True):
            score = quality[j] * weight / weights.sum()
            values[i] += score
            contributions.append((j, int(i), distances[i], score))
    return values, contributions


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000), k=st.integers(1, 40), more=st.integers(0, 20), rerank=st.booleans(),
    temperature=st.floats(0.05, 20),
)  # fmt: skip
def test_equals_brute_force(seed: int, k: int, more: int, rerank: bool, temperature: float) -> None:
    train, generated, quality = problem(seed)
    table = np.random.default_rng(seed + 1).uniform(size=(25, 40)) if rerank else None
    found = gmvaluator_values(
        train, generated, k=k, recall_k=k + more, distances=None if table is None else metric(table), quality=quality,
        temperature=temperature,
    )  # fmt: skip
    values, contributions = brute_force(train, generated, k, k + more, table, quality, temperature)
    np.testing.assert_allclose(found.values, values, atol=1e-6)
    kept = found.contributions
    images, items, distances, scores = (np.array(column) for column in zip(*contributions, strict=True))
    np.testing.assert_array_equal(kept.generated, images)
    np.testing.assert_array_equal(kept.item, items)
    np.testing.assert_allclose(kept.distance, distances, atol=1e-6)
    np.testing.assert_allclose(kept.score, scores, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 50), temperature=st.floats(1e-9, 1e9))
def test_values_are_shares_of_quality_and_follow_their_items(seed: int, k: int, temperature: float) -> None:
    train, generated, quality = problem(seed)
    found = gmvaluator_values(train, generated, k=k, quality=quality, temperature=temperature)
    assert (found.values >= 0).all()
    assert found.values.sum() == pytest.approx(quality.sum())
    outside = np.setdiff1d(np.arange(40), found.contributions.item)
    assert (found.values[outside] == 0).all()
    generator = np.random.default_rng(seed)
    items, images = generator.permutation(40), generator.permutation(25)
    again = gmvaluator_values(
        train[items], generated[images], k=k, quality=quality[images], temperature=temperature * (1 + 1e-12)
    )
    tolerance = 1e-5 * max(1, 1e-2 / temperature) * quality.sum()  # of distances rounded otherwise, over T
    np.testing.assert_allclose(again.values, found.values[items], atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), row=st.integers(0, 39), image=st.integers(0, 24), scale=st.floats(1e-6, 1e6))
def test_a_copy_of_the_image_ranks_first(seed: int, row: int, image: int, scale: float) -> None:
    train, generated, _ = problem(seed)
    generated[image] = scale * train[row]
    behind = gmvaluator_values(train, generated, k=5).contributions.of(image)
    assert behind.item[0] == row
    assert behind.distance[0] == pytest.approx(0, abs=1e-6)
    assert (behind.generated == image).all()
    assert (np.diff(behind.score) <= 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), image=st.integers(0, 24))
def test_quality_zero_removes_an_image(seed: int, image: int) -> None:
    train, generated, quality = problem(seed)
    quality[image] = 0
    found = gmvaluator_values(train, generated, k=5, quality=quality)
    rest = np.arange(25) != image
    without = gmvaluator_values(train, generated[rest], k=5, quality=quality[rest])
    np.testing.assert_allclose(found.values, without.values, atol=1e-6)
    assert (found.contributions.of(image).score == 0).all()
    assert found.diagnostics["quality_lost"] == pytest.approx(1 - quality.mean())


def test_blended_distances_are_the_sum() -> None:
    train, generated, _ = problem(0)
    table = np.random.default_rng(1).uniform(size=(25, 40))
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (generated, train)]
    embedded = np.square(units[0][:, None] - units[1]).sum(axis=2)
    found = gmvaluator_values(train, generated, k=7, recall_k=40, distances=metric(table), blend=2.0, temperature=0.3)
    expected = gmvaluator_values(
        train, generated, k=7, recall_k=40, distances=metric(table + 2 * embedded), temperature=0.3
    )
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    np.testing.assert_array_equal(found.contributions.item, expected.contributions.item)


def test_temperature_goes_from_the_nearest_alone_to_all_alike() -> None:
    train, generated, _ = problem(0)
    cold = gmvaluator_values(train, generated, k=8, temperature=1e-300)
    assert cold.diagnostics["effective_neighbours"] == 1
    nearest = cold.contributions.item[::8]
    np.testing.assert_array_equal(cold.values, np.bincount(nearest, minlength=40))
    assert cold.diagnostics["zero_items"] == 40 - len(set(nearest.tolist()))
    hot = gmvaluator_values(train, generated, k=8, temperature=1e300)
    assert hot.diagnostics["effective_neighbours"] == pytest.approx(8)
    np.testing.assert_allclose(hot.contributions.score, 1 / 8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(2, 60), asked=st.floats(0.05, 0.95), scale=st.floats(1e-6, 1e6))
def test_the_temperature_gives_the_effective_number_asked_for(seed: int, k: int, asked: float, scale: float) -> None:
    distances = np.sort(np.random.default_rng(seed).uniform(size=(20, k)), axis=1)
    effective = 1 + asked * (k - 1)
    temperature = temperature_of(distances, effective)
    assert effective_neighbours(softmin(distances, temperature)).mean() == pytest.approx(effective, rel=1e-6)
    assert temperature_of(scale * distances, effective) == pytest.approx(scale * temperature, rel=1e-6)


def test_a_temperature_that_nothing_depends_on() -> None:
    assert temperature_of(np.full((3, 5), 2.0), 2) == 1
    ties = np.array([[0.0, 0, 0, 1], [0, 0, 0, 1]])  # three are equally near at any temperature
    assert effective_neighbours(softmin(ties, temperature_of(ties, 2))).mean() == pytest.approx(3)


def test_by_default_a_hundred_items_share_an_image_as_ten_would() -> None:
    train, generated, _ = problem(0, items=300)
    found = gmvaluator_values(train, generated)
    assert found.diagnostics["effective_neighbours"] == pytest.approx(10)
    again = gmvaluator_values(train, generated, temperature=found.diagnostics["temperature"])
    np.testing.assert_array_equal(again.values, found.values)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), copies=st.integers(1, 100), original=st.integers(0, 39), rerank=st.booleans())
def test_copies_earn_nothing_and_take_nothing(seed: int, copies: int, original: int, rerank: bool) -> None:
    """Whoever copies, and however often: the values of all that was there before are what they were."""
    train, generated, quality = problem(seed)
    near = train[original] + 0.01 * np.random.default_rng(seed).normal(size=(copies, 6))
    table = np.random.default_rng(seed + 1).uniform(size=(25, 40 + copies))
    order = np.random.default_rng(seed).permutation(40 + copies)  # copies may come before what they copy
    groups, since = np.concatenate([np.arange(40), np.full(copies, original)])[order], np.zeros(40 + copies)
    since[order >= 40] = 1.0
    options: dict[str, Any] = {"k": 8, "quality": quality}
    distances = (metric(table[:, :40]), metric(table[:, order])) if rerank else (None, None)
    alone = gmvaluator_values(train, generated, distances=distances[0], **options)
    copied = gmvaluator_values(
        np.concatenate([train, near])[order], generated, distances=distances[1], groups=groups, since=since, **options
    )
    values = np.empty(40 + copies)
    values[order] = copied.values
    np.testing.assert_allclose(values[:40], alone.values, rtol=1e-5, atol=1e-6)
    assert (values[40:] == 0).all()
    assert copied.diagnostics["copies"] == copies
    equal = gmvaluator_values(
        np.concatenate([train, near])[order], generated, distances=distances[1], groups=groups, since=since,
        division="equal", **options,
    )  # fmt: skip
    assert equal.values.sum() == pytest.approx(quality.sum())
    np.testing.assert_allclose(equal.values[groups == original], alone.values[original] / (1 + copies), atol=1e-6)


def test_without_groups_copies_earn() -> None:
    """What the groups are for: 1% of the items, with 25 near copies each, get many times the value they had."""
    train, generated, _ = problem(0, items=400)
    near = np.repeat(train[:4], 25, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(100, 6))
    every = np.concatenate([train, near])
    alone, minted = (gmvaluator_values(items, generated, k=30).values for items in (train, every))
    assert (minted[:4].sum() + minted[400:].sum()) / minted.sum() > 5 * alone[:4].sum() / alone.sum()
    grouped = gmvaluator_values(
        every, generated, k=30, groups=np.concatenate([np.arange(400), np.repeat(range(4), 25)])
    )
    np.testing.assert_allclose(grouped.values[:400], alone, atol=1e-5)


def test_the_earliest_by_date_then_by_row() -> None:
    groups = np.array([7, 7, 3, 7, 3, 5])
    np.testing.assert_array_equal(earliest_members(groups), [0, 2, 5])
    since = np.array([np.nan, 5.0, 2.0, 4.0, 2.0, np.nan])
    np.testing.assert_array_equal(earliest_members(groups, since), [2, 3, 5])
    np.testing.assert_array_equal(earliest_of_each(groups, since), [3, 3, 2, 3, 2, 5])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6, 1e300])
def test_shares_depend_on_distances_over_temperature_alone(scale: float) -> None:
    distances = np.array([[0.0, 1, 3], [5, 5, 5], [7, 7.5, 9]])
    expected = np.exp(-distances) / np.exp(-distances).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmin(scale * distances, scale), expected, atol=1e-12)
    np.testing.assert_allclose(softmin(1e6 + distances, 1), expected, atol=1e-9)
    np.testing.assert_allclose(softmin(1e6 * distances, 1e-305)[0], [1, 0, 0])


def test_batches_change_nothing_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    train, generated, quality = problem(0)
    table = np.random.default_rng(1).uniform(size=(25, 40))
    options: dict[str, Any] = {"k": 7, "distances": metric(table), "quality": quality}
    whole = gmvaluator_values(train, generated, **options)
    monkeypatch.setattr(gmvaluator, "BATCH", 10)
    done: list[int] = []
    index = build_index(train)
    batched = gmvaluator_values(train, generated, index=index, progress=done.append, **options)
    np.testing.assert_allclose(batched.values, whole.values, atol=1e-12)
    assert done == [10, 10, 5]


def test_diagnostics_say_what_was_used() -> None:
    train, generated, _ = problem(0)
    table = np.random.default_rng(1).uniform(size=(25, 40))
    plain = gmvaluator_values(train, generated, k=50, temperature=0.5).diagnostics
    expected = {"k": 40, "k_asked": 50, "recall_k": 40, "temperature": 0.5, "index": "flat", "recall": 1.0}
    assert {name: plain[name] for name in expected} == expected
    assert gmvaluator_values(train, generated, k=6).diagnostics["recall_k"] == 6
    assert gmvaluator_values(train, generated, k=6, distances=metric(table)).diagnostics["recall_k"] == 40
    assert gmvaluator_values(train, generated, k=3, distances=metric(table)).diagnostics["recall_k"] == 30


def test_recall_comes_from_the_index() -> None:
    generator = np.random.default_rng(0)
    train, generated = generator.normal(size=(10_000, 16)), generator.normal(size=(30, 16))
    index = build_index(train, kind="ivfpq")
    diagnostics = gmvaluator_values(train, generated, k=20, index=index).diagnostics
    assert diagnostics["index"] == "ivfpq"
    assert diagnostics["recall"] == index.recall(generated, 20) < 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(1, 20))
def test_contributors_share_their_items_equally(seed: int, items: int) -> None:
    generator = np.random.default_rng(seed)
    values, membership = generator.normal(size=items), generator.uniform(size=(items, 4)) < 0.5
    membership[np.arange(items), generator.integers(4, size=items)] = True
    texts = [" ; ".join(f"c{column}" for column in np.flatnonzero(row)) for row in membership]
    found = contributor_values(values, texts)
    shares = (values[:, None] * membership / membership.sum(axis=1, keepdims=True)).sum(axis=0)
    assert list(found) == [f"c{column}" for column in range(4) if membership[:, column].any()]
    assert list(found.values()) == pytest.approx(shares[membership.any(axis=0)])
    assert sum(found.values()) == pytest.approx(values.sum())


def test_items_have_contributors() -> None:
    with pytest.raises(InputError, match="got 2 items and 1 texts"):
        contributor_values(np.ones(2), ["ada"])
    with pytest.raises(InputError, match="row 1 has ' ; '"):
        contributor_values(np.ones(2), ["ada", " ; "])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"k": 0}, "got k = 0"),
    ({"k": 5, "recall_k": 4}, "at least k = 5; got 4"),
    ({"temperature": 0.0}, "temperature is a positive number; got 0"),
    ({"temperature": float("nan")}, "temperature is a positive number; got nan"),
    ({"temperature": float("inf")}, "temperature is a positive number; got inf"),
    ({"quality": np.ones(24)}, r"25 images and shape \(24,\)"),
    ({"quality": np.linspace(0, 1.1, 25)}, r"generated row 22 has 1\.008"),
    ({"quality": np.full(25, np.nan)}, "generated row 0 has nan"),
    ({"distances": lambda images, items: items[:, :-1] + 0.5}, r"got shape \(25, 39\) for 25 generated images by 40"),
    ({"distances": metric(np.full((25, 40), np.nan))}, "generated row 0 and training row .* are nan apart"),
    ({"distances": metric(np.full((25, 40), np.inf))}, "are inf apart"),
    ({"blend": -1.0}, "weight of at least 0; got -1"),
    ({"groups": np.arange(39)}, r"each item has one group.* shape \(39,\) for 40 items"),
    ({"groups": np.full(40, 0.5)}, "each item has one group, an integer; got float64"),
    ({"groups": np.zeros(40, int), "since": np.ones(3)}, r"one time; got shape \(3,\) for 40 items"),
    ({"groups": np.zeros(40, int), "division": "all"}, "`earliest` member, or to all of them .* got 'all'"),
    ({"since": np.ones(40)}, "`since` says which of a group is the earliest, and there are no `groups`"),
    ({"index": build_index(np.ones((39, 6)))}, r"training features, \(40, 6\); got one of \(39, 6\)"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    train, generated, _ = problem(0)
    with pytest.raises(InputError, match=message):
        gmvaluator_values(train, generated, **options)


def test_bad_features_are_refused() -> None:
    train, generated, _ = problem(0)
    with pytest.raises(InputError, match=r"training and generated items .* got 6 and 5 dimensions"):
        gmvaluator_values(train, generated[:, :5])
    with pytest.raises(InputError, match="there are no generated ones"):
        gmvaluator_values(train, generated[:0])
    with pytest.raises(InputError, match="there are no training ones"):
        gmvaluator_values(train[:0], generated)
    generated[4] = 0
    with pytest.raises(InputError, match="length 0 has not: generated row 4"):
        gmvaluator_values(train, generated)
    generated[4, 1] = np.nan
    with pytest.raises(InputError, match="generated row 4 has nan in dimension 1"):
        gmvaluator_values(train, generated)
    train[30] = 0
    with pytest.raises(InputError, match="training row 30"):
        gmvaluator_values(train, problem(0)[1])
