"""SAVA values: LAVA in one batch, close to it in many, and the work divided without a trace."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from royalty.models.base.errors import InputError
from royalty.models.valuation import batches, ground
from royalty.models.valuation.batches import (
    Batching,
    BatchTransport,
    Plan,
    Share,
    Valued,
    extend_plan,
    plan_values,
    take,
)
from royalty.models.valuation.ground import Batch, Options
from royalty.models.valuation.lava import calibrated, lava_values
from royalty.models.valuation.sava import (
    batchwise_lava_values,
    combine_shares,
    join,
    join_as_published,
    sava_values,
    solve_share,
    value_share,
)

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

TIGHT = {"epsilon": 0.5, "tolerance": 1e-8, "max_iterations": 3000}


def blobs(seed: int = 0, items: int = 90, validation: int = 48, classes: int = 3, flipped: float = 0.0) -> Problem:
    """Items around one centre a class; of training items, the first share of a random order has other labels."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(classes, 4))
    labels, val_labels = np.arange(items) % classes, np.arange(validation) % classes
    train = centres[labels] + 0.6 * generator.normal(size=(items, 4))
    val = centres[val_labels] + 0.6 * generator.normal(size=(validation, 4))
    wrong = generator.permutation(items)[: int(flipped * items)]
    labels[wrong] = (labels[wrong] + generator.integers(1, classes, size=len(wrong))) % classes
    return train, labels, val, val_labels


def in_batches(problem: Problem, rows: list[np.ndarray]) -> list[Batch]:
    return [(problem[0][own], problem[1][own]) for own in rows]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("batch_size", [90, 10_000])
def test_one_batch_a_side_is_lava(batch_size: int, labelled: bool) -> None:
    train, labels, val, val_labels = blobs(flipped=0.1)
    given = (train, labels, val, val_labels) if labelled else (train, None, val, None)
    whole = lava_values(*given, **TIGHT)
    found = sava_values(*given, batch_size=batch_size, **TIGHT)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-6)
    published = sava_values(*given, batch_size=batch_size, form="paper", **TIGHT)
    np.testing.assert_allclose(published.values, whole.values, atol=1e-6)
    assert found.diagnostics["batches"] == 1
    for name in ("distance", "epsilon", "scale"):
        assert found.diagnostics[name] == pytest.approx(whole.diagnostics[name])
    assert found.diagnostics["label_distances"] == whole.diagnostics["label_distances"]
    naive = batchwise_lava_values(*given, batch_size=batch_size, epsilon=0.5, tolerance=1e-7)
    np.testing.assert_allclose(naive.values, whole.values, atol=1e-5)


def test_values_are_put_together_as_documented() -> None:
    train, labels, val, val_labels = blobs(items=60, validation=25, flipped=0.2)
    options, batching = Options(1.0, 1.0, 0.5, 1e-8, 3000), Batching(24, True, 0)
    plan = plan_values((train, labels), (val, val_labels), options, batching)
    assert [len(rows) for rows in plan.rows] == [20, 20, 20]
    share = solve_share(plan, [take((train, labels), rows) for rows in plan.rows])
    assert share.distances.shape == (3, 2)
    # The transport of batches, iterated plainly; those of validation have 13 and 12 items.
    b = np.array([len(features) for features, _ in plan.val]) / 25
    epsilon, f, g = plan.ground.epsilon, np.zeros(3), np.zeros(2)
    for _ in range(5000):
        f = -epsilon * np.log((np.exp((g - share.distances) / epsilon) * b).sum(axis=1))
        g = -epsilon * np.log((np.exp((f[:, None] - share.distances) / epsilon) / 3).sum(axis=0))
    sent = np.exp((f[:, None] + g - share.distances) / epsilon) * b
    whole = np.zeros(60)
    for j, own in enumerate(plan.val):
        # Potentials of the targets are averaged over batches; each that of a transport of its own.
        alone = [plan_values(take((train, labels), rows), own, options, batching) for rows in plan.rows]
        solved = [replace(one, ground=plan.ground, val=(own,)) for one in alone]
        each = [solve_share(one, [take((train, labels), rows)]) for one, rows in zip(solved, plan.rows, strict=True)]
        mean = np.mean([one.potentials[0] for one in each], axis=0)
        for i, rows in enumerate(plan.rows):
            cost = np.linalg.norm(train[rows][:, None] - own[0], axis=2)
            cost += plan.ground.label_distances[labels[rows]][:, own[1]]
            whole[rows] -= sent[i, j] * epsilon * np.log(np.exp((mean - cost) / epsilon).mean(axis=1))
    values = sava_values(train, labels, val, val_labels, batch_size=24, **TIGHT).values
    np.testing.assert_allclose(values, -calibrated(whole), atol=1e-5)
    assert values.sum() == pytest.approx(0, abs=1e-9)


def test_batches_of_unequal_size_weigh_by_their_items() -> None:
    """On a line to one side of validation every transport is known: distance is mean less mean."""
    train, val = np.random.default_rng(0).random((12, 1)), np.random.default_rng(1).random((6, 1)) + 2
    batches = [(train[:9], None), (train[9:], None)]
    found = sava_values(batches, None, val, None, batch_size=3, **TIGHT)
    np.testing.assert_allclose(found.values, (train[:, 0] - train.mean()) * 12 / 11, atol=1e-5)
    assert found.diagnostics["distance"] == pytest.approx(val.mean() - train.mean(), abs=1e-6)
    assert found.batches is not None
    assert found.batches.tolist() == [0] * 9 + [1] * 3
    # Two batches, whose values are their distances from the other one.
    means = np.array([train[:9].mean(), train[9:].mean()])
    np.testing.assert_allclose(found.batch_values, means - means[::-1], atol=1e-5)
    published = sava_values(batches, None, val, None, batch_size=3, form="paper", **TIGHT)
    np.testing.assert_allclose(published.batch_values, found.batch_values, atol=1e-5)
    # An item is compared with the rest of its batch, and weighs by what the batch has of the mass.
    expected = [(own - own.mean()) * len(own) / (len(own) - 1) * len(own) / 12 for own, _ in batches]
    np.testing.assert_allclose(published.values, np.concatenate(expected)[:, 0], atol=1e-5)


def test_the_papers_form_is_the_papers_formula() -> None:
    train, labels, val, val_labels = blobs(items=60, validation=25, flipped=0.2)
    batching = Batching(24, True, 0)
    plan = plan_values((train, labels), (val, val_labels), Options(1.0, 1.0, 0.5, 1e-8, 3000), batching)
    epsilon = plan.ground.epsilon

    def solved(costs: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Potential of the sources of uniform mass, and plan."""
        f, g = np.zeros(len(costs)), np.zeros(len(b))
        for _ in range(5000):
            f = -epsilon * np.log((np.exp((g - costs) / epsilon) * b).sum(axis=1))
            g = -epsilon * np.log(np.exp((f[:, None] - costs) / epsilon).mean(axis=0))
        return f, np.exp((f[:, None] + g - costs) / epsilon) * b / len(costs)

    distances, gradients = np.zeros((3, 2)), np.zeros((60, 2))
    for j, (features, own) in enumerate(plan.val):
        for i, rows in enumerate(plan.rows):
            cost = np.linalg.norm(train[rows][:, None] - features, axis=2)
            cost += plan.ground.label_distances[labels[rows]][:, own]
            source, coupling = solved(cost, np.full(len(own), 1 / len(own)))
            distances[i, j] = (coupling * cost).sum()
            gradients[rows, j] = (source - source.mean()) * 20 / 19
    source, between = solved(distances, np.array([len(features) for features, _ in plan.val]) / 25)
    values = np.zeros(60)
    for i, rows in enumerate(plan.rows):
        values[rows] = -gradients[rows] @ between[i]
    found = sava_values(train, labels, val, val_labels, batch_size=24, form="paper", **TIGHT)
    np.testing.assert_allclose(found.values, values, atol=1e-5)
    np.testing.assert_allclose(found.batch_values, -calibrated(source), atol=1e-5)
    assert found.batches is not None
    for i, rows in enumerate(plan.rows):
        assert (found.batches[rows] == i).all()
        assert found.values[rows].sum() == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="`form` is one of joint, paper; got 'ours'"):
        sava_values(train, labels, val, val_labels, form="ours")  # type: ignore[arg-type]


def test_permuted_items_have_permuted_values() -> None:
    problem = blobs(flipped=0.1)
    rows = np.array_split(np.arange(90), 3)
    values = sava_values(in_batches(problem, rows), None, *problem[2:], batch_size=20, **TIGHT).values
    generator = np.random.default_rng(0)
    shuffled = [generator.permutation(own) for own in rows][::-1]
    again = sava_values(in_batches(problem, shuffled), None, *problem[2:], batch_size=20, **TIGHT).values
    np.testing.assert_allclose(again, values[np.concatenate(shuffled)], atol=1e-5)


def test_given_batches_are_as_good_as_drawn_ones() -> None:
    problem = blobs(flipped=0.1)
    rows = Batching(25, True, 3).rows(90, problem[1])
    drawn = sava_values(*problem, batch_size=25, seed=3)
    given = sava_values(in_batches(problem, list(rows)), None, *problem[2:], batch_size=25, seed=3)
    np.testing.assert_allclose(given.values, drawn.values[np.concatenate(rows)], atol=1e-6)
    assert given.diagnostics["batches"] == drawn.diagnostics["batches"] == 4


def test_a_memory_map_is_an_array(tmp_path: Path) -> None:
    problem = blobs()
    np.save(tmp_path / "train.npy", problem[0])
    mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
    values = sava_values(mapped, *problem[1:], batch_size=30).values
    np.testing.assert_array_equal(values, sava_values(*problem, batch_size=30).values)


@pytest.mark.parametrize(("batch_size", "epsilon"), [(500, 0.3), (500, 0.5)])
def test_close_to_lava_of_all_with_flipped_labels_worth_least(batch_size: int, epsilon: float) -> None:
    train, labels, val, val_labels = blobs(0, 1000, 300, classes=5, flipped=0.1)
    given = train.astype(np.float32), labels, val.astype(np.float32), val_labels
    whole = lava_values(*given, epsilon=epsilon).values
    values = sava_values(*given, batch_size=batch_size, epsilon=epsilon).values
    close = spearmanr(values, whole).statistic
    assert close >= 0.95
    naive = batchwise_lava_values(*given, batch_size=batch_size, epsilon=epsilon).values
    assert spearmanr(naive, whole).statistic < close
    wrong = labels != np.arange(1000) % 5
    assert wrong[np.argsort(values)[:60]].mean() > 0.4


def test_a_batch_of_nothing_but_bad_items_is_worth_less() -> None:
    train, labels, val, val_labels = blobs()
    bad = np.arange(60, 90)
    labels[bad] = (labels[bad] + 1) % 3
    batches = in_batches((train, labels, val, val_labels), np.array_split(np.arange(90), 3))
    values = sava_values(batches, None, val, val_labels, batch_size=24).values
    assert values[bad].mean() < values[:60].mean() - 0.1
    assert spearmanr(values, lava_values(train, labels, val, val_labels).values).statistic > 0.8


def test_lava_of_batches_sees_no_batch_among_others() -> None:
    problem = blobs(flipped=0.1)
    values = batchwise_lava_values(*problem, batch_size=30).values
    rows = Batching(30, False, 0).rows(90, problem[1])
    sums = [values[own].sum() for own in rows]
    np.testing.assert_allclose(sums, 0, atol=1e-4)
    found = sava_values(*problem, batch_size=30, stratify=False).values
    assert max(abs(found[own].sum()) for own in rows) > 0.1


def test_more_labels_than_a_batch_holds() -> None:
    problem = blobs(0, items=80, validation=40, classes=20)
    found = sava_values(*problem, batch_size=8)
    assert found.values.shape == (80,)
    assert np.isfinite(found.values).all()
    assert found.diagnostics["batches"] == 10
    assert np.array(found.diagnostics["label_distances"]).shape == (20, 20)


@pytest.mark.parametrize("labelled", [True, False])
def test_shares_valued_apart_and_joined_are_the_whole(labelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARE", 2)
    train, labels, val, val_labels = blobs(flipped=0.1)
    given = (train, labels, val, val_labels) if labelled else (train, None, val, None)
    whole = sava_values(*given, batch_size=20)
    plan = plan_values(given[:2], given[2:], Options(1.0, 1.0, 0.1, 1e-3, 500), Batching(20, True, 0))
    assert [len(share) for share in plan.shares] == [2, 2, 1]
    plan = Plan.from_bytes(plan.to_bytes())
    shares = [solve_share(plan, [take(given[:2], rows) for rows in share]) for share in reversed(plan.shares)]
    agreed = combine_shares(plan, [Share.from_bytes(share.to_bytes()) for share in shares[::-1]])
    agreed = BatchTransport.from_bytes(agreed.to_bytes())
    valued = [
        value_share(plan, agreed, [take(given[:2], rows) for rows in share], first)
        for share, first in zip(plan.shares, (0, 2, 4), strict=True)
    ]
    joined = join(plan, agreed, [Valued.from_bytes(share.to_bytes()) for share in valued])
    np.testing.assert_array_equal(joined.values, whole.values)
    assert joined.diagnostics == whole.diagnostics
    published = Plan.from_bytes(replace(plan, form="paper").to_bytes())
    shares = [solve_share(published, [take(given[:2], rows) for rows in share]) for share in plan.shares]
    agreed = combine_shares(published, shares)
    joined = join_as_published(published, agreed, [Share.from_bytes(share.to_bytes()) for share in shares])
    np.testing.assert_array_equal(joined.values, sava_values(*given, batch_size=20, form="paper").values)


def test_batches_that_are_still_whole_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARE", 2)
    train, labels, val, val_labels = blobs(items=600, validation=150)
    names = [f"item {row}" for row in range(600)]
    batching = Batching(100, True, 0)
    plan = plan_values((train, labels), (val, val_labels), Options(1.0, 1.0, 0.1, 1e-3, 500), batching)
    shares = [solve_share(plan, [take((train, labels), rows) for rows in share]) for share in plan.shares]
    # One item of the second share leaves, seven come, and all stand in another order.
    gone = int(plan.shares[1][0][3])
    order = np.random.default_rng(1).permutation(np.delete(np.arange(600), gone))
    more = blobs(seed=5, items=7)
    now = np.concatenate([train[order], more[0]]), np.concatenate([labels[order], more[1]])
    after = [names[row] for row in order] + [f"new {row}" for row in range(7)]
    extended, kept = extend_plan(plan, names, after, now[1], batching)
    assert kept == 2
    np.testing.assert_array_equal(np.sort(np.concatenate(extended.rows)), np.arange(606))
    assert extended.ground.items == 606
    for share, was in zip(extended.shares[:2], (plan.shares[0], plan.shares[2]), strict=True):
        for rows, before in zip(share, was, strict=True):
            assert [after[row] for row in rows] == [names[row] for row in before]
            np.testing.assert_array_equal(now[0][rows], train[before])
    fresh = {after[row] for share in extended.shares[2:] for rows in share for row in rows}
    lost = {names[row] for rows in plan.shares[1] for row in rows} - {names[gone]}
    assert fresh == lost | {f"new {row}" for row in range(7)}
    new = [solve_share(extended, [take(now, rows) for rows in share]) for share in extended.shares[2:]]
    agreed = combine_shares(extended, [shares[0], shares[2], *new])
    firsts = np.cumsum([0, *map(len, extended.shares)])
    valued = [
        value_share(extended, agreed, [take(now, rows) for rows in share], int(first))
        for share, first in zip(extended.shares, firsts, strict=False)
    ]
    values = join(extended, agreed, valued).values
    assert spearmanr(values, lava_values(*now, val, val_labels).values).statistic > 0.9


def test_copies_are_kept_as_often_as_they_were_there() -> None:
    train, labels, val, val_labels = blobs(items=6)
    names = ["a", "a", "b", "b", "c", "c"]
    plan = plan_values((train, labels), (val, val_labels), Options(1.0, 1.0, 0.1, 1e-3, 500), Batching(6, True, 0))
    same, kept = extend_plan(plan, names, names[::-1], labels, Batching(6, True, 0))
    assert (kept, len(same.shares)) == (1, 1)
    fewer, kept = extend_plan(plan, names, ["a", "b", "b", "c", "c"], labels[:5], Batching(6, True, 0))
    assert kept == 0
    np.testing.assert_array_equal(np.concatenate(fewer.rows), np.arange(5))


def test_a_division_into_small_batches_ranks_as_the_whole_does() -> None:
    """Whatever each batch happens to hold: the potentials are shared."""
    train, labels, val, val_labels = blobs(0, 1200, 300, classes=4, flipped=0.2)
    whole = lava_values(train, labels, val, val_labels).values
    for stratify in (True, False):
        found = sava_values(train, labels, val, val_labels, batch_size=100, stratify=stratify)
        assert spearmanr(found.values, whole).statistic > 0.95
        assert found.diagnostics["marginal_error"] <= 1e-3 < found.diagnostics["joint_error"] < 0.5


def test_batches_and_errors_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARE", 2)
    seen: list[int] = []
    found = sava_values(*blobs(), batch_size=20, tolerance=1e-5, progress=seen.append).diagnostics
    assert seen == [1] * 5
    assert found["batches"] == 5
    assert 0 < found["marginal_error"] <= 1e-5
    assert found["iterations"] >= 5 * 3


@pytest.mark.parametrize(("items", "size"), [(90, 20), (7, 3), (5, 10), (100, 1)])
def test_labels_are_dealt_evenly(items: int, size: int) -> None:
    labels = np.random.default_rng(0).integers(4, size=items)
    rows = Batching(size, True, 0).rows(items, labels)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(items))
    sizes = [len(own) for own in rows]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    for label in range(4):
        even = (labels == label).sum() / len(rows)
        assert all(abs((labels[own] == label).sum() - even) < 1 for own in rows)
    assert all((np.diff(own) > 0).all() for own in rows)


def test_the_seed_and_nothing_else_draws_batches() -> None:
    labels = np.arange(60) % 3
    for stratify in (True, False):
        drawn = [Batching(20, stratify, seed).rows(60, labels) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert any((one != other).any() for one, other in zip(drawn[0], drawn[2], strict=True))
    plain = Batching(20, False, 0).rows(60, labels)
    np.testing.assert_array_equal(plain, Batching(20, True, 0).rows(60, None))
    assert any((np.bincount(labels[own], minlength=3) != [7, 7, 6]).any() for own, _ in pairwise(plain))


def test_batches_that_can_be_read_once_are_refused() -> None:
    problem = blobs()
    batches = in_batches(problem, np.array_split(np.arange(90), 3))
    with pytest.raises(InputError, match="batches are read twice"):
        sava_values(iter(batches), None, *problem[2:])
    with pytest.raises(InputError, match="leave train_labels at None"):
        sava_values(batches, problem[1], *problem[2:])
    with pytest.raises(InputError, match="no training items"):
        sava_values([], None, *problem[2:])


@pytest.mark.parametrize("size", [0, -3])
def test_batches_of_nothing_are_refused(size: int) -> None:
    for value in (sava_values, batchwise_lava_values):
        with pytest.raises(InputError, match=f"at least 1 item, got a batch size of {size}"):
            value(*blobs(), batch_size=size)


def test_what_lava_refuses_is_refused_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels, val, val_labels = blobs()
    rows = np.array_split(np.arange(90), 3)
    train[70, 1] = np.nan
    batches = in_batches((train, labels, val, val_labels), rows)
    monkeypatch.setattr(ground, "CHUNK", 40)
    for given in ((train, labels), (batches, None)):
        with pytest.raises(InputError, match="training row 70 has nan in dimension 1"):
            sava_values(*given, val, val_labels)
    train[70, 1] = 0
    mixed = [*in_batches((train, labels, val, val_labels), rows[:2]), (train[rows[2]], None)]
    with pytest.raises(InputError, match="give both, or neither"):
        sava_values(mixed, None, val, val_labels)
    labels[70] = 5
    with pytest.raises(InputError, match="none has label 5"):
        sava_values(in_batches((train, labels, val, val_labels), rows), None, val, val_labels)
    with pytest.raises(InputError, match="epsilon is a finite number above 0, got 0"):
        sava_values(train, labels, val, val_labels, epsilon=0.0)
