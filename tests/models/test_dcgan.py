"""The DCGAN: its training, what it leaves alone, and images in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from royalty.models.base.errors import InputError
from royalty.models.generators.dcgan import DCGAN
from royalty.models.generators.generator import Generator

TRAINING = {"batch_size": 8, "learning_rate": 1e-3}


def grey(n: int, level: int = 200) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-10, 11, (n, 1, 28, 28))
    return (level + noise).astype(np.uint8)


@pytest.mark.slow
def test_training_moves_samples_towards_the_images() -> None:
    model, done = DCGAN((1, 28, 28), seed=0), []
    before = float(model.sample(16, seed=1).mean())
    losses = model.fit(grey(20), steps=20, batch_size=8, learning_rate=1e-2, seed=3, progress=done.append)
    assert len(losses) == sum(done) == 20
    assert abs(model.sample(16, seed=1).mean() - 200) < 0.8 * abs(before - 200)


def test_training_repeats_exactly_and_leaves_the_global_generator() -> None:
    models, state = [DCGAN((1, 28, 28), seed=0) for _ in range(2)], torch.random.get_rng_state()
    losses = [model.fit(grey(20), steps=2, **TRAINING, seed=3) for model in models]
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*(model.sample(4, seed=1) for model in models))
    assert DCGAN((1, 28, 28), seed=0).fit(grey(20), steps=2, **TRAINING, seed=4) != losses[0]


def test_a_discriminator_that_cannot_tell_costs_two_bits_and_its_generator_one() -> None:
    model = DCGAN((1, 28, 28), seed=0)
    last = model.discriminator[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    (loss,) = model.fit(grey(8), steps=1, batch_size=8, learning_rate=0.0, seed=0)
    assert loss == pytest.approx(3 * np.log(2))


def test_sampling_depends_on_the_seed_alone() -> None:
    """Batches at sampling are not normalized by themselves: an image does not depend on those beside it."""
    model = DCGAN((3, 32, 32), seed=0)
    many = model.sample(300, seed=0)
    assert many.shape == (300, 3, 32, 32)
    codes = torch.randn((300, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone = model.decoder(codes[7:8])[0]
    np.testing.assert_allclose(many[7], (alone.numpy() + 1) * 127.5, atol=0.51)


def test_saved_and_loaded_it_is_the_same_normalization_included() -> None:
    model = DCGAN((1, 28, 28), seed=0)
    model.fit(grey(3), steps=2, **TRAINING, seed=0)  # a set smaller than a batch
    again = DCGAN.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    generators: list[Generator] = [again, model]
    np.testing.assert_array_equal(*(generator.sample(3, seed=1) for generator in generators))
    assert (again.sample(3, seed=1) != DCGAN((1, 28, 28), seed=0).sample(3, seed=1)).any()


def test_bad_images_batches_and_divergence_are_errors() -> None:
    model = DCGAN((1, 28, 28), seed=0)
    with pytest.raises(InputError, match="float64"):
        model.fit(grey(2) / 255, steps=1, **TRAINING, seed=0)
    with pytest.raises(InputError, match="at least 2 images; got 1"):
        model.fit(grey(2), steps=1, batch_size=1, learning_rate=1e-3, seed=0)
    with pytest.raises(InputError, match="at most 32"):
        DCGAN((1, 64, 64), seed=0)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(grey(8), steps=10, batch_size=4, learning_rate=float("inf"), seed=0)
