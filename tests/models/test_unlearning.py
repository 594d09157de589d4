"""Unlearning: the direction on a small generator, and the Newton step where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.differentiable import of_denoiser
from royalty.models.generators.gradients import diffuse, noise_levels
from royalty.models.generators.unlearning import (
    _curvature,
    _split,
    gradient_ascent,
    influence_unlearning,
    mirrored_finetuning,
    newton_step,
)

SMALL = Architecture(image_size=8, channels=1, block_channels=(8, 16), layers_per_block=1)
NEWTON = {"timesteps": 4, "damping": 0.1, "seed": 0}


def striped(rows: bool) -> np.ndarray:
    """Eight images of bright stripes of random strength, across or down."""
    stripes = np.zeros((8, 1, 8, 8))
    stripes[:, :, ::2] = np.random.default_rng(int(rows)).uniform(150, 255, (8, 1, 1, 1))
    return (stripes if rows else stripes.swapaxes(2, 3)).astype(np.uint8)


KEPT, FORGOTTEN = striped(True), striped(False)


@pytest.fixture(scope="module")
def trained() -> bytes:
    model = DDPM.build(SMALL, seed=0)
    both = np.concatenate([KEPT, FORGOTTEN])
    model.fit(both, steps=80, batch_size=16, learning_rate=8e-3, ema_decay=0.95, seed=0)
    return model.to_bytes()


@torch.no_grad()
def loss(model: DDPM, images: np.ndarray) -> float:
    times, noise = noise_levels(of_denoiser(model), timesteps=20, seed=9)
    noisy, velocity = diffuse(of_denoiser(model), images, times, noise)
    output = model.unet(noisy.flatten(0, 1), times.repeat(len(images))).sample
    return torch.nn.functional.mse_loss(output, velocity.flatten(0, 1)).item()


def rises(trained: bytes, model: DDPM) -> tuple[float, float]:
    """By how much the loss on kept and on forgotten images rose."""
    before = DDPM.from_bytes(trained)
    return loss(model, KEPT) - loss(before, KEPT), loss(model, FORGOTTEN) - loss(before, FORGOTTEN)


def test_ascent_forgets_more_than_it_harms_and_repeats_exactly(trained: bytes) -> None:
    models = [DDPM.from_bytes(trained) for _ in range(2)]
    done: list[int] = []
    for model in models:
        losses = gradient_ascent(
            model, FORGOTTEN, steps=8, batch_size=16, learning_rate=0.02, seed=1, progress=done.append
        )
        assert len(losses) == 8
    assert sum(done) == 16
    kept, forgotten = rises(trained, models[0])
    assert forgotten > 0.05
    assert forgotten > 3 * kept
    assert models[0].to_bytes() == models[1].to_bytes()


def test_ascent_that_diverges_is_stopped(trained: bytes) -> None:
    with pytest.raises(ValueError, match=r"diverged: the loss of step .* is (inf|nan).* which is 1000"):
        gradient_ascent(DDPM.from_bytes(trained), FORGOTTEN, steps=50, batch_size=4, learning_rate=1e3, seed=0)


MIRRORED = {"batch_size": 16, "learning_rate": 8e-3, "ema_decay": 0.95, "seed": 1}


def share_forgotten(model: DDPM) -> float:
    """Fraction of sampled images that have stripes down rather than across."""
    images = model.sample(64, seed=3, steps=10)[:, 0].astype(float)
    down, across = (np.abs(np.diff(images, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1))
    return float((down > across).mean())


def test_mirrored_finetuning_samples_what_is_kept(trained: bytes) -> None:
    start, model, again = (DDPM.from_bytes(trained) for _ in range(3))
    done: list[int] = []
    losses = mirrored_finetuning(model, KEPT, FORGOTTEN, steps=40, **MIRRORED, progress=done.append)
    assert len(losses) == sum(done) == 40
    assert share_forgotten(start) > 0.3
    assert share_forgotten(model) < share_forgotten(start) / 3
    assert rises(trained, model)[0] < 0.02, "kept images are still learned"
    mirrored_finetuning(again, KEPT, FORGOTTEN, steps=40, **MIRRORED)
    assert again.to_bytes() == model.to_bytes()


def test_the_mirrored_target_is_on_the_other_side_of_the_start(trained: bytes) -> None:
    """With one image on both sides, mirrored and true targets cancel: the start stays the best prediction."""
    model = DDPM.from_bytes(trained)
    mirrored_finetuning(model, FORGOTTEN[:1], FORGOTTEN[:1], steps=60, **MIRRORED)
    plain = DDPM.from_bytes(trained)
    plain.fit(FORGOTTEN[:1], steps=60, **MIRRORED)
    before = loss(DDPM.from_bytes(trained), FORGOTTEN[:1])
    assert abs(loss(model, FORGOTTEN[:1]) - before) < 0.3 * (before - loss(plain, FORGOTTEN[:1]))


def test_impossible_mirrored_finetuning_is_refused(trained: bytes) -> None:
    model = DDPM.from_bytes(trained)
    with pytest.raises(ValueError, match="at least one image to forget; got none"):
        mirrored_finetuning(model, KEPT, FORGOTTEN[:0], steps=1, **MIRRORED)
    with pytest.raises(ValueError, match="got a batch size of 1"):
        mirrored_finetuning(model, KEPT, FORGOTTEN, steps=1, **MIRRORED | {"batch_size": 1})
    with pytest.raises(ValueError, match=r"diverged: the loss of step .* which is 1000"):
        mirrored_finetuning(model, KEPT, FORGOTTEN, steps=50, **MIRRORED | {"learning_rate": 1e3})


def test_influence_step_forgets_more_than_it_harms(trained: bytes) -> None:
    model, half = DDPM.from_bytes(trained), DDPM.from_bytes(trained)
    done: list[int] = []
    length = influence_unlearning(model, KEPT, FORGOTTEN, **NEWTON, progress=done.append)
    assert sum(done) == len(KEPT) + len(FORGOTTEN)
    kept, forgotten = rises(trained, model)
    assert forgotten > 0.05
    assert forgotten > 3 * kept
    before = [parameter.detach() for parameter in DDPM.from_bytes(trained).unet.parameters()]
    moved = [after - old for after, old in zip(model.unet.parameters(), before, strict=True)]
    assert torch.cat([change.flatten() for change in moved]).norm().item() == pytest.approx(length, rel=1e-3)
    assert influence_unlearning(half, KEPT, FORGOTTEN, **NEWTON, strength=0.5) == pytest.approx(length / 2, rel=1e-3)


def test_a_net_with_attention_has_an_influence_step_too() -> None:
    model = DDPM.build(Architecture(8, 1, (8, 16), 1, attention=(1,)), seed=0)
    assert influence_unlearning(model, KEPT, FORGOTTEN, **NEWTON) > 0


def test_order_of_images_and_a_partial_fisher_matrix(trained: bytes) -> None:
    lengths = [
        influence_unlearning(DDPM.from_bytes(trained), kept, FORGOTTEN, **NEWTON, batch_size=batch_size)
        for kept, batch_size in [(KEPT, 400), (KEPT[::-1], 20)]
    ]
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-2)
    model = DDPM.from_bytes(trained)
    influence_unlearning(model, KEPT, FORGOTTEN, **NEWTON, fisher_images=4)
    kept, forgotten = rises(trained, model)
    assert forgotten > 0.05
    assert forgotten > 2 * kept


def test_forgetting_copies_of_what_is_kept_moves_nothing(trained: bytes) -> None:
    reference = influence_unlearning(DDPM.from_bytes(trained), KEPT, FORGOTTEN, **NEWTON)
    assert influence_unlearning(DDPM.from_bytes(trained), KEPT, KEPT, **NEWTON, fisher_images=4) < 1e-2 * reference


def test_newton_step_solves_least_squares_without_some_rows() -> None:
    """All residuals have one size, so that the Fisher matrix is the Hessian up to a factor."""
    columns = torch.from_numpy(hadamard(32)).double()
    mix = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features, residual = columns[:, 1:6] @ mix, 0.3 * columns[:, 9]
    target = features @ torch.arange(5.0).double() + residual
    full = torch.linalg.lstsq(features, target[:, None]).solution[:, 0]
    kept = torch.arange(32) >= 6
    exact = torch.linalg.lstsq(features[kept], target[kept, None]).solution[:, 0]
    gradients = 2 * (features @ full - target)[:, None] * features
    hessian = 2 * features[kept].T @ features[kept] / kept.sum()
    slope = gradients.mean(dim=0) - gradients[kept].mean(dim=0)
    step = newton_step(gradients[kept], slope, lambda d: (d @ hessian @ d).item(), damping=1e-7)
    assert (exact - full).norm() > 1e-2
    torch.testing.assert_close(full + step, exact, rtol=1e-5, atol=1e-5)


def test_newton_step_with_damping_is_the_written_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    for samples, parameters in [(4, 9), (9, 4)]:
        gradients = torch.randn(samples, parameters, generator=generator, dtype=torch.float64)
        slope = torch.randn(parameters, generator=generator, dtype=torch.float64)
        fisher = gradients.T @ gradients / samples
        damped = fisher + 0.3 * fisher.trace() / 4 * torch.eye(parameters, dtype=torch.float64)
        direction = torch.linalg.solve(damped, slope)
        step = newton_step(gradients, slope, lambda d: 5 * (d @ d).item(), damping=0.3)
        torch.testing.assert_close(step, direction * (slope @ direction) / (5 * direction @ direction))


def test_curvature_is_the_squared_change_of_the_output(trained: bytes) -> None:
    """Against central differences of the net's output."""
    model = DDPM.from_bytes(trained)
    size = sum(parameter.numel() for parameter in model.unet.parameters())
    direction = torch.randn(size, generator=torch.Generator().manual_seed(0))
    times, noise = noise_levels(of_denoiser(model), timesteps=5, seed=0)
    noisy = diffuse(of_denoiser(model), KEPT[:2], times, noise)[0].flatten(0, 1)
    outputs = []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, part in zip(model.unet.parameters(), _split(model, direction).values(), strict=True):
                parameter.add_(sign * 1e-3 * part)
            outputs.append(model.unet(noisy, times.repeat(2)).sample)
    expected = 2 * ((outputs[0] - outputs[1]) / 2e-3).square().mean().item()
    for batch_size in (400, 2):
        model = DDPM.from_bytes(trained)
        curvature = _curvature(model, KEPT[:2], direction, timesteps=5, seed=0, batch_size=batch_size)
        assert curvature == pytest.approx(expected, rel=1e-2)


def test_nothing_to_keep_or_forget_is_refused(trained: bytes) -> None:
    model = DDPM.from_bytes(trained)
    for kept, forgotten, message in [(KEPT[:0], FORGOTTEN, "to keep"), (KEPT, FORGOTTEN[:0], "to forget")]:
        with pytest.raises(ValueError, match=message):
            influence_unlearning(model, kept, forgotten, **NEWTON)
    with pytest.raises(ValueError, match="to forget"):
        gradient_ascent(model, FORGOTTEN[:0], steps=1, batch_size=1, learning_rate=1e-3, seed=0)
    with pytest.raises(ValueError, match="above 0; got 0"):
        influence_unlearning(model, KEPT, FORGOTTEN, **NEWTON | {"damping": 0.0})
    assert model.to_bytes() == trained
