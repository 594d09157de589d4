"""What GeomLoss computes: a divergence with closed forms, and LAVA's transport as a check of its own solver."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.base import optional
from royalty.models.base.errors import InputError
from royalty.models.properties.property import Context
from royalty.models.properties.registry import chosen_property
from royalty.models.properties.sinkhorn import sinkhorn_divergence
from royalty.models.valuation.drift import drift
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.set_distance import set_distance
from royalty.models.valuation.transport import NotConverged

needs_geomloss = [
    pytest.mark.slow,  # CI installs the extra after the default suite
    pytest.mark.skipif(
        importlib.util.find_spec("geomloss") is None,
        reason="GeomLoss is in the extra `geomloss`: pip install 'royalty[geomloss]'",
    ),
]


def with_geomloss(test: Any) -> Any:
    for mark in needs_geomloss:
        test = mark(test)
    return test


def cloud(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def context(reference: np.ndarray) -> Context:
    return Context(reference, lambda images: images)


@with_geomloss
@pytest.mark.parametrize("blur", [0.1, 0.5, 2.0])
def test_a_set_moved_by_t_is_half_its_square_apart_and_its_gradient_is_t(blur: float) -> None:
    reference, moved = cloud(0, 80, 3), torch.tensor([0.3, -0.4, 0.0], dtype=torch.float64)
    features = (reference + moved).requires_grad_()
    divergence = sinkhorn_divergence(features, reference, blur=blur)
    assert float(divergence.detach()) == pytest.approx(0.25 / 2)
    (gradient,) = torch.autograd.grad(divergence, features)
    torch.testing.assert_close(len(features) * gradient, moved.expand(80, 3), atol=1e-6, rtol=0)


@with_geomloss
def test_equal_sets_in_any_order_are_0_apart_and_reach_bounds_an_outlier() -> None:
    reference = cloud(0, 60, 3)
    shuffled = reference[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert abs(float(sinkhorn_divergence(shuffled, reference))) < 1e-9
    outlier = torch.cat([reference, reference[:1] + 1000])
    assert float(sinkhorn_divergence(outlier, reference)) > 1000
    assert 0 < float(sinkhorn_divergence(outlier, reference, reach=1.0)) < 0.1


@with_geomloss
def test_the_property_is_higher_for_images_alike_and_takes_settings() -> None:
    draw = np.random.default_rng(0)
    reference, alike = (draw.integers(0, 128, size=(60, 1, 4, 4), dtype=np.uint8) for _ in range(2))
    brighter = alike + np.uint8(100)
    measured = chosen_property("sinkhorn@pixels").build(context(reference))
    assert measured.of(reference) == pytest.approx(0, abs=1e-6)
    assert measured.of(brighter) < measured.of(alike) < 0
    assert measured.stderr(alike) > 0
    local = chosen_property("sinkhorn(reach=0.3, blur=0.2)@pixels")
    assert local.title == "Sinkhorn divergence, negated, reach 0.3, blur 0.2, by pixels"
    assert local.build(context(reference)).of(brighter) > measured.of(brighter)


@with_geomloss
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_lava_by_geomloss_is_lava(kind: type) -> None:
    generator = np.random.default_rng(3)
    labels, val_labels = np.arange(60) % 3, np.arange(45) % 3
    centres = generator.normal(size=(3, 4))
    train = (centres[labels] + 0.6 * generator.normal(size=(60, 4))).astype(kind)
    val = (centres[val_labels] + 0.6 * generator.normal(size=(45, 4))).astype(kind)
    options = {"epsilon": 0.5, "tolerance": 1e-4, "max_iterations": 2048}
    ours = lava_values(train, labels, val, val_labels, **options)
    peer = lava_values(train, labels, val, val_labels, solver="geomloss", **options)
    assert 0 < peer.diagnostics["marginal_error"] <= 1e-4
    np.testing.assert_allclose(peer.values, ours.values, atol=2e-3 * np.ptp(ours.values))
    assert peer.diagnostics["distance"] == pytest.approx(ours.diagnostics["distance"], rel=1e-3)
    with pytest.raises(NotConverged, match="after 32 passes of GeomLoss"):
        lava_values(train, None, val, None, solver="geomloss", tolerance=1e-6, max_iterations=40)


@with_geomloss
@pytest.mark.parametrize("seed", range(3))
def test_labels_far_apart_are_solved_at_the_defaults(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels, val_labels = generator.integers(0, 5, 300), np.arange(150) % 5
    centres = 3 * generator.normal(size=(5, 16))
    train = centres[labels] + generator.normal(size=(300, 16))
    val = centres[val_labels] + generator.normal(size=(150, 16))
    ours = lava_values(train, labels, val, val_labels)
    peer = lava_values(train, labels, val, val_labels, solver="geomloss")
    assert peer.diagnostics["marginal_error"] <= 1e-3
    np.testing.assert_allclose(peer.values, ours.values, atol=0.01 * np.ptp(ours.values))


@with_geomloss
def test_the_distance_of_sets_by_geomloss_is_the_distance_of_sets() -> None:
    generator = np.random.default_rng(4)
    labels, others = np.arange(60) % 3, np.arange(48) % 3
    first, second = (generator.normal(size=(len(each), 4)) + each[:, None] for each in (labels, others))
    options = {"epsilon": 0.3, "tolerance": 1e-4}
    ours = set_distance(first, labels, second + 0.3, others, **options)
    peer = set_distance(first, labels, second + 0.3, others, solver="geomloss", **options)
    assert peer.diagnostics["iterations"] > 3 * 32
    assert peer.distance == pytest.approx(ours.distance, rel=1e-2)
    np.testing.assert_allclose(peer.parts, ours.parts, atol=1e-2 * np.ptp(ours.parts))
    assert set_distance(first, labels, first[::-1], labels[::-1], solver="geomloss", divisions=0).distance < 1e-3


@with_geomloss
@pytest.mark.parametrize("shift", [0.2, 1.0, 4.0])
def test_drift_is_the_divergence_that_geomloss_computes(shift: float) -> None:
    from geomloss import SamplesLoss

    before, after = cloud(5, 80, 3).numpy(), cloud(6, 70, 3).numpy() + shift
    scale = np.linalg.norm(before[:, None] - after, axis=2).std()
    loss = SamplesLoss("sinkhorn", p=1, blur=0.5 * scale, scaling=0.95, backend="tensorized")
    peer = float(loss(torch.from_numpy(before), torch.from_numpy(after)))
    assert drift(before, after, epsilon=0.5, tolerance=1e-5).distance == pytest.approx(peer, rel=0.01, abs=1e-3)


def test_what_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    named = r"geomloss, which is not installed; run `pip install 'royalty\[geomloss\]'`"
    with pytest.raises(InputError, match=named):
        lava_values([[0.0], [1.0]], None, [[0.0], [1.0]], None, solver="geomloss")
    with pytest.raises(InputError, match=named):
        set_distance([[0.0], [1.0]], None, [[0.0], [1.0]], None, solver="geomloss")
    with pytest.raises(InputError, match=named):
        sinkhorn_divergence(cloud(0, 3, 2), cloud(1, 3, 2))


@pytest.mark.parametrize(
    "written", ["sinkhorn(reach=0)", "sinkhorn(reach)", "sinkhorn(size=2)", "sinkhorn(reach=1,reach=2)", "fid(blur=1)"]
)
def test_settings_that_a_property_does_not_take_are_refused(written: str) -> None:
    with pytest.raises(InputError, match=r"settings of `(sinkhorn|fid)` are"):
        chosen_property(written)


def test_unreadable_properties_and_solvers_are_refused() -> None:
    with pytest.raises(InputError, match="a property is written"):
        chosen_property("sinkhorn(blur=1")
    with pytest.raises(InputError, match="`solver` is one of royalty, geomloss"):
        lava_values([[0.0], [1.0]], None, [[0.0], [1.0]], None, solver="pot")  # type: ignore[arg-type]
