"""LoRAs trained side by side in one pass of their net: the same as one after the other, in any company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.data.items import Shown
from royalty.models.generators import stacked_lora
from royalty.models.generators.generator import Fits, Resources, fit_one_by_one
from royalty.models.generators.lora import LoRA
from royalty.models.generators.small_pipeline import save_small_pipeline
from royalty.models.generators.stacked_lora import fit_side_by_side, width_of

SIDE, COUNT, STEPS = 8, 3, 4
TRAINING: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.5}
SETTINGS: dict[str, Any] = {
    "base": "small",
    "prompt": None,
    "rank": 4,
    "targets": ["to_q", "to_k", "to_v", "to_out.0", "time_emb_proj", "conv1", "conv_shortcut"],
    "guidance": 2.0,
    "weight_decay": 1e-2,
    "warmup_steps": 2,
    "mixed_precision": True,
    "gradient_checkpointing": False,
}
CLOSE = 1e-5
"""Largest difference between weights, relative to their norm."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sets() -> list[Shown]:
    """Sets smaller and larger than a batch, of other captions each."""
    random, captions = np.random.default_rng(0), ["a one", "a two", "a seven"]
    shown = []
    for index, items in enumerate((2, 5, 9)):
        texts = [captions[(index + place) % (index + 1)] for place in range(items)]
        shown.append(Shown(random.integers(0, 256, (items, 1, SIDE, SIDE), dtype=np.uint8), texts=texts))
    return shown


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory, sets: list[Shown]) -> list[LoRA]:
    """Models with weights of their own, whose updates are not zero."""
    folder = tmp_path_factory.mktemp("base")
    save_small_pipeline(folder, side=SIDE, seed=0)
    resources = Resources(weights=lambda _name: folder)
    first = LoRA.for_images(sets[2], seed=0, resources=resources, **SETTINGS)
    models = [first.untrained(seed=seed) for seed in range(COUNT)]
    for seed, model in enumerate(models):
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.weights.items():
            model.weights[name] = weight + 0.05 * torch.randn(weight.shape, generator=generator)
    return models


def side_by_side(
    starts: list[LoRA], sets: list[Shown], chosen: Sequence[int] = range(COUNT), **changed: Any
) -> tuple[list[torch.Tensor], Fits]:
    """The weights of the chosen models, trained together, and how it went."""
    first = starts[0]
    weights, fits = fit_side_by_side(
        first.pipeline,
        replace(first.adaptation, **changed.pop("settings", {})),
        [starts[index].weights for index in chosen],
        [sets[index] for index in chosen],
        first.resources.rows,
        **TRAINING | changed,
        seeds=chosen,
    )
    return [flat(learned) for learned in weights], fits


def flat(weights: Any) -> torch.Tensor:
    return torch.cat([weights[name].detach().flatten() for name in sorted(weights)])


def apart(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left - right).norm() / right.norm())


@pytest.fixture(scope="module")
def alone(starts: list[LoRA], sets: list[Shown]) -> tuple[list[torch.Tensor], Fits]:
    models = [start.copy() for start in starts]
    fits = fit_one_by_one(models, sets, seeds=range(COUNT), **TRAINING)
    return [flat(model.weights) for model in models], fits


@pytest.fixture
def passes(starts: list[LoRA], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images in each pass of the U-Net."""
    unet, images = starts[0].pipeline.unet, []
    forward = unet.forward
    monkeypatch.setattr(unet, "forward", lambda noisy, *given: (images.append(len(noisy)), forward(noisy, *given))[1])
    return images


def test_equals_training_one_after_the_other_in_one_pass_of_the_net(
    starts: list[LoRA], sets: list[Shown], alone: tuple[list[torch.Tensor], Fits], passes: list[int]
) -> None:
    unet = starts[0].pipeline.unet
    models, layers = [start.copy() for start in starts], dict(unet.named_modules())
    frozen = {name: weight.clone() for name, weight in unet.named_parameters() if ".lora_" not in name}
    fits = starts[0].fit_many(models, sets, seeds=range(COUNT), **TRAINING)
    assert passes == [COUNT * TRAINING["batch_size"]] * STEPS
    np.testing.assert_allclose(fits.losses, alone[1].losses, rtol=1e-5)
    assert fits.diverged == (None,) * COUNT
    for model, start, weights in zip(models, starts, alone[0], strict=True):
        assert apart(flat(model.weights), weights) < CLOSE
        assert apart(flat(start.weights), weights) > 100 * CLOSE
    assert dict(unet.named_modules()) == layers, "the layers of a single model are back"
    for name, weight in unet.named_parameters():
        if name in frozen:
            assert weight.grad is None
            torch.testing.assert_close(weight, frozen[name], rtol=0, atol=0)


@pytest.mark.parametrize("chosen", [[2, 1, 0], [1, 2], [0, 0, 1, 1, 2]], ids=["order", "two", "five"])
def test_company_changes_a_model_by_rounding_alone(
    starts: list[LoRA], sets: list[Shown], alone: tuple[list[torch.Tensor], Fits], chosen: list[int]
) -> None:
    trained, fits = side_by_side(starts, sets, chosen)
    for place, index in enumerate(chosen):
        assert apart(trained[place], alone[0][index]) < CLOSE
        np.testing.assert_allclose(fits.losses[place], alone[1].losses[index], rtol=1e-5)


def test_ranks_and_settings_are_trained_apart(starts: list[LoRA], sets: list[Shown], passes: list[int]) -> None:
    pruned = [start.copy() for start in starts]
    pruned[1].prune(0.5, sets[1].images)
    together, one_by_one = [start.copy() for start in pruned], [start.copy() for start in pruned]
    pruned[0].fit_many(together, sets, seeds=range(COUNT), **TRAINING)
    assert sorted(passes) == [4] * STEPS + [8] * STEPS
    fit_one_by_one(one_by_one, sets, seeds=range(COUNT), **TRAINING)
    for model, other in zip(together, one_by_one, strict=True):
        assert apart(flat(model.weights), flat(other.weights)) < CLOSE


def test_a_diverging_model_is_reported_and_leaves_the_others_alone(starts: list[LoRA], sets: list[Shown]) -> None:
    healthy, expected = side_by_side(starts, sets)
    sick = [start.copy() for start in starts]
    for weight in sick[1].weights.values():
        weight.fill_(torch.nan)
    trained, fits = side_by_side(sick, sets)
    assert fits.diverged == (None, 1, None)
    assert np.isnan(fits.losses[1]).all()
    for index in (0, 2):
        torch.testing.assert_close(trained[index], healthy[index], rtol=0, atol=0)
        np.testing.assert_array_equal(fits.losses[index], expected.losses[index])
    (unchanged,), fits = side_by_side(starts, sets, [2], learning_rate=1e30)
    (step,) = fits.diverged
    assert step is not None
    assert step > 1
    assert np.isfinite(fits.losses[0, : step - 1]).all()
    assert np.isnan(fits.losses[0, step:]).all()
    torch.testing.assert_close(unchanged, flat(starts[2].weights), rtol=0, atol=0)


class Kept:
    """Keeps the state after a step, and then no more."""

    def __init__(self, after: int) -> None:
        self.steps, self.after = 0, after
        self.state: bytes | None = None

    def load(self) -> bytes | None:
        return self.state

    def due(self) -> bool:
        self.steps += 1
        return self.steps == self.after

    def save(self, state: bytes) -> None:
        self.state = state


def test_an_interrupted_training_resumes_with_identical_weights(starts: list[LoRA], sets: list[Shown]) -> None:
    keeper, done = Kept(after=2), []
    whole, expected = side_by_side(starts, sets, keeper=keeper)
    resumed, fits = side_by_side(starts, sets, keeper=keeper, progress=done.append)
    assert done == [1] * (STEPS - 2)
    for weights, other in zip(resumed, whole, strict=True):
        torch.testing.assert_close(weights, other, rtol=0, atol=0)
    np.testing.assert_array_equal(fits.losses, expected.losses)


def test_memory_is_saved_as_for_one_model(
    starts: list[LoRA],
    sets: list[Shown],
    alone: tuple[list[torch.Tensor], Fits],
    passes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for settings in ({"gradient_accumulation": 3}, {"gradient_checkpointing": True}):
        trained, _ = side_by_side(starts, sets, settings=settings)
        for weights, expected in zip(trained, alone[0], strict=True):
            assert apart(weights, expected) < CLOSE
    assert passes == [6, 6] * STEPS + [12] * STEPS
    unet, forward = starts[0].pipeline.unet, starts[0].pipeline.unet.forward

    def full(noisy: torch.Tensor, *given: Any) -> Any:
        if len(noisy) > 6:
            raise torch.OutOfMemoryError("full")
        return forward(noisy, *given)

    monkeypatch.setattr(unet, "forward", full)
    with pytest.warns(UserWarning, match="processed in parts of 2"):
        trained, _ = side_by_side(starts, sets)
    for weights, expected in zip(trained, alone[0], strict=True):
        assert apart(weights, expected) < CLOSE


def test_bfloat16_gives_nearly_the_same(
    starts: list[LoRA],
    sets: list[Shown],
    alone: tuple[list[torch.Tensor], Fits],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stacked_lora, "in_bfloat16", lambda *_, **__: torch.autocast("cpu", torch.bfloat16))
    trained, _ = side_by_side(starts, sets)
    for weights, expected, start in zip(trained, alone[0], starts, strict=True):
        assert CLOSE < apart(weights, expected) < 0.2 * apart(flat(start.weights), expected)


def test_how_many_are_trained_side_by_side(starts: list[LoRA]) -> None:
    settings, cpu, cuda = starts[0].adaptation, torch.device("cpu"), torch.device("cuda")
    assert [width_of(settings, batch, cpu) for batch in (1, 32, 64, 300)] == [8, 4, 2, 1]
    assert [width_of(settings, batch, cuda) for batch in (1, 32, 64, 300)] == [8, 2, 1, 1]
    for changed in ({"torch_compile": True}, {"gradient_checkpointing": True}, {"gradient_accumulation": 2}):
        assert width_of(replace(settings, **changed), 1, cpu) == 1
