"""Values from linear heads: wrong labels are found, and the closed forms are those of the definitions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.func import grad, vmap

from royalty.models.base.errors import InputError
from royalty.models.encoders.head import BATCH, LEARNING_RATE, descend, fit_head
from royalty.models.valuation.item_baselines import (
    alignment,
    confidence_values,
    el2n_values,
    influence_values,
    prototype_values,
    tracin_values,
)
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.kairos import kairos_values
from royalty.models.valuation.pruning_baselines import cluster_centre_values, el2n_window_values
from royalty.models.valuation.training_baselines import confident_learning_values, out_of_bag_values

METHODS: dict[str, Callable[..., ItemValues]] = {
    "confidence": partial(confidence_values, seed=0),
    "el2n": partial(el2n_values, seed=0),
    "el2n-window": partial(el2n_window_values, seed=0, kept=0.9),
    "prototype": prototype_values,
    "tracin": partial(tracin_values, seed=0),
    "influence": influence_values,
    "data-oob": partial(out_of_bag_values, seed=0),
    "confident-learning": partial(confident_learning_values, seed=0),
    "kairos": kairos_values,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def blobs(seed: int, items: int, classes: int = 3, dimensions: int = 6, apart: float = 3) -> tuple[np.ndarray, ...]:
    """Features around one centre a class, in float32 and far from standardized, and labels; all classes occur."""
    centres = np.random.default_rng(99).normal(size=(classes, dimensions)) * apart
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=items - classes)])
    features = centres[labels] + generator.normal(size=(items, dimensions))
    return (features * 5 + 20).astype(np.float32), labels


def flipped(seed: int, items: int = 300) -> tuple[np.ndarray, ...]:
    """Blobs of which a tenth have a wrong label, clean validation, and which are wrong."""
    train, labels = blobs(seed, items)
    wrong = np.zeros(items, dtype=bool)
    wrong[np.random.default_rng(seed).choice(items, items // 10, replace=False)] = True
    return train, np.where(wrong, (labels + 1) % 3, labels), *blobs(seed + 1, 90), wrong


def loss(weights: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(torch.from_numpy(rows) @ torch.from_numpy(weights), torch.tensor(targets))


@every_method
@pytest.mark.parametrize("seed", [0, 10])
def test_wrong_labels_are_worth_less(method: Callable[..., ItemValues], seed: int) -> None:
    *items, wrong = flipped(seed)
    values = method(*items)
    assert values.values.shape == wrong.shape
    assert values.values.dtype == np.float64
    assert roc_auc_score(~wrong, values.values) > 0.9
    again = method(*items)
    np.testing.assert_array_equal(again.values, values.values)
    assert again.diagnostics == values.diagnostics


@every_method
def test_units_of_features_and_names_of_labels_say_nothing(method: Callable[..., ItemValues]) -> None:
    train, labels, val, val_labels, _ = flipped(2, items=60)
    train, val = train.astype(np.float64), val.astype(np.float64)
    values = method(train, labels, val, val_labels).values
    moved = method(train * 8 + 3, 10 * labels + 5, val * 8 + 3, 10 * val_labels + 5).values
    scale = 8 if method is prototype_values else 1
    np.testing.assert_allclose(moved, values * scale, rtol=1e-5, atol=1e-8)


@every_method
def test_one_item_a_class_and_a_class_of_validation_alone(method: Callable[..., ItemValues]) -> None:
    val, val_labels = blobs(4, 40, classes=4)
    train, labels = blobs(5, 3)
    values = method(train, labels, val, val_labels)
    assert np.isfinite(values.values).all()
    single = method(train, np.zeros(3, dtype=np.int64), val, val_labels)
    assert np.isfinite(single.values).all()


@every_method
def test_bad_items_are_refused(method: Callable[..., ItemValues]) -> None:
    train, labels, val, val_labels, _ = flipped(0, items=30)
    with pytest.raises(InputError, match="none has label 7"):
        method(train, np.append(labels[1:], 7), val, val_labels)
    with pytest.raises(InputError, match="one label, an integer"):
        method(train, labels[1:], val, val_labels)
    val[3, 2] = np.inf
    with pytest.raises(InputError, match="validation row 3 has inf in dimension 2"):
        method(train, labels, val, val_labels)
    train[4, 1] = np.nan
    with pytest.raises(InputError, match="training row 4 has nan in dimension 1"):
        method(train, labels, val, val_labels)


def test_bad_settings_are_refused() -> None:
    items = flipped(0, items=30)[:4]
    for folds in (1, 91):
        with pytest.raises(InputError, match=f"validation items that differ, 90; got {folds}"):
            confidence_values(*items, seed=0, folds=folds)
    with pytest.raises(InputError, match="at least one of runs, got 0"):
        el2n_values(*items, seed=0, runs=0)
    with pytest.raises(InputError, match="at least one of epochs, got 0"):
        tracin_values(*items, seed=0, epochs=0)
    for penalty in (0, -1, np.inf, np.nan):
        with pytest.raises(InputError, match="a number above 0"):
            influence_values(*items, penalty=penalty)


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_the_head_ends_where_its_gradient_is_zero(penalty: float) -> None:
    features, labels = blobs(0, 100, apart=0.3)
    head = fit_head(features, labels * 3, penalty=penalty)
    weights = torch.from_numpy(head.weights).requires_grad_()
    rows = (features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)) / features.std(axis=0, dtype=float)
    rows = np.hstack([rows, np.ones((100, 1))])
    fit = torch.nn.functional.cross_entropy(torch.from_numpy(rows) @ weights, torch.from_numpy(labels))
    (gradient,) = torch.autograd.grad(fit + penalty / 2 * weights.square().sum(), weights)
    assert float(gradient.abs().max()) < 1e-6
    assert head.gradient < 1e-6
    np.testing.assert_array_equal(head.classes, [0, 3, 6])
    np.testing.assert_allclose(
        head.probabilities(features), torch.softmax(torch.from_numpy(rows) @ weights, 1).detach()
    )


def test_a_constant_dimension_changes_nothing_but_is_allowed() -> None:
    features, labels = blobs(0, 50)
    padded = np.hstack([features, np.full((50, 1), 0.1, np.float32)])
    padded_head, head = fit_head(padded, labels), fit_head(features, labels)
    np.testing.assert_allclose(padded_head.probabilities(padded), head.probabilities(features), atol=1e-6)


def test_a_wrong_label_in_validation_too_is_not_trusted() -> None:
    val, val_labels = blobs(1, 90)
    val[7:12], val_labels[6:12] = val[6], (val_labels[6] + 1) % 3  # copies must not vouch for one another
    train, labels = np.concatenate([val[:60], val[:60] + 0.01]), np.tile(val_labels[:60], 2)
    for seed in range(5):
        values = confidence_values(train, labels, val, val_labels, seed=seed)
        assert values.values[6:12].max() < 0.1
        assert values.values[66:72].min() > 0.5  # all but the same: heads that saw these labels vouch for them
        assert np.median(values.values) > 0.9
        assert values.diagnostics["copies"] == 60


def test_an_item_whose_label_nothing_else_has_is_worth_nothing() -> None:
    val, val_labels = blobs(1, 40)
    val_labels[5] = 9
    train, labels = val[[5, 5, 8]] + np.array([[0], [0.01], [0]], np.float32), np.array([9, 9, val_labels[8]])
    values = confidence_values(train, labels, val, val_labels, seed=0).values
    assert values[0] == 0 < values[1]


def test_gradient_products_are_those_of_gradients_of_single_items() -> None:
    generator = np.random.default_rng(0)
    rows, val_rows, weights = (generator.normal(size=size) for size in ((12, 5), (7, 5), (5, 3)))
    targets, val_targets = generator.integers(3, size=12), generator.integers(3, size=7)

    def item_loss(at: torch.Tensor, row: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy((row @ at)[None], target[None])

    gradients = vmap(grad(item_loss), in_dims=(None, 0, 0))
    own, other = (
        gradients(torch.from_numpy(weights), torch.from_numpy(x), torch.from_numpy(y))
        for x, y in ((rows, targets), (val_rows, val_targets))
    )
    expected = (own * other.mean(dim=0)).sum(dim=(1, 2))
    np.testing.assert_allclose(alignment(rows, targets, val_rows, val_targets, weights), expected, atol=1e-12)


def test_descent_in_one_batch_is_gradient_descent() -> None:
    generator = np.random.default_rng(0)
    rows, targets = generator.normal(size=(BATCH, 4)), generator.integers(3, size=BATCH)
    start = generator.normal(size=(4, 3))
    weights = torch.from_numpy(start).requires_grad_()
    for after in descend(rows, targets, start, epochs=3, generator=generator):
        fit = torch.nn.functional.cross_entropy(torch.from_numpy(rows) @ weights, torch.from_numpy(targets))
        weights = (weights - LEARNING_RATE * torch.autograd.grad(fit, weights)[0]).detach().requires_grad_()
        np.testing.assert_allclose(after, weights.detach(), atol=1e-12)


@pytest.mark.parametrize("penalty", [1e-2, 0.3])
def test_influence_is_what_leaving_an_item_out_costs(penalty: float) -> None:
    train, labels = blobs(0, 80, apart=0.7)
    labels[::9] = (labels[::9] + 1) % 3
    val, val_labels = blobs(1, 60, apart=0.7)
    n = len(train)
    values = influence_values(train, labels, val, val_labels, penalty=penalty)

    def validation_loss(kept: np.ndarray) -> float:
        # The other items keep the weight 1 / n that they have in the whole.
        head = fit_head(train[kept], labels[kept], penalty=penalty * n / kept.sum())
        return float(loss(head.weights, head.rows(val), val_labels))

    everybody = np.ones(n, dtype=bool)
    whole = validation_loss(everybody)
    costs = np.array([validation_loss(everybody & (np.arange(n) != item)) - whole for item in range(n)])
    assert np.corrcoef(values.values, costs)[0, 1] > 0.95
    assert np.polyfit(values.values, costs, 1)[0] == pytest.approx(1, abs=0.25)
    large = np.abs(costs) > np.median(np.abs(costs))
    assert (np.sign(values.values) == np.sign(costs))[large].mean() > 0.95
    assert values.diagnostics["residual"] < 1e-5
    assert values.diagnostics["gradient"] < 1e-6


def test_progress_counts_the_work() -> None:
    items = flipped(0, items=30)[:4]
    for method, expected in (
        (partial(confidence_values, seed=0, folds=3), 3),
        (partial(el2n_values, seed=0, runs=4), 4),
        (partial(el2n_window_values, seed=0, runs=4), 9),
        (partial(cluster_centre_values, seed=0), 1),
        (prototype_values, 3),
        (partial(tracin_values, seed=0, epochs=6), 6),
        (partial(out_of_bag_values, seed=0, bags=20), 20),
        (partial(confident_learning_values, seed=0, folds=4), 4),
        (kairos_values, 2),
    ):
        done: list[int] = []
        method(*items, progress=done.append)
        assert sum(done) == expected
    done = []
    influence_values(*items, progress=done.append)
    assert sum(done) > 10
