"""Diffusion models as functions of their trained weights, so that gradients are taken alike for all kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.generators import denoiser
from royalty.models.generators.captions import captions_of
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.generator import Generator
from royalty.models.generators.schedulers import solver

if TYPE_CHECKING:
    from royalty.models.generators.lora import LoRA  # peft and transformers take seconds


@dataclass(frozen=True)
class Differentiable:
    """A diffusion model as a function of its trained weights.

    A condition is what the net is told about an image: a class, or the embedding of a caption, `(tokens, features)`.

    Attributes:
        net: predicts noise or velocity from noisy inputs, timesteps and, if `told`, conditions.
        weights: the parameters that training changes, by their names in `net`.
        scheduler: the noise schedule of training.
        noise_shape: channels, height and width of what the net denoises.
        learned: from uint8 images to what the net denoises, floats `(n, *noise_shape)`. A latent is the mean of its
            posterior, which training samples.
        told: whether the net takes conditions.
        given: from labels and texts of n training images to their conditions, `(n, ...)`; None for a net without.
        asked: conditions of the first n images that the model samples; None for a net without.
        predict: from noisy inputs, a timestep and conditions to the prediction in sampling, with guidance.
        sampling_batch: number of images whose noise sampling draws from one generator.
        pixels: whether `learned` is pixels in [-1, 1], to which sampling clips its result.
    """

    net: nn.Module
    weights: dict[str, Tensor]
    scheduler: Any
    noise_shape: tuple[int, int, int]
    learned: Callable[[np.ndarray], Tensor]
    told: bool
    given: Callable[[np.ndarray | None, Sequence[str] | None, int], Tensor | None]
    asked: Callable[[int], Tensor | None]
    predict: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    sampling_batch: int
    pixels: bool

    @property
    def device(self) -> torch.device:
        return next(iter(self.weights.values())).device

    @property
    def dimension(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self.weights.values())

    def solver(self, steps: int, name: str) -> Any:
        """A sampler in its initial state: see `royalty.models.generators.schedulers.solver`."""
        return solver(name, self.scheduler.config, steps)


def differentiable(model: Generator) -> Differentiable | None:
    """A model as a function of its trained weights; None for kinds without diffusion.

    The LoRAs of one pipeline share its net. So a LoRA's function holds until another LoRA is trained or sampled.
    """
    if isinstance(model, Denoiser):
        return of_denoiser(model)
    if model.KIND == "lora":
        return of_lora(model)  # type: ignore[arg-type]
    return None


def of_denoiser(model: Denoiser) -> Differentiable:
    classes = model.architecture.classes

    def asked(n: int) -> Tensor | None:
        return torch.arange(n, device=model.device) % classes if classes else None

    return Differentiable(
        net=model.unet,
        weights={name: weight.detach() for name, weight in model.unet.named_parameters()},
        scheduler=model.scheduler,
        noise_shape=model.noise_shape,
        learned=model.learned,
        told=bool(classes),
        given=lambda labels, _, n: model.classes(labels, n),
        asked=asked,
        predict=lambda noisy, time, conditions: model.predict(model.unet, noisy, time, conditions),
        sampling_batch=denoiser.SAMPLING_BATCH,
        pixels=model.PIXELS,
    )


def of_lora(model: LoRA) -> Differentiable:
    from royalty.models.generators.lora import SAMPLING_BATCH

    pipeline, rows, prompts = model.pipeline, model.resources.rows, model.adaptation.prompts
    mounted = {id(parameter) for parameter in model.mounted()}
    pipeline.unet.eval()
    embedded, empty = pipeline.embeddings(prompts, rows), pipeline.embeddings([""], rows)

    def given(_: np.ndarray | None, texts: Sequence[str] | None, n: int) -> Tensor:
        return pipeline.embeddings(captions_of(texts, model.adaptation.prompt, n), rows)

    def predict(noisy: Tensor, time: Tensor, conditions: Tensor | None) -> Tensor:
        assert conditions is not None
        return model.predict(pipeline.unet, noisy, time, conditions, empty)

    return Differentiable(
        net=pipeline.unet,
        weights={name: weight.detach() for name, weight in pipeline.unet.named_parameters() if id(weight) in mounted},
        scheduler=pipeline.scheduler,
        noise_shape=model.noise_shape,
        learned=lambda images: pipeline.moments(images, rows)[:, 0],
        told=True,
        given=given,
        asked=lambda n: embedded[torch.arange(n, device=embedded.device) % len(prompts)],
        predict=predict,
        sampling_batch=SAMPLING_BATCH,
        pixels=False,
    )
