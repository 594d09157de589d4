"""Gradients of models that are told a class or a caption, against plain autograd of their training loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.differentiable import Differentiable, differentiable
from royalty.models.generators.generator import Generator, Resources
from royalty.models.generators.gradients import journey_gradients, loss_gradients, noise_levels, prediction_errors
from royalty.models.generators.lora import LoRA
from royalty.models.generators.registry import build_generator
from royalty.models.generators.small_pipeline import save_small_pipeline
from royalty.models.generators.unets import target_of
from tests.models.test_lora import SHOWN, built

LABELS = np.array([2, 0, 1, 1, 2, 0])
WHOLE = 200_000
"""More dimensions than the models have weights: the projection is then an isometry."""


@pytest.fixture(scope="module")
def told_class() -> DDPM:
    model = DDPM.build(
        Architecture(image_size=8, channels=1, block_channels=(4, 8), layers_per_block=1, classes=3, guidance=2.0),
        seed=0,
    )
    model.fit(
        SHOWN.images, labels=LABELS, steps=3, batch_size=6, learning_rate=1e-2, ema_decay=0.0, seed=0
    )  # a new net predicts zeros
    return model


@pytest.fixture(scope="module")
def told_caption(tmp_path_factory: pytest.TempPathFactory) -> LoRA:
    folder = tmp_path_factory.mktemp("base")
    save_small_pipeline(folder, side=8, seed=0)
    model = built(Resources(weights=lambda _name: folder))
    model.fit(SHOWN.images, texts=SHOWN.texts, steps=3, batch_size=4, learning_rate=1e-2, ema_decay=0.0, seed=5)
    return model


def learner_of(model: Generator) -> Differentiable:
    learner = differentiable(model)
    assert learner is not None
    return learner


@pytest.fixture(params=["told_class", "told_caption"])
def model(request: pytest.FixtureRequest) -> Generator:
    model: Generator = request.getfixturevalue(request.param)
    return model


def condition_of(model: Generator, image: int) -> torch.Tensor:
    """What the net is told about a training image, by the model's own parts."""
    if isinstance(model, DDPM):
        return torch.tensor([LABELS[image]])
    assert isinstance(model, LoRA)
    assert SHOWN.texts is not None
    return model.pipeline.embeddings([SHOWN.texts[image]], model.resources.rows)


def gradient(learner: Differentiable, loss: torch.Tensor) -> np.ndarray:
    """Of a loss with respect to the weights that training changes."""
    parameters = dict(learner.net.named_parameters())
    parts = torch.autograd.grad(loss, [parameters[name] for name in learner.weights])
    return torch.cat([part.flatten() for part in parts]).numpy()


def inner_products(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) @ rows.astype(np.float64).T


def test_gradients_are_of_the_loss_at_an_images_own_condition(model: Generator) -> None:
    learner, expected, errors = learner_of(model), [], []
    times, noise = noise_levels(learner, timesteps=3, seed=3)
    for image in range(6):
        clean = learner.learned(SHOWN.images[image : image + 1]).expand(3, -1, -1, -1)
        condition = condition_of(model, image)
        output = learner.net(
            learner.scheduler.add_noise(clean, noise, times), times, condition.expand(3, *condition.shape[1:])
        ).sample
        error = output - target_of(learner.scheduler, clean, noise, times)
        expected.append(gradient(learner, error.square().mean()))
        errors.append(float(error.detach().square().mean(dim=(1, 2, 3)).sqrt().mean()))
    given = learner.given(LABELS, SHOWN.texts, 6)
    rows = loss_gradients(learner, SHOWN.images, given, loss="simple", timesteps=3, projection=WHOLE, seed=3)
    assert learner.dimension == len(expected[0])
    products = inner_products(np.array(expected))
    np.testing.assert_allclose(inner_products(rows), products, rtol=1e-3, atol=1e-4 * products.max())
    measured = prediction_errors(learner, SHOWN.images, given, timesteps=3, seed=3)
    np.testing.assert_allclose(measured, errors, rtol=1e-4)


def test_the_condition_matters(model: Generator) -> None:
    learner = learner_of(model)
    given = learner.given(LABELS, SHOWN.texts, 6)
    assert given is not None
    settings = {"loss": "simple", "timesteps": 3, "projection": 64, "seed": 3}
    right = loss_gradients(learner, SHOWN.images, given, **settings)  # type: ignore[arg-type]
    wrong = loss_gradients(learner, SHOWN.images, given.roll(1, 0), **settings)  # type: ignore[arg-type]
    same = loss_gradients(learner, SHOWN.images, given, **settings, batch_size=4)  # type: ignore[arg-type]
    assert np.abs(right - wrong).max() > 1e-3 * np.abs(right).max()
    np.testing.assert_allclose(same, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


def test_the_journey_is_the_way_to_the_sampled_images(model: Generator) -> None:
    """With guidance, and of each image's own class or prompt; by the target of the training loss at every step."""
    learner = learner_of(model)
    name = "pndm" if isinstance(model, LoRA) else "unipc"
    made, expected = model.sample(4, seed=2, steps=3, scheduler=name), []
    asked = learner.asked(4)
    assert asked is not None
    latent = torch.randn((4, *learner.noise_shape), generator=torch.Generator().manual_seed(2 * 1_000_003))
    path, solver = [], learner.solver(3, name)
    for time in solver.timesteps:
        path.append((latent, time))
        with torch.no_grad():
            latent = solver.step(learner.predict(latent, time, asked), time, latent).prev_sample
    pictures = model.pipeline.decoded(latent, 1) if isinstance(model, LoRA) else model.pictured(latent)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(pictures, made)
    finished = latent.clamp(-1, 1) if learner.pixels else latent
    for image in range(4):
        losses = []
        for latents, time in path:
            kept = learner.scheduler.alphas_cumprod[time]
            noise = (latents[image] - kept.sqrt() * finished[image]) / (1 - kept).sqrt()
            target = target_of(learner.scheduler, finished[image][None], noise[None], time[None])
            output = learner.net(latents[image][None], time, asked[image][None]).sample
            losses.append((output - target).square().mean())
        expected.append(gradient(learner, torch.stack(losses).mean()))
    rows = journey_gradients(
        learner, n=4, seed=2, steps=3, scheduler=name, projection=WHOLE, projection_seed=0, batch_size=7
    )
    products = inner_products(np.array(expected))
    np.testing.assert_allclose(inner_products(rows), products, rtol=1e-3, atol=1e-4 * products.max())


def test_nothing_is_left_behind(model: Generator) -> None:
    before, learner = model.to_bytes(), learner_of(model)
    learner.net.zero_grad()
    given = learner.given(LABELS, SHOWN.texts, 6)
    loss_gradients(learner, SHOWN.images, given, loss="square", timesteps=2, projection=8, seed=0)
    assert model.to_bytes() == before
    assert all(weight.grad is None for weight in learner.net.parameters())


def test_a_condition_for_each_image_is_demanded(told_class: DDPM) -> None:
    learner, settings = learner_of(told_class), {"loss": "simple", "timesteps": 2, "projection": 8, "seed": 0}
    with pytest.raises(ValueError, match="needs 6 conditions, one for each image; got None"):
        loss_gradients(learner, SHOWN.images, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 5"):
        loss_gradients(learner, SHOWN.images, torch.zeros(5, dtype=torch.long), **settings)  # type: ignore[arg-type]
    plain = learner_of(
        DDPM.build(Architecture(image_size=8, channels=1, block_channels=(4, 8), layers_per_block=1), seed=0)
    )
    with pytest.raises(ValueError, match="without conditions needs none; got 6"):
        loss_gradients(plain, SHOWN.images, torch.zeros(6), **settings)  # type: ignore[arg-type]


def test_kinds_without_diffusion_have_none() -> None:
    settings = {"beta": 1.0}
    assert differentiable(build_generator("beta-vae", SHOWN, settings, seed=0, resources=Resources())) is None
