"""Generator and pruning, on models small enough to train in a second."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from royalty.models.base.choices import SchedulerName
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.pruning import prune, size_of

SMALL = Architecture(image_size=8, channels=1, block_channels=(8, 16), layers_per_block=1)
TRAINING = {"batch_size": 8, "learning_rate": 1e-3, "ema_decay": 0.99}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)


def weights(model: DDPM) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.unet.parameters()])


def test_training_learns_and_repeats_exactly(images: np.ndarray) -> None:
    flat = np.full_like(images, 40)
    losses, steps = [], []
    models = [DDPM.build(SMALL, seed=0) for _ in range(2)]
    for model in models:
        losses.append(model.fit(flat, steps=60, **TRAINING | {"learning_rate": 5e-3}, seed=3, progress=steps.append))
    assert losses[0] == losses[1]
    assert sum(steps) == 120
    assert np.mean(losses[0][-10:]) < 0.5 * np.mean(losses[0][:10])
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=0, atol=0)
    made = models[0].sample(16, seed=0, steps=10)
    assert made.dtype == np.uint8
    assert made.shape == (16, 1, 8, 8)
    assert abs(float(made.mean()) - 40) < 25


def test_the_average_starts_anew_with_each_training(images: np.ndarray) -> None:
    """After enough steps no trace of the weights before remains, as a carried-over average would keep."""
    model = DDPM.build(SMALL, seed=0)
    with torch.no_grad():
        for parameter in model.unet.conv_out.parameters():
            parameter.add_(100.0)
    before = model.unet.conv_out.bias.item()
    model.fit(images, steps=40, **TRAINING | {"learning_rate": 1.0}, seed=0)
    assert model.unet.conv_out.bias.item() < before - 10


def test_sampling_shares_noise_and_ignores_batch_size_of_the_whole(images: np.ndarray) -> None:
    model = DDPM.build(SMALL, seed=0)
    first = model.sample(10, seed=5, steps=3)
    np.testing.assert_array_equal(first, model.sample(10, seed=5, steps=3))
    np.testing.assert_array_equal(first[:4], model.sample(10, seed=5, steps=3, batch_size=10)[:4])
    assert (first != model.sample(10, seed=6, steps=3)).any()
    two_batches = model.sample(8, seed=5, steps=3, batch_size=4)
    assert (two_batches[:4] != two_batches[4:]).any()


@pytest.mark.parametrize(("scheduler", "error"), [("ddim", 2.0), ("dpm-solver++", 0.5), ("pndm", 1.0), ("unipc", 0.5)])
def test_sampling_solves_the_flow_of_a_gaussian(scheduler: SchedulerName, error: float) -> None:
    """Of pixels that are normal the velocity is known, and so is the image that each noise leads to."""
    mean, deviation, model = 0.1, 0.25, DDPM.build(SMALL, seed=0)

    def velocity(latent: torch.Tensor, time: torch.Tensor) -> SimpleNamespace:
        kept = model.scheduler.alphas_cumprod[time]
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        slope = (latent - signal * mean) / (kept * deviation**2 + noise**2)
        return SimpleNamespace(sample=noise * slope * signal - noise * (latent - noise**2 * slope) / signal)

    start = torch.randn((64, 1, 8, 8), generator=torch.Generator().manual_seed(4 * 1_000_003))
    expected = ((mean + deviation * start).clamp(-1, 1) + 1) * 127.5
    velocity.device = torch.device("cpu")
    model.unet = velocity
    errors = np.abs(model.sample(64, seed=4, steps=40, scheduler=scheduler) - expected.numpy())
    assert errors.mean() < error  # rounding alone is 0.25; DDIM is of first order, and so are the first steps of PNDM


def test_set_smaller_than_a_batch_and_a_single_image(images: np.ndarray) -> None:
    for count in (1, 3):
        losses = DDPM.build(SMALL, seed=0).fit(images[:count], steps=2, **TRAINING, seed=0)
        assert np.isfinite(losses).all()


def test_pruned_model_is_smaller_saved_loaded_and_trained(images: np.ndarray) -> None:
    model = DDPM.build(Architecture(8, 1, (16, 32), 1), seed=0)
    before = size_of(model.unet)
    prune(model.unet, 0.5)
    after = size_of(model.unet)
    assert abs(after.parameters / before.parameters - 0.5) < 0.02
    assert after.multiply_adds < 0.6 * before.multiply_adds
    loaded = DDPM.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(loaded.sample(4, seed=0, steps=3), model.sample(4, seed=0, steps=3))
    assert loaded.to_bytes() == model.to_bytes()
    loaded.fit(images, steps=2, **TRAINING, seed=0)
    assert (weights(loaded) != weights(model)).any()


def test_two_prunings_do_not_share_state() -> None:
    sizes = []
    for channels in ((16, 32), (8, 16), (16, 32)):
        model = DDPM.build(Architecture(8, 1, channels, 1), seed=0)
        prune(model.unet, 0.3)
        sizes.append(size_of(model.unet))
    assert sizes[0] == sizes[2]


def test_colour_and_three_levels() -> None:
    model = DDPM.build(Architecture(16, 3, (8, 8, 16), 1), seed=0)
    prune(model.unet, 0.5)
    assert model.sample(2, seed=0, steps=2).shape == (2, 3, 16, 16)


def test_a_model_says_what_its_images_are_generated_for() -> None:
    plain = Architecture(8, 1, (8, 16), 1)
    assert DDPM.build(plain, seed=0).asked(["cat", "dog"]) == ()
    conditional = Architecture(8, 1, (8, 16), 1, classes=2)
    assert DDPM.build(conditional, seed=0).asked(["cat", "dog", "never trained on"]) == ("cat", "dog")


def test_untrained_forgets_everything_but_the_shape(images: np.ndarray) -> None:
    model = DDPM.build(SMALL, seed=0)
    prune(model.unet, 0.3)
    other = DDPM.from_bytes(model.to_bytes())
    other.fit(images, steps=3, **TRAINING, seed=0)
    torch.testing.assert_close(weights(other.untrained(seed=1)), weights(model.untrained(seed=1)), rtol=0, atol=0)
    assert size_of(other.untrained(seed=1).unet) == size_of(model.unet)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    DDPM.build(SMALL, seed=0).untrained(seed=0)
    torch.testing.assert_close(torch.rand(3), expected)


def test_patches_are_the_pixels_in_other_places_and_mirrored_as_pixels_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    model = DDPM.build(Architecture(8, 3, (8, 16), 1, flip=True, patch=2), seed=0)
    assert model.noise_shape == (12, 4, 4)
    learned = model.learned(images)
    assert learned.shape == (3, 12, 4, 4)
    np.testing.assert_allclose(learned[0, :4, 1, 2], images[0, 0, 2:4, 4:6].reshape(-1) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(model.pictured(learned), images)
    np.testing.assert_array_equal(model.source(images)[torch.tensor([2])], learned[2:])
    assert not model.architecture.plain
    assert model.sample(2, seed=0, steps=2).shape == (2, 3, 8, 8)
    assert DDPM.from_bytes(model.to_bytes()).architecture == model.architecture
