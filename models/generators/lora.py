"""LoRA (Hu et al. 2021) on the attention of Stable Diffusion: what a set of images adds to a frozen base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from royalty.models.generators.averaging import Average
from royalty.models.generators.generator import (
    NOTHING_ELSE,
    DivergedError,
    Fits,
    Resources,
    batches,
    fit_one_by_one,
)
from royalty.models.generators.libraries import UNet2DConditionModel, get_cosine_schedule_with_warmup
from royalty.models.generators.memory import Parts
from royalty.models.generators.outline import Outline, outline_of_adapter
from royalty.models.generators.pipelines import digest_of_pipeline
from royalty.models.generators.pruning import Pruning, Size, truncated
from royalty.models.generators.resume import Keeper, pack_training, unpack_training
from royalty.models.generators.schedulers import solver
from royalty.models.generators.stable_diffusion import FrozenPipeline, load_pipeline

SAMPLING_STEPS = 100
WARMUP_SHARE = 10
"""Warm-up takes one in so many steps at most: a coalition's finetuning has fewer steps than a training's warm-up."""

OUTLINED_FACTOR = 8
OUTLINED_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""What an outline takes of a base that it does not read: the net of Stable Diffusion 1, 860 million parameters."""


@dataclass(frozen=True)
class Adaptation:
    """What makes a LoRA training, apart from how long it is.

    Attributes:
        base, base_digest: name of the pipeline, and the digest of its files.
        shape: of images: channels, height, width.
        rank: of every layer's update.
        targets: ends of the names of the layers that are adapted.
        prompt: of every image; without one each has its own text.
        prompts: that images are sampled by, in turn.
        guidance: scale of classifier-free guidance when sampling; 1 is none.
    """

    base: str
    base_digest: str
    shape: tuple[int, int, int]
    rank: int
    targets: tuple[str, ...]
    prompt: str | None
    prompts: tuple[str, ...]
    guidance: float
    weight_decay: float
    warmup_steps: int
    mixed_precision: bool
    gradient_checkpointing: bool
    gradient_accumulation: int = 1
    torch_compile: bool = False


class LoRA:
    """The LoRA of a Stable Diffusion pipeline, of uint8 images `(n, channels, height, width)`.

    A model holds its low-rank matrices alone; the pipeline is one a process, however many models stand on it. Updates
    are B A with a scale of 1 (alpha is the rank), so that lowering the rank changes the scale of nothing.

    Args:
        weights: lora_A, `(rank, in)`, and lora_B, `(out, rank)`, by the names that peft and diffusers give them.
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
        """A model that changes nothing of its base yet.

        Args:
            base: name of the pipeline, which `resources.weights` finds.
            prompt: of every image; without one each image has a text, and images are sampled by all of them in turn.

        Raises:
            InputError: no such pipeline, no captions, targets that match no layer, or a size it cannot make.
        """
        folder = resources.weights(base)
        settings["targets"] = tuple(settings["targets"])
        adaptation = Adaptation(
            base=base,
            base_digest=digest_of_pipeline(folder),
            shape=tuple(shown.images.shape[1:]),
            prompt=prompt,
            prompts=tuple(sorted(set(_captions(shown.texts, prompt, len(shown.images))))),
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
        """What a model of images of a shape will be.

        Args:
            base: the settings of one that is trained first; of any other the net is taken to be Stable Diffusion 1's.
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
        """The base as it is: A is drawn as peft draws it, and B is zero."""
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name, parameter in sorted(self.pipeline.adapter(self.adaptation.targets, self.adaptation.rank).items()):
            fresh = torch.zeros(parameter.shape)
            if ".lora_A." in name:
                nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=generator)
            weights[name] = fresh.to(self.pipeline.device)
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
        """Train by AdamW from the current weights, and keep their average: see
        `royalty.models.generators.generator.Generator`.

        The learning rate rises over `warmup_steps`, a tenth of all steps at most, and falls by a cosine to zero.
        Latents and texts are encoded the first time they are seen, and drawn from what was kept from then on.

        Returns:
            The loss of each step: mean squared error of the predicted noise, or velocity, as the base was trained.
        """
        given = self.adaptation
        captions = _captions(texts, given.prompt, len(images))
        moments = self.pipeline.moments(images, self.resources.rows)  # (items, 2, c, h, w)
        kinds = sorted(set(captions))
        told = self.pipeline.embeddings(kinds, self.resources.rows)  # (kinds, tokens, features)
        kind = torch.tensor([kinds.index(text) for text in captions], device=moments.device)
        parameters = self._mounted()
        self.pipeline.unet.train(given.gradient_checkpointing)  # checkpoints are taken in training mode alone
        if given.gradient_checkpointing:
            self.pipeline.unet.enable_gradient_checkpointing()
        unet = compiled(self.pipeline.unet, self.pipeline.device, given.torch_compile)
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=given.weight_decay, fused=True)
        rate = get_cosine_schedule_with_warmup(optimizer, min(given.warmup_steps, steps // WARMUP_SHARE), steps)
        generator = torch.Generator().manual_seed(seed)
        average = Average(parameters, ema_decay)
        plan = batches(len(images), batch_size, steps, generator)
        parts = Parts(parameters, batch_size, given.gradient_accumulation)
        saved = keeper.load() if keeper else None
        done = unpack_training(saved, optimizer, average.means, [generator]) if saved else []
        losses = [loss for (loss,) in done]
        average.step = len(losses)
        for _ in losses:
            rate.step()
        for batch in plan[len(losses) :]:
            drawn = torch.randn((2, len(batch), *moments.shape[2:]), generator=generator).to(moments.device)
            times = torch.randint(self._timesteps, (len(batch),), generator=generator).to(moments.device)
            clean = moments[batch, 0] + moments[batch, 1] * drawn[0]
            work = partial(self._backward, unet, clean, drawn[1], times, told[kind[batch]])
            losses.append(float(parts.run(work, optimizer.zero_grad)))
            if not math.isfinite(losses[-1]):
                raise DivergedError(len(losses), losses[-1], learning_rate)
            optimizer.step()
            rate.step()
            average.add()
            if progress is not None:
                progress(1)
            if keeper and keeper.due():
                keeper.save(pack_training(optimizer, average.means, [generator], [[loss] for loss in losses]))
        self.weights = dict(zip(sorted(self.weights), average.means, strict=True))
        if not all(weight.isfinite().all() for weight in average.means):
            raise DivergedError(steps, math.nan, learning_rate)
        return losses

    def fit_many(self, models: Sequence[LoRA], sets: Sequence[Shown], **training: Any) -> Fits:
        """One after the other in the one pipeline of the process."""
        return fit_one_by_one(models, sets, **training)

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = SAMPLING_STEPS,
        scheduler: SchedulerName = "pndm",
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images by the prompts in turn, from noise that depends on the seed and the batch alone."""
        pipeline, given = self.pipeline, self.adaptation
        self._mounted()
        pipeline.unet.eval()
        unet = compiled(pipeline.unet, pipeline.device, given.torch_compile)
        prompts = pipeline.embeddings([*given.prompts, ""], self.resources.rows)
        multiple = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        shape = (pipeline.unet.config.in_channels, given.shape[1] // multiple, given.shape[2] // multiple)
        images = []
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            told = prompts[[(start + place) % len(given.prompts) for place in range(size)]]
            latent = torch.randn((size, *shape), generator=generator).to(pipeline.device)
            sampler = solver(scheduler, pipeline.scheduler.config, steps, pipeline.device)
            latent = latent * sampler.init_noise_sigma
            for time in sampler.timesteps:
                seen = sampler.scale_model_input(latent, time)
                with in_bfloat16(pipeline.device, given.mixed_precision):
                    predicted = unet(seen, time, told).sample
                    if given.guidance != 1:
                        blind = unet(seen, time, prompts[-1:].expand_as(told)).sample
                        predicted = blind + given.guidance * (predicted - blind)
                latent = sampler.step(predicted.float(), time, latent).prev_sample
            images.append(pipeline.decoded(latent, given.shape[0]))
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
        """Lower the rank of every layer, in place, to the components of largest magnitude.

        An update B A is a sum of rank-one components; its singular ones are orthogonal, and those of largest singular
        value are the nearest matrix of that rank (Eckart & Young 1936). The components by columns of B and rows of A
        are not: they change with every invertible R in (B R)(R^-1 A), which is the same update.

        Args:
            ratio: share of the rank to remove, which is that of the parameters, in (0, 1).

        Raises:
            InputError: another importance or scope, or a ratio that leaves no rank or takes none.
        """
        if (importance, scope) != ("magnitude", "layer"):
            raise InputError(
                f"the rank of a LoRA is lowered layer by layer, by magnitude; got {importance} and {scope}. Set "
                "`pruning: {importance: magnitude, scope: layer}`"
            )
        kept = self.adaptation.rank - round(self.adaptation.rank * ratio)
        if not 0 < kept < self.adaptation.rank:
            raise InputError(
                f"pruning takes some of a LoRA's rank and leaves some; a ratio of {ratio} makes {kept} of "
                f"{self.adaptation.rank}. Take 0.5"
            )
        for name in [name for name in self.weights if ".lora_A." in name]:
            other = name.replace(".lora_A.", ".lora_B.")
            self.weights[name], self.weights[other] = truncated(self.weights[name], self.weights[other], kept)
        removed = 1 - kept / self.adaptation.rank
        self.adaptation = replace(self.adaptation, rank=kept)
        return Pruning(removed=removed, asked=ratio)

    def size(self) -> Size:
        """Parameters of the LoRA; multiply-adds of one pass of the U-Net with it, for one image."""
        self._mounted()
        told = self.pipeline.embeddings(self.adaptation.prompts[:1], self.resources.rows)
        multiple = 2 ** (len(self.pipeline.vae.config.block_out_channels) - 1)
        shape = (self.pipeline.unet.config.in_channels, *(side // multiple for side in self.adaptation.shape[1:]))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.pipeline.unet(torch.zeros((1, *shape), device=told.device), 0, told)
        return Size(sum(weight.numel() for weight in self.weights.values()), counter.get_total_flops() // 2)

    def to_bytes(self) -> bytes:
        """A safetensors file that peft and diffusers load as it is: `pipe.load_lora_weights(folder)`."""
        weights = {name: weight.detach().cpu().numpy() for name, weight in self.weights.items()}
        return pack(weights, {"kind": self.KIND, **asdict(self.adaptation)})

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> LoRA:
        """The model that `to_bytes` saved, on the base that it was trained on.

        Raises:
            InputError: the base is not here, or no longer the same.
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
                f"this LoRA was trained on the files {adaptation.base_digest[:12]} of the base {adaptation.base}, and "
                f"{folder} holds {digest[:12]}; restore them, or train anew under another name"
            )
        pipeline = load_pipeline(folder, digest, resources.device)
        weights = {name: torch.from_numpy(array).to(resources.device) for name, array in arrays.items()}
        return cls(pipeline, adaptation, weights, resources)

    @property
    def _timesteps(self) -> int:
        return int(self.pipeline.scheduler.config.num_train_timesteps)

    def _mounted(self) -> list[nn.Parameter]:
        """The parameters of the pipeline's adapter, in the order of their names, with this model's weights in them."""
        parameters = self.pipeline.adapter(self.adaptation.targets, self.adaptation.rank)
        with torch.no_grad():
            for name, weight in self.weights.items():
                parameters[name].copy_(weight).requires_grad_()
        return [parameters[name] for name in sorted(self.weights)]

    def _backward(self, unet: Any, clean: Tensor, noise: Tensor, times: Tensor, told: Tensor, part: slice) -> Tensor:
        """The share of a part of the batch in the mean loss, whose gradients it adds."""
        pipeline, share = self.pipeline, len(times[part]) / len(times)
        clean, noise, times, told = clean[part], noise[part], times[part], told[part]
        noisy = pipeline.scheduler.add_noise(clean, noise, times)
        velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        goal = pipeline.scheduler.get_velocity(clean, noise, times) if velocity else noise
        with in_bfloat16(pipeline.device, self.adaptation.mixed_precision):
            predicted = unet(noisy, times, told).sample
        loss: Tensor = (predicted.float() - goal).square().mean() * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _captions(texts: Sequence[str] | None, prompt: str | None, items: int) -> list[str]:
    if prompt is not None:
        return [prompt] * items
    without = items if texts is None else sum(not text for text in texts)
    if without:
        raise InputError(
            f"without `generator: {{prompt: ...}}` every image has a caption to learn from, and {without} of {items} "
            "have none; fill in the column `text` of the metadata, or set a prompt for all"
        )
    return list(texts or ())
