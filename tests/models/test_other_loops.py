"""Training loops other than that of denoisers, on a device that draws noise and keeps losses, as CUDA does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.data.items import Shown
from royalty.models.generators import acceleration, readings
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.generators.dcgan import DCGAN
from royalty.models.generators.generator import DivergedError, MemoryRowCache, Resources
from royalty.models.generators.lora import LoRA
from royalty.models.generators.pipeline_training import latents_of, train_autoencoder, train_denoiser
from royalty.models.generators.small_pipeline import Widths, build_pipeline, save_small_pipeline
from royalty.models.generators.stable_diffusion import FrozenPipeline
from royalty.models.generators.stacked_lora import fit_side_by_side
from tests.models.test_stacked_lora import SETTINGS
from tests.models.test_synchronization import Memory, Waits, like_a_gpu, reads_of, without_generators

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8), dtype=np.uint8)
TEXTS = [f"a {'one' if row % 2 else 'two'}" for row in range(10)]
RATE = {"batch_size": 4, "learning_rate": 1e-3}
TRAINING = {**RATE, "ema_decay": 0.9}
LATENT = {"beta-vae": BetaVAE, "dcgan": DCGAN}

Train = Callable[..., tuple[list[float], bytes]]
"""From a number of steps and other arguments of a training to its losses and weights."""

pytestmark = pytest.mark.usefixtures("one_thread")


def latent(kind: str) -> Train:
    def train(steps: int, **options: Any) -> tuple[list[float], bytes]:
        model = LATENT[kind]((1, 8, 8), seed=0)
        return model.fit(IMAGES, steps=steps, **{**TRAINING, **options}, seed=3), model.to_bytes()

    return train


def lora(folder: Path) -> Train:
    save_small_pipeline(folder, side=8, seed=0)
    resources = Resources(weights=lambda _name: folder)
    start = LoRA.for_images(Shown(IMAGES, texts=TEXTS), seed=0, resources=resources, **SETTINGS)

    def train(steps: int, **options: Any) -> tuple[list[float], bytes]:
        model = start.copy()
        losses = model.fit(IMAGES, texts=TEXTS, steps=steps, **{**TRAINING, **options}, seed=3)
        return losses, model.to_bytes()

    return train


def small() -> Any:
    return build_pipeline(Widths(), side=8, seed=0)


def autoencoder(steps: int, **options: Any) -> tuple[list[float], bytes]:
    vae = small().vae
    losses = train_autoencoder(vae, IMAGES, steps=steps, **{**RATE, **options}, seed=3)
    return losses, b"".join(weight.detach().numpy().tobytes() for weight in vae.parameters())


def denoiser(steps: int, **options: Any) -> tuple[list[float], bytes]:
    pipeline = small()
    losses = train_denoiser(pipeline, IMAGES, TEXTS, steps=steps, **{**RATE, **options}, seed=3)
    return losses, b"".join(weight.detach().numpy().tobytes() for weight in pipeline.unet.parameters())


@pytest.fixture
def train(request: pytest.FixtureRequest, tmp_path: Path) -> Train:
    if request.param == "lora":
        return lora(tmp_path)
    return {"autoencoder": autoencoder, "denoiser": denoiser}.get(request.param) or latent(request.param)


LOOPS = pytest.mark.parametrize("train", [*LATENT, "lora", "autoencoder", "denoiser"], indirect=True)
RESUMED = pytest.mark.parametrize("train", ["lora", "autoencoder", "denoiser"], indirect=True)


@LOOPS
def test_losses_are_read_rarely_and_draws_repeat(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = train(9)
    like_a_gpu("cpu", monkeypatch)
    sizes = reads_of(monkeypatch)
    first = train(9)
    assert sizes == [4, 4, 1]
    assert first == train(9)
    assert not np.isclose(first[0], on_cpu[0]).any()


@RESUMED
def test_a_saved_training_has_all_losses_and_resumes(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    like_a_gpu("cpu", monkeypatch)
    whole, memory = train(9), Memory(after=6)
    reads_of(monkeypatch)
    assert train(9, keeper=memory) == whole
    assert memory.state
    if train in (autoencoder, denoiser):  # they save after the last step, too
        state = memory.state
        assert train(9, keeper=memory) == whole
        assert memory.state == state
    else:
        assert train(9, keeper=memory) == whole


@LOOPS
def test_a_divergence_is_seen_at_the_next_reading(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged() -> int:
        with pytest.raises(DivergedError) as error:
            train(9, learning_rate=float("inf"))
        return error.value.step

    like_a_gpu("cpu", monkeypatch)
    at_once, sizes = diverged(), reads_of(monkeypatch)
    assert diverged() == at_once
    assert sum(sizes) == 4 * -(-at_once // 4)


@pytest.mark.parametrize("kind", LATENT)
def test_waits_of_training_do_not_grow_with_its_steps(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    like_a_gpu("meta", monkeypatch)
    without_generators(monkeypatch)
    monkeypatch.setattr(torch.optim, "Adam", lambda weights, lr, **_: torch.optim.SGD(weights, lr))
    model = LATENT[kind]((1, 8, 8), seed=0).to("meta")

    def waits(steps: int) -> tuple[int, int]:
        with Waits() as counted:
            assert len(model.fit(IMAGES, steps=steps, **TRAINING, seed=0)) == steps
        return counted.reads, counted.copies

    assert waits(6) == waits(12)
    assert waits(6)[0] == 0


def test_waits_of_loras_do_not_grow_with_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_small_pipeline(tmp_path, side=8, seed=0)
    shown = Shown(IMAGES, texts=TEXTS)
    model = LoRA.for_images(shown, seed=0, resources=Resources(weights=lambda _name: tmp_path), **SETTINGS)
    pipeline = FrozenPipeline(tmp_path, "cpu")
    cache = MemoryRowCache()
    moments, embeddings = pipeline.moments(IMAGES, cache), pipeline.embeddings(sorted(set(TEXTS)), cache)
    monkeypatch.setattr(pipeline, "moments", lambda *_: moments.to("meta"))
    monkeypatch.setattr(pipeline, "embeddings", lambda *_: embeddings.to("meta"))
    like_a_gpu("meta", monkeypatch)
    without_generators(monkeypatch)
    monkeypatch.setattr(torch.optim, "AdamW", lambda weights, lr, **_: torch.optim.SGD(weights, lr))
    pipeline.device = torch.device("meta")
    pipeline.unet.to("meta")
    weights = {name: weight.to("meta") for name, weight in model.weights.items()}
    # The weights of this device have no values that could be finite.
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda weight: torch.ones(1, dtype=torch.bool))

    def waits(steps: int) -> tuple[int, int]:
        training = {**TRAINING, "steps": steps, "seeds": [0, 1]}
        with Waits() as counted:
            fit_side_by_side(pipeline, model.adaptation, [weights] * 2, [shown] * 2, cache, **training)
        return counted.reads, counted.copies

    waits(1)  # moves the noise schedule
    assert waits(6) == waits(12)
    assert waits(6)[0] == 0


@LOOPS
def test_channels_last_changes_rounding_alone(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    # Adam makes whole steps of gradients that are rounding, so that losses of a GAN differ by percents.
    for name in ("Adam", "AdamW"):
        monkeypatch.setattr(torch.optim, name, lambda weights, lr, **_: torch.optim.SGD(weights, lr))
    plain, _ = train(3)
    monkeypatch.setattr(acceleration, "CHANNELS_LAST", ("cpu",))
    assert train(3)[0] == pytest.approx(plain, rel=1e-4)


@LOOPS
def test_fused_steps_change_rounding_alone(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = train(3)
    monkeypatch.setattr(acceleration, "FUSED", ("cpu",))
    assert train(3)[0] == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("kind", LATENT)
def test_a_laid_out_model_is_saved_as_any_other(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "CHANNELS_LAST", ("cpu",))
    model = LATENT[kind]((1, 8, 8), seed=0)
    model.fit(IMAGES, steps=2, **TRAINING, seed=0)
    convolution = next(
        layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d) and layer.in_channels > 1
    )
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    again = type(model).from_bytes(model.to_bytes())
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=0, atol=0)


def test_a_pipeline_has_channels_last_where_it_is_trained_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "CHANNELS_LAST", ("cpu",))
    save_small_pipeline(tmp_path, side=8, seed=0)
    vae = small().vae
    train_autoencoder(vae, IMAGES, steps=1, **RATE, seed=0)
    for net in (vae, *vars(FrozenPipeline(tmp_path, "cpu")).values()):
        for layer in net.modules() if isinstance(net, torch.nn.Module) else ():
            if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size != (1, 1) and layer.in_channels > 1:
                assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert latents_of(vae, IMAGES).isfinite().all()


def test_readings_are_those_of_a_cpu_at_once() -> None:
    from royalty.models.generators.draws import Draws

    read = readings.Readings(Draws([0], torch.device("cpu")), steps=3, done=[[1.0]])
    assert read.add(torch.tensor([2.0])) == [[2.0]]
    assert read.sums == [1.0, 2.0]
