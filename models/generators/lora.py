"""LoRA (Hu et al. 2021) on the attention layers of a frozen Stable Diffusion pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.serialization import pack, unpack
from royalty.models.data.items import Shown
from royalty.models.generators.acceleration import compiled, in_bfloat16
from royalty.models.generators.adaptation import Adaptation
from royalty.models.generators.captions import captions_of
from royalty.models.generators.generator import NOTHING_ELSE, DivergedError, Fits, Resources
from royalty.models.generators.libraries import UNet2DConditionModel
from royalty.models.generators.outline import Outline, outline_of_adapter
from royalty.models.generators.pipelines import digest_of_pipeline
from royalty.models.generators.pruning import Pruning, Size, truncated
from royalty.models.generators.resume import Keeper
from royalty.models.generators.schedulers import solver, times_of
from royalty.models.generators.stable_diffusion import FrozenPipeline, load_pipeline
from royalty.models.generators.stacked_lora import fit_side_by_side, width_of

SAMPLING_STEPS, SAMPLING_BATCH = 100, 64
OUTLINED_FACTOR = 8
OUTLINED_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""The U-Net that an outline assumes for a base it does not read: that of Stable Diffusion 1, 860 million parameters."""


class LoRA:
    """A LoRA of a Stable Diffusion pipeline for uint8 images, `(n, channels, height, width)`.

    A model holds its low-rank matrices only; the pipeline is loaded once per process. An update is B A with a scale of
    1 (alpha equals the rank), so lowering the rank does not change the scale.

    Args:
        weights: lora_A, `(rank, in)`, and lora_B, `(out, rank)`, by their names in peft and diffusers.
    """

    KIND: ClassVar[str] = "lora"

    def __init__(
        self, pipeline: FrozenPipeline, adaptation: Adaptation, weights: Mapping[str, Tensor], resources: Resources
    ) -> None:
        self.pipeline, self.adaptation, self.resources = pipeline, adaptation, resources
        self.weights = dict(weights)

    @classmethod
    def for_images(
        cls, shown: Shown, *, base: str, prompt: str | None, seed: int, resources: Resources, **settings: Any
    ) -> LoRA:
        """An untrained model, which generates the same images as its base.

        Args:
            base: name of the pipeline, which `resources.weights` finds.
            prompt: the caption of every image; None: each image has a text, and sampling cycles through all texts.

        Raises:
            InputError: no such pipeline, missing captions, targets that match no layer, or an image size that the base
                does not support.
        """
        folder = resources.weights(base)
        settings["targets"] = tuple(settings["targets"])
        adaptation = Adaptation(
            base=base,
            base_digest=digest_of_pipeline(folder),
            shape=tuple(shown.images.shape[1:]),
            prompt=prompt,
            prompts=tuple(sorted(set(captions_of(shown.texts, prompt, len(shown.images))))),
            **settings,
        )
        pipeline = load_pipeline(folder, adaptation.base_digest, resources.device)
        pipeline.embeddings(adaptation.prompts, resources.rows)
        pipeline.moments(shown.images[:1], resources.rows)
        return cls(pipeline, adaptation, {}, resources).untrained(seed=seed)

    @classmethod
    def outline(
        cls,
        shape: tuple[int, int, int],
        *,
        base: str | Mapping[str, Any],
        rank: int,
        targets: Sequence[str],
        **_: Any,
    ) -> Outline:
        """The outline of a model for images of a shape.

        Args:
            base: the settings of a base that is trained first, or the name of a pipeline, whose net is assumed to be
                that of Stable Diffusion 1.
        """
        with torch.device("meta"):
            if isinstance(base, Mapping):
                from royalty.models.generators.small_pipeline import (  # transformers takes seconds
                    Widths,
                    build_denoiser,
                )

                unet = build_denoiser(Widths.of(base), shape[1])
            else:
                unet = UNet2DConditionModel(**{**OUTLINED_UNET, "sample_size": shape[1] // OUTLINED_FACTOR})
        return outline_of_adapter(unet, rank, targets)

    def untrained(self, *, seed: int) -> LoRA:
        """A model that equals its base: A is initialized as in peft, and B is zero."""
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name, parameter in sorted(self.pipeline.adapter(self.adaptation.targets, self.adaptation.rank).items()):
            weight = torch.zeros(parameter.shape)
            if ".lora_A." in name:
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
            weights[name] = weight.to(self.pipeline.device)
        return LoRA(self.pipeline, self.adaptation, weights, self.resources)

    def copy(self) -> LoRA:
        weights = {name: weight.clone() for name, weight in self.weights.items()}
        return LoRA(self.pipeline, self.adaptation, weights, self.resources)

    def fit(
        self,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
        seed: int,
        progress: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> list[float]:
        """Train with AdamW from the current weights, and end with their average: see
        `royalty.models.generators.generator.Generator`.

        The learning rate rises over `warmup_steps`, at most a tenth of all steps, and falls to zero along a cosine.
        Latents and texts are encoded once and cached.

        Returns:
            The loss of each step: mean squared error of the predicted noise or velocity, whichever the base predicts.
        """
        (self.weights,), fits = fit_side_by_side(
            self.pipeline,
            self.adaptation,
            [self.weights],
            [Shown(images, labels, texts)],
            self.resources.rows,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seed],
            progress=progress,
            keeper=keeper,
        )
        (step,) = fits.diverged
        if step is not None:
            raise DivergedError(step, float(fits.losses[0, step - 1]), learning_rate)
        losses: list[float] = fits.losses[0].tolist()
        return losses

    def fit_many(
        self, models: Sequence[LoRA], sets: Sequence[Shown], *, batch_size: int, seeds: Sequence[int], **training: Any
    ) -> Fits:
        """Train models of small batches side by side; see `royalty.models.generators.stacked_lora.fit_side_by_side`.

        Models of other settings, ranks included, or another base are trained apart from each other.
        """
        alike: dict[object, list[int]] = {}
        for row, model in enumerate(models):
            alike.setdefault((id(model.pipeline), model.adaptation), []).append(row)
        losses = np.full((len(models), training["steps"]), math.nan)
        diverged: list[int | None] = [None] * len(models)
        for rows in alike.values():
            first = models[rows[0]]
            width = width_of(first.adaptation, batch_size, first.pipeline.device)
            for chosen in (rows[start : start + width] for start in range(0, len(rows), width)):
                weights, fits = fit_side_by_side(
                    first.pipeline,
                    first.adaptation,
                    [models[row].weights for row in chosen],
                    [sets[row] for row in chosen],
                    first.resources.rows,
                    batch_size=batch_size,
                    seeds=[seeds[row] for row in chosen],
                    **training,
                )
                for row, learned, step, curve in zip(chosen, weights, fits.diverged, fits.losses, strict=True):
                    models[row].weights, diverged[row], losses[row] = learned, step, curve
        return Fits(losses, tuple(diverged))

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        return self.adaptation.prompts

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = SAMPLING_STEPS,
        scheduler: SchedulerName = "pndm",
        batch_size: int = SAMPLING_BATCH,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images, cycling through the prompts, from noise that depends on the seed and the batch alone."""
        pipeline, settings = self.pipeline, self.adaptation
        self.mounted()
        pipeline.unet.eval()
        unet = compiled(pipeline.unet, pipeline.device, settings.torch_compile)
        prompts = pipeline.embeddings([*settings.prompts, ""], self.resources.rows)
        images = []
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            embeddings = prompts[[(start + place) % len(settings.prompts) for place in range(size)]]
            latent = torch.randn((size, *self.noise_shape), generator=generator).to(pipeline.device)
            sampler = solver(scheduler, pipeline.scheduler.config, steps)
            latent = latent * sampler.init_noise_sigma
            for time, told in times_of(sampler, pipeline.device):
                scaled = sampler.scale_model_input(latent, time)
                with in_bfloat16(pipeline.device, settings.mixed_precision, cpus=False):
                    predicted = self.predict(unet, scaled, told, embeddings, prompts[-1:])
                latent = sampler.step(predicted.float(), time, latent).prev_sample
            images.append(pipeline.decoded(latent, settings.shape[0]))
            if progress is not None:
                progress(size)
        return np.concatenate(images)

    def prune(
        self,
        ratio: float,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        importance: ImportanceName = "magnitude",
        scope: PruningScope = "layer",
        seed: int = 0,
    ) -> Pruning:
        """Lower the rank of every layer's update, in place, by truncating its singular value decomposition.

        The singular components of largest value give the nearest matrix of the lower rank (Eckart & Young 1936).
        Columns of B and rows of A would not: they change with every invertible R in (B R)(R^-1 A), which is the same
        update.

        Args:
            ratio: fraction of the rank, and so of the parameters, to remove, in (0, 1).

        Raises:
            InputError: another importance or scope, or a ratio that removes all of the rank or nothing.
        """
        if (importance, scope) != ("magnitude", "layer"):
            raise InputError(
                f"a LoRA is pruned by magnitude and layer by layer; got {importance} and {scope}. Set "
                "`pruning: {importance: magnitude, scope: layer}`"
            )
        kept = self.adaptation.rank - round(self.adaptation.rank * ratio)
        if not 0 < kept < self.adaptation.rank:
            raise InputError(
                f"pruning a LoRA removes a part of its rank; a ratio of {ratio} leaves {kept} of "
                f"{self.adaptation.rank}. Set `pruning.ratio` to 0.5, for example"
            )
        for name in [name for name in self.weights if ".lora_A." in name]:
            b_name = name.replace(".lora_A.", ".lora_B.")
            self.weights[name], self.weights[b_name] = truncated(self.weights[name], self.weights[b_name], kept)
        removed = 1 - kept / self.adaptation.rank
        self.adaptation = replace(self.adaptation, rank=kept)
        return Pruning(removed=removed, asked=ratio)

    def size(self) -> Size:
        """Parameters of the LoRA; multiply-adds of one pass of the U-Net with it, for one image."""
        self.mounted()
        embeddings = self.pipeline.embeddings(self.adaptation.prompts[:1], self.resources.rows)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.pipeline.unet(torch.zeros((1, *self.noise_shape), device=embeddings.device), 0, embeddings)
        return Size(sum(weight.numel() for weight in self.weights.values()), counter.get_total_flops() // 2)

    def to_bytes(self) -> bytes:
        """A safetensors file that peft and diffusers can load: `pipe.load_lora_weights(folder)`."""
        weights = {name: weight.detach().cpu().numpy() for name, weight in self.weights.items()}
        return pack(weights, {"kind": self.KIND, **asdict(self.adaptation)})

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> LoRA:
        """The model that `to_bytes` saved, with the base that it was trained on.

        Raises:
            InputError: the base is missing or has changed.
        """
        arrays, description = unpack(payload)
        del description["kind"]
        for name in ("shape", "targets", "prompts"):
            description[name] = tuple(description[name])
        adaptation = Adaptation(**description)
        folder = resources.weights(adaptation.base)
        digest = digest_of_pipeline(folder)
        if digest != adaptation.base_digest:
            raise InputError(
                f"a LoRA needs the base it was trained on, with digest {adaptation.base_digest[:12]}; the base "
                f"{adaptation.base} in {folder} has digest {digest[:12]}. Restore the files, or train again under "
                "another name"
            )
        pipeline = load_pipeline(folder, digest, resources.device)
        weights = {name: torch.from_numpy(array).to(resources.device) for name, array in arrays.items()}
        return cls(pipeline, adaptation, weights, resources)

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents that are denoised."""
        multiple = 2 ** (len(self.pipeline.vae.config.block_out_channels) - 1)
        _, height, width = self.adaptation.shape
        return self.pipeline.unet.config.in_channels, height // multiple, width // multiple

    def predict(self, unet: Any, latent: Tensor, time: Tensor, embeddings: Tensor, empty: Tensor) -> Tensor:
        """The net's prediction for a batch, with classifier-free guidance (Ho & Salimans 2022).

        Args:
            embeddings: of the prompts, `(batch, tokens, features)`.
            empty: of the empty prompt, `(1, tokens, features)`.
        """
        predicted: Tensor = unet(latent, time, embeddings).sample
        if self.adaptation.guidance == 1:
            return predicted
        unconditional: Tensor = unet(latent, time, empty.expand_as(embeddings)).sample
        return unconditional + self.adaptation.guidance * (predicted - unconditional)

    def mounted(self) -> list[nn.Parameter]:
        """Copy this model's weights into the pipeline's adapter; its parameters, sorted by name."""
        parameters = self.pipeline.adapter(self.adaptation.targets, self.adaptation.rank)
        with torch.no_grad():
            for name, weight in self.weights.items():
                parameters[name].copy_(weight).requires_grad_()
        return [parameters[name] for name in sorted(self.weights)]
