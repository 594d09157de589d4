"""Stacked training: the same as one model after the other, and blind to the company a model is in."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.denoiser import architecture_of
from royalty.models.generators.generator import Fits
from royalty.models.generators.pruning import prune
from royalty.models.generators.stacked import fit_stacked
from royalty.tasks.config.generators import DDPMConfig

STEPS = 4
TRAINING = {"steps": STEPS, "batch_size": 7, "learning_rate": 1e-2, "ema_decay": 0.99}
COUNT = 5


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def starts() -> list[DDPM]:
    """Models of one pruned shape, in colour and of an odd width at the output, with weights of their own."""
    template = DDPM.build(Architecture(8, 3, (8, 24), 1), seed=0)
    prune(template.unet, 0.6)
    return [template.untrained(seed=seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def image_sets() -> list[np.ndarray]:
    """Sets smaller and larger than a batch."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (1 + 5 * index, 3, 8, 8), dtype=np.uint8) for index in range(COUNT)]


def weights(model: DDPM) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.unet.parameters()])


def train(starts: list[DDPM], image_sets: list[np.ndarray], chosen: list[int]) -> tuple[list[torch.Tensor], Fits]:
    """Copies of the chosen models, trained together: their weights, and how it went."""
    models = [copy.deepcopy(starts[index]) for index in chosen]
    fit = fit_stacked(models, [Shown(image_sets[index]) for index in chosen], **TRAINING, seeds=chosen)
    return [weights(model) for model in models], fit


@pytest.mark.parametrize(
    "settings", [{}, {"attention": [1]}, {"flip": True}, {"patch": 2}, {"torch_compile": True}, {"conditional": True}]
)
def test_configurations_know_which_nets_train_in_a_stack(settings: dict[str, Any]) -> None:
    config = DDPMConfig(**settings)
    labels = np.array([0, 1]) if config.conditional else None
    assert config.share_process == architecture_of(1, 8, labels, **config.architecture()).plain


def test_equals_training_one_after_the_other(starts: list[DDPM], image_sets: list[np.ndarray]) -> None:
    stacked, fit = train(starts, image_sets, list(range(COUNT)))
    for index, (start, images) in enumerate(zip(starts, image_sets, strict=True)):
        alone = copy.deepcopy(start)
        losses = alone.fit(images, **TRAINING, seed=index)
        np.testing.assert_allclose(fit.losses[index], losses, rtol=1e-4)
        # Adam divides by the size of the gradient: where that is rounding alone, so is the step.
        assert (stacked[index] - weights(alone)).norm() < 1e-3 * (weights(alone) - weights(start)).norm()
    assert fit.losses.shape == (COUNT, STEPS)
    assert fit.diverged == (None,) * COUNT


@pytest.mark.parametrize("architecture", [Architecture(8, 1, (8,), 2), Architecture(16, 1, (4, 8, 8), 1)])
def test_equals_training_alone_for_other_depths(architecture: Architecture) -> None:
    images = np.random.default_rng(1).integers(0, 256, (9, 1, *[architecture.image_size] * 2), dtype=np.uint8)
    alone, stacked = DDPM.build(architecture, seed=0), DDPM.build(architecture, seed=0)
    losses = alone.fit(images, **TRAINING, seed=3)
    fit = fit_stacked([stacked], [Shown(images)], **TRAINING, seeds=[3])
    np.testing.assert_allclose(fit.losses[0], losses, rtol=1e-4)


@pytest.fixture(scope="module")
def told() -> tuple[list[DDPM], list[Shown]]:
    """Models of one pruned shape that are told one of three classes, and their images."""
    template = DDPM.build(Architecture(8, 1, (8, 16), 1, classes=3), seed=0)
    prune(template.unet, 0.4)
    generator = np.random.default_rng(2)
    sets = []
    for index in range(COUNT):
        images = generator.integers(0, 256, (3 + 5 * index, 1, 8, 8), dtype=np.uint8)
        sets.append(Shown(images, generator.integers(0, 3, len(images))))
    return [template.untrained(seed=seed) for seed in range(COUNT)], sets


def test_models_told_their_class_equal_training_one_after_the_other(told: tuple[list[DDPM], list[Shown]]) -> None:
    starts, sets = told
    together, alone = copy.deepcopy(starts), copy.deepcopy(starts)
    assert starts[0].architecture.plain
    fit = starts[0].fit_many(together, sets, seeds=range(COUNT), **TRAINING)
    for index, (start, shown) in enumerate(zip(starts, sets, strict=True)):
        losses = alone[index].fit(shown.images, labels=shown.labels, **TRAINING, seed=index)
        np.testing.assert_allclose(fit.losses[index], losses, rtol=1e-4)
        moved = weights(alone[index]) - weights(start)
        assert (weights(together[index]) - weights(alone[index])).norm() < 1e-3 * moved.norm()
        embedded = together[index].unet.class_embedding.weight - start.unet.class_embedding.weight
        assert (embedded.abs().amax(dim=1) > 0).all(), "the classes and the hidden class are learned"
    reordered = copy.deepcopy([starts[3], starts[1]])
    fit_stacked(reordered, [sets[3], sets[1]], seeds=[3, 1], **TRAINING)
    for place, index in enumerate((3, 1)):
        torch.testing.assert_close(weights(reordered[place]), weights(together[index]), rtol=0, atol=0)


def test_models_told_their_class_need_labels(told: tuple[list[DDPM], list[Shown]]) -> None:
    starts, sets = told
    for labels in (None, sets[1].labels + 1, sets[1].labels[:-1]):
        with pytest.raises(InputError, match="a generator of 3 classes needs a label from 0 to 2"):
            fit_stacked(starts[:2], [sets[0], Shown(sets[1].images, labels)], seeds=[0, 1], **TRAINING)


@pytest.mark.parametrize(
    "chosen", [[4, 3, 2, 1, 0], [2], [1, 4], [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4]], ids=["order", "one", "two", "eleven"]
)
def test_company_does_not_change_a_bit(starts: list[DDPM], image_sets: list[np.ndarray], chosen: list[int]) -> None:
    together, expected = train(starts, image_sets, list(range(COUNT)))
    trained, fit = train(starts, image_sets, chosen)
    for place, index in enumerate(chosen):
        torch.testing.assert_close(trained[place], together[index], rtol=0, atol=0)
        np.testing.assert_array_equal(fit.losses[place], expected.losses[index])


def test_a_diverging_model_is_reported_and_leaves_the_others_alone(
    starts: list[DDPM], image_sets: list[np.ndarray]
) -> None:
    healthy, expected = train(starts, image_sets, list(range(COUNT)))
    sick = copy.deepcopy(starts)
    with torch.no_grad():
        for parameter in sick[1].unet.parameters():
            parameter.fill_(torch.nan)
        # Large enough for a finite loss at first, and for a gradient that is not.
        sick[3].unet.conv_out.bias.fill_(1e19)
        sick[3].unet.conv_norm_out.weight.fill_(1e30)
    trained, fit = train(sick, image_sets, list(range(COUNT)))
    assert fit.diverged[1] == 1
    assert fit.diverged[3] is not None
    for index in (0, 2, 4):
        assert fit.diverged[index] is None
        torch.testing.assert_close(trained[index], healthy[index], rtol=0, atol=0)
        np.testing.assert_array_equal(fit.losses[index], expected.losses[index])


def test_a_model_that_diverged_can_be_saved_and_loaded(starts: list[DDPM], image_sets: list[np.ndarray]) -> None:
    model = copy.deepcopy(starts[0])
    fit = fit_stacked([model], [Shown(image_sets[1])], **TRAINING | {"learning_rate": 1e30}, seeds=[0])
    step = fit.diverged[0]
    assert step is not None
    assert step > 1
    assert np.isfinite(fit.losses[0, : step - 1]).all()
    assert not np.isfinite(fit.losses[0, step - 1])
    assert DDPM.from_bytes(model.to_bytes()).architecture == model.architecture
    with pytest.raises(ValueError, match=f"loss of step {step} .* lower the learning rate"):
        copy.deepcopy(starts[0]).fit(image_sets[1], **TRAINING | {"learning_rate": 1e30}, seed=0)


def test_progress_counts_the_steps_of_each_model(starts: list[DDPM], image_sets: list[np.ndarray]) -> None:
    done: list[int] = []
    models = [copy.deepcopy(starts[0]) for _ in range(9)]
    fit_stacked(models, [Shown(image_sets[2])] * 9, **TRAINING, seeds=list(range(9)), progress=done.append)
    assert done == [8] * STEPS + [1] * STEPS


def test_nothing_to_train() -> None:
    fit = fit_stacked([], [], **TRAINING, seeds=[])
    assert fit.losses.shape == (0, STEPS)
    assert fit.diverged == ()


def test_refusals_touch_no_model(starts: list[DDPM], image_sets: list[np.ndarray]) -> None:
    models = [copy.deepcopy(starts[0]) for _ in range(2)]
    wide = DDPM.build(models[0].architecture, seed=0)
    images = image_sets[1]
    for bad, message in (
        ((models, [images, images[:0]], [0, 1], 8), "at least one image .* model 1"),
        ((models, [images, images[:, :1]], [0, 1], 8), "model 1 .* resize"),
        (([models[0], wide], [images, images], [0, 1], 8), "model 1 differs from model 0"),
        ((models, [images], [0, 1], 8), "2 models, 1 sets and 2 seeds"),
        ((models, [images, images], [0, 1], 12), "multiple of 8; got 12"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_stacked(bad[0], [Shown(images) for images in bad[1]], **TRAINING, seeds=bad[2], width=bad[3])
    torch.testing.assert_close(weights(models[0]), weights(starts[0]), rtol=0, atol=0)
