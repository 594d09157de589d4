"""Projected gradients against plain autograd, and the rows against the images they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from royalty.models.generators import denoiser
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.differentiable import of_denoiser
from royalty.models.generators.gradients import (
    CountSketch,
    journey_gradients,
    loss_gradients,
    noise_levels,
    prediction_errors,
)

SMALL = Architecture(image_size=8, channels=1, block_channels=(4, 8), layers_per_block=1)
WHOLE = 20_000
"""More dimensions than the model has parameters: the projection is then an isometry."""


@pytest.fixture(scope="module")
def model() -> DDPM:
    return DDPM.build(SMALL, seed=0)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)


def gradient(model: DDPM, loss: torch.Tensor) -> np.ndarray:
    parts = torch.autograd.grad(loss, list(model.unet.parameters()))
    return torch.cat([part.flatten() for part in parts]).numpy()


def inner_products(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) @ rows.astype(np.float64).T


@pytest.mark.parametrize("loss", ["simple", "square", "absolute"])
def test_equals_autograd_of_the_mean_over_timesteps(model: DDPM, images: np.ndarray, loss: str) -> None:
    times, noise = noise_levels(of_denoiser(model), timesteps=5, seed=3)
    expected = []
    for image in torch.from_numpy(images).float() / 127.5 - 1:
        clean = image.expand(5, -1, -1, -1)
        output = model.unet(model.scheduler.add_noise(clean, noise, times), times).sample
        target = model.scheduler.get_velocity(clean, noise, times) if loss == "simple" else 0
        error = output - target
        expected.append(gradient(model, (error.abs() if loss == "absolute" else error**2).mean()))
    rows = loss_gradients(of_denoiser(model), images, loss=loss, timesteps=5, projection=WHOLE, seed=3)  # type: ignore[arg-type]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(inner_products(rows), inner_products(np.array(expected)), rtol=1e-4)


def test_errors_are_those_of_the_training_loss(model: DDPM, images: np.ndarray) -> None:
    times, noise = noise_levels(of_denoiser(model), timesteps=5, seed=3)
    errors = prediction_errors(of_denoiser(model), images, timesteps=5, seed=3, batch_size=2)
    clean = torch.from_numpy(images[4:5]).float().expand(5, -1, -1, -1) / 127.5 - 1
    with torch.no_grad():
        output = model.unet(model.scheduler.add_noise(clean, noise, times), times).sample
    squares = (output - model.scheduler.get_velocity(clean, noise, times)).square().mean(dim=(1, 2, 3))
    assert errors[4] == pytest.approx(float(squares.sqrt().mean()), rel=1e-5)


def test_row_i_is_of_image_i_whatever_the_batches(model: DDPM, images: np.ndarray) -> None:
    arguments = {"loss": "simple", "timesteps": 4, "projection": 64, "seed": 0}
    rows = loss_gradients(of_denoiser(model), images, **arguments)
    close = {"rtol": 1e-3, "atol": 1e-4 * np.abs(rows).max()}
    done: list[int] = []
    for batch_size in (3, 4, 12):  # part of an image's timesteps, one image, three of the seven
        batched = loss_gradients(of_denoiser(model), images, **arguments, batch_size=batch_size, progress=done.append)
        np.testing.assert_allclose(batched, rows, **close)
    assert sum(done) == 3 * len(images)
    order = np.array([5, 5, 0, 6, 2])
    np.testing.assert_allclose(
        loss_gradients(of_denoiser(model), images[order], **arguments, batch_size=12), rows[order], **close
    )
    assert np.abs(rows[0] - rows[1]).max() > 0.1 * np.abs(rows).max()


def test_timesteps_are_spread_over_all_but_zero(model: DDPM) -> None:
    times, _ = noise_levels(of_denoiser(model), timesteps=100, seed=0)
    assert (times[0], times[-1]) == (1, 999)
    assert set(times.diff().tolist()) <= {10, 11}


@pytest.mark.parametrize(("n", "batch_size"), [(6, 400), (6, 7), (3, 2)])
def test_journey_follows_the_sampling_path(
    model: DDPM, n: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each latent the target is the velocity between the finished image and the latent's own noise."""
    monkeypatch.setattr(denoiser, "SAMPLING_BATCH", 4)
    made, expected = model.sample(n, seed=2, steps=3, batch_size=4), []
    for batch, start in enumerate(range(0, n, 4)):
        generator = torch.Generator().manual_seed(2 * 1_000_003 + batch)
        path = [torch.randn((min(4, n - start), 1, 8, 8), generator=generator)]
        solver = model.solver(3)
        for time in solver.timesteps:
            with torch.no_grad():
                path.append(solver.step(model.unet(path[-1], time).sample, time, path[-1]).prev_sample)
        finished = path.pop().clamp(-1, 1)
        np.testing.assert_array_equal(((finished + 1) * 127.5).round().byte().numpy(), made[start : start + 4])
        for image in range(len(finished)):
            losses = []
            for time, latents in zip(solver.timesteps, path, strict=True):
                clean, latent = finished[image : image + 1], latents[image : image + 1]
                kept = model.scheduler.alphas_cumprod[time]
                noise = (latent - kept.sqrt() * clean) / (1 - kept).sqrt()
                velocity = model.scheduler.get_velocity(clean, noise, time)
                losses.append(((model.unet(latent, time).sample - velocity) ** 2).mean())
            expected.append(gradient(model, torch.stack(losses).mean()))
    done: list[int] = []
    rows = journey_gradients(
        of_denoiser(model),
        n=n,
        seed=2,
        steps=3,
        projection=WHOLE,
        projection_seed=5,
        batch_size=batch_size,
        progress=done.append,
    )
    assert sum(done) == n
    products = inner_products(np.array(expected))
    np.testing.assert_allclose(inner_products(rows), products, rtol=1e-3, atol=1e-4 * products.max())


def test_journey_and_loss_gradients_share_a_projection(model: DDPM, images: np.ndarray) -> None:
    """Inner products across the two are those of the whole gradients, as TRAK needs them."""
    shared = {"n": 4, "seed": 0, "steps": 2, "projection_seed": 1}
    products = [
        loss_gradients(of_denoiser(model), images, loss="simple", timesteps=3, projection=projection, seed=1)
        @ journey_gradients(of_denoiser(model), **shared, projection=projection).T
        for projection in (WHOLE, 4096)
    ]
    assert np.corrcoef(products[0].flat, products[1].flat)[0, 1] > 0.9


def test_the_sketch_keeps_inner_products_in_expectation() -> None:
    """Unbiased, with no more variance than the dense Gaussian projection's."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(500, generator=generator)
    second = 0.5 * first + torch.randn(500, generator=generator)
    pair, draws, projection = torch.stack([first, second]), 1000, 32
    products = []
    for seed in range(draws):
        projected = CountSketch(500, projection, seed=seed, device=torch.device("cpu"))(pair)
        products.append(torch.dot(projected[0], projected[1]).item())
    exact = torch.dot(first, second).item()
    gaussian = ((first @ first) * (second @ second) + exact**2).item() / projection
    assert abs(np.mean(products) - exact) < 4 * (gaussian / draws) ** 0.5
    assert 0.6 * gaussian < np.var(products) < 1.1 * gaussian


@pytest.mark.parametrize("projection", [7, 10, 30])
def test_the_sketch_is_linear_and_an_isometry_when_wide(projection: int) -> None:
    vectors = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    sketch = CountSketch(10, projection, seed=1, device=torch.device("cpu"))
    torch.testing.assert_close(sketch(2 * vectors[:1] - vectors[1:2]), 2 * sketch(vectors)[:1] - sketch(vectors)[1:2])
    if projection >= 10:
        torch.testing.assert_close(sketch(vectors) @ sketch(vectors).T, vectors @ vectors.T)


def test_nothing_is_left_behind(model: DDPM, images: np.ndarray) -> None:
    before = model.to_bytes()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    loss_gradients(of_denoiser(model), images, loss="simple", timesteps=2, projection=8, seed=0)
    journey_gradients(of_denoiser(model), n=2, seed=0, steps=2, projection=8, projection_seed=0)
    torch.testing.assert_close(torch.rand(3), expected)
    assert model.to_bytes() == before
    assert all(parameter.grad is None for parameter in model.unet.parameters())


def test_impossible_requests_are_refused(model: DDPM, images: np.ndarray) -> None:
    possible = {"loss": "simple", "timesteps": 2, "projection": 8, "seed": 0}
    for changed, message in [
        ({"loss": "cubic"}, "'cubic'"),
        ({"timesteps": 0}, "1 to 999 timesteps; got 0"),
        ({"timesteps": 1000}, "got 1000"),
        ({"projection": 0}, "at least 1 dimension; got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            loss_gradients(of_denoiser(model), images, **possible | changed)
