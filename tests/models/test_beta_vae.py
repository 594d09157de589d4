"""The beta-VAE: its loss in closed form, its training, and images in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from royalty.models.base.errors import InputError
from royalty.models.generators.beta_vae import LATENTS, BetaVAE
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.generator import Generator

TRAINING = {"batch_size": 8, "learning_rate": 1e-3}


def pictures(n: int, shape: tuple[int, int, int] = (1, 28, 28), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_minus_the_evidence_lower_bound(beta: float) -> None:
    """At beta 1 exactly, up to the constant of the normal density; the divergence as torch computes it."""
    model = BetaVAE((1, 28, 28), beta=beta, seed=0)
    shown, noise = model.framed(pictures(5)), torch.randn(5, LATENTS, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        mean, log_variance = model.encoder(shown).chunk(2, dim=1)
        posterior = Normal(mean, (log_variance / 2).exp())
        likelihood = Normal(model.decoder(mean + posterior.stddev * noise), 1.0).log_prob(shown).flatten(1).sum(dim=1)
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
        constant = 32 * 32 * np.log(2 * np.pi) / 2
        torch.testing.assert_close(
            model(shown, noise), -likelihood - constant + beta * divergence, rtol=1e-5, atol=1e-3
        )


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 9)])
def test_images_keep_their_shape_and_place(shape: tuple[int, int, int]) -> None:
    model = BetaVAE(shape, seed=0)
    images = pictures(3, shape)
    framed = model.framed(images)
    assert framed.shape == (3, shape[0], 32, 32)
    added = (32 * 32 - shape[1] * shape[2]) * shape[0]
    border = framed.flatten(1).sum(dim=1) - torch.from_numpy(images / 127.5 - 1).flatten(1).sum(dim=1)
    torch.testing.assert_close(border.double(), torch.full((3,), -float(added)).double(), rtol=0, atol=1e-2)
    made = model.sample(2, seed=0)
    assert made.shape == (2, *shape)
    assert made.dtype == np.uint8


def test_the_border_is_cut_off_where_it_was_put_on() -> None:
    model = BetaVAE((1, 8, 9), seed=0)
    images = pictures(3, (1, 8, 9))
    model.decoder = _Constant(model.framed(images))
    np.testing.assert_array_equal(model.sample(3, seed=0), images)


class _Constant(torch.nn.Module):
    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.answer


def test_training_learns_and_repeats_exactly() -> None:
    images = np.where(pictures(40, seed=1)[:, :, :1, :1] > 127, 230, 30).astype(np.uint8) * np.ones(
        (1, 1, 28, 28), dtype=np.uint8
    )
    models, losses, done = [BetaVAE((1, 28, 28), seed=0) for _ in range(2)], [], []
    state = torch.random.get_rng_state()
    for model in models:
        losses.append(model.fit(images, steps=30, **TRAINING, seed=3, progress=done.append))
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert losses[0] == losses[1]
    assert sum(done) == 60
    assert np.mean(losses[0][-5:]) < 0.7 * np.mean(losses[0][:5])
    np.testing.assert_array_equal(models[0].sample(4, seed=2), models[1].sample(4, seed=2))
    assert (models[0].sample(4, seed=2) != models[0].sample(4, seed=1)).any()
    assert BetaVAE((1, 28, 28), seed=0).fit(images, steps=2, **TRAINING, seed=4) != losses[0][:2]


def test_saved_and_loaded_it_is_the_same() -> None:
    model = BetaVAE((3, 32, 32), beta=2.5, seed=0)
    model.fit(pictures(3, (3, 32, 32)), steps=2, **TRAINING, seed=0)  # a set smaller than a batch
    again = BetaVAE.from_bytes(model.to_bytes())
    assert again.beta == 2.5
    assert again.to_bytes() == model.to_bytes()
    np.testing.assert_array_equal(again.sample(3, seed=1), model.sample(3, seed=1))


def test_every_generator_is_asked_in_the_same_words() -> None:
    generators: list[Generator] = [BetaVAE((1, 8, 8), seed=0), DDPM.build(Architecture(8, 1, (8, 8), 1), seed=0)]
    for generator in generators:
        assert generator.sample(2, seed=0).shape == (2, 1, 8, 8)


def test_bad_images_and_divergence_are_errors() -> None:
    model = BetaVAE((1, 28, 28), seed=0)
    for images, told in (
        (pictures(2, (1, 32, 32)), r"\(2, 1, 32, 32\)"),
        (pictures(2) / 255, "float64"),
        (pictures(0), "one or more uint8 images"),
    ):
        with pytest.raises(InputError, match=told):
            model.fit(images, steps=1, **TRAINING, seed=0)
    for shape in ((1, 33, 28), (1, 28, 40), (0, 28, 28)):
        with pytest.raises(InputError, match="at most 32"):
            BetaVAE(shape, seed=0)
    with pytest.raises(ValueError, match=r"diverged.*lower the learning rate, which is 1e\+20"):
        model.fit(pictures(8), steps=20, batch_size=4, learning_rate=1e20, seed=0)
