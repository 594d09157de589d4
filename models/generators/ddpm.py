"""Denoising diffusion in pixel space (Ho et al. 2020), sampled by UniPC (Zhao et al. 2023) unless told otherwise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from models.choices import ImportanceName, PruningScope, SchedulerName
from models.data.items import Shown
from models.generators.generator import (
    NOTHING_ELSE,
    DivergedError,
    Fits,
    Progress,
    Resources,
    batches,
    quantized,
    scaled,
)
from models.generators.schedulers import solver
from models.pruning import Pruning, Size, fit_to_weights, prune, size_of
from models.serialization import pack, unpack

Predict = Callable[[Tensor, Tensor], Tensor]
"""From noisy images `(models, batch, c, h, w)` and times `(models, batch)` to velocities shaped like the images."""

DIFFUSION_STEPS = 1000
SAMPLING_STEPS = 20
GROUPS = 4
TAYLOR_BATCH = 64
TAYLOR_BATCHES = 8


@dataclass(frozen=True)
class Architecture:
    """Shape of the denoising U-Net: square images, one level of the net for each entry of `block_channels`."""

    image_size: int
    channels: int
    block_channels: tuple[int, ...]
    layers_per_block: int


class DDPM:
    """An unconditional denoising diffusion model of uint8 images, `(n, channels, height, width)`."""

    KIND: ClassVar[str] = "ddpm"

    def __init__(self, unet: UNet2DModel, architecture: Architecture) -> None:
        self.unet = unet
        self.architecture = architecture
        # Velocity prediction (Salimans & Ho 2022) on a cosine schedule learns faster on small images than
        # noise prediction on the linear one.
        self.scheduler = DDIMScheduler(
            num_train_timesteps=DIFFUSION_STEPS,
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        )

    @classmethod
    def build(cls, architecture: Architecture, *, seed: int) -> DDPM:
        """A model with random weights, which has learned from nobody."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = UNet2DModel(
                sample_size=architecture.image_size,
                in_channels=architecture.channels,
                out_channels=architecture.channels,
                block_out_channels=architecture.block_channels,
                layers_per_block=architecture.layers_per_block,
                down_block_types=("DownBlock2D",) * len(architecture.block_channels),
                up_block_types=("UpBlock2D",) * len(architecture.block_channels),
                norm_num_groups=GROUPS,
                add_attention=False,
            )
        return cls(unet.eval(), architecture)

    @classmethod
    def for_images(
        cls,
        shown: Shown,
        *,
        block_channels: Sequence[int],
        layers_per_block: int,
        seed: int,
        resources: Resources,
    ) -> DDPM:
        """A model of the size of the images: see `build`."""
        channels, size = shown.images.shape[1:3]
        return cls.build(Architecture(size, channels, tuple(block_channels), layers_per_block), seed=seed).to(
            resources.device
        )

    def to(self, device: str) -> DDPM:
        self.unet.to(device)
        return self

    def untrained(self, *, seed: int) -> DDPM:
        """A model of the same shape, pruned widths included, with random weights."""
        fresh = copy.deepcopy(self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in fresh.unet.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm):
                    module.reset_parameters()
        return fresh

    def copy(self) -> DDPM:
        return copy.deepcopy(self)

    def size(self) -> Size:
        return size_of(self.unet)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.unet.device
        return device

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
    ) -> list[float]:
        """Train on images, from the current weights, and keep the averaged weights.

        The average starts anew with every call: one carried over from another training would keep
        weights that the images given here had no part in.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one.
            labels, texts: nothing is learned from them.
            steps: optimizer steps, at a constant learning rate: the average does what a decay would.
            ema_decay: bound of the decay (1 + t)/(10 + t) of the exponential moving average.
            seed: of batches, timesteps and noise.

        Returns:
            The loss of each step: mean squared error of the predicted velocity.

        Raises:
            DivergedError: the loss is no longer finite.
        """
        # The U-Net stays in evaluation mode: it has no layer that behaves otherwise in training, and in training
        # mode diffusers copies the input of every shortcut.
        training = train(
            lambda noisy, times: self.unet(noisy[0], times[0]).sample[None],
            list(self.unet.parameters()),
            [scaled(images, self.device)],
            self.scheduler,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seed],
        )
        losses = []
        for (loss,) in training:
            losses.append(loss)
            if not math.isfinite(loss):
                raise DivergedError(len(losses), loss, learning_rate)
            if progress is not None:
                progress(1)
        return losses

    def fit_many(self, models: Sequence[DDPM], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """Side by side: see `models.generators.stacked.fit_stacked`."""
        from models.generators import stacked  # which imports this module

        return stacked.fit_stacked(models, [shown.images for shown in sets], seeds=seeds, **training)

    def prune(
        self,
        ratio: float,
        images: np.ndarray,
        *,
        importance: ImportanceName = "magnitude",
        scope: PruningScope = "layer",
        seed: int = 0,
    ) -> Pruning:
        """Remove a share of the parameters, in place: see `models.pruning.prune`.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one; Taylor importance is of their loss.
            seed: of that loss, or of random importance.
        """
        if importance == "taylor":
            self._backward(scaled(images, self.device), seed)
        return prune(self.unet, ratio, importance=importance, scope=scope, seed=seed)

    def _backward(self, data: Tensor, seed: int) -> None:
        """Leave the gradients of the training loss in the parameters, over some batches."""
        generator = torch.Generator(self.device).manual_seed(seed)
        self.unet.zero_grad()
        for batch in batches(len(data), TAYLOR_BATCH, TAYLOR_BATCHES, generator):
            clean = data[batch]
            noise = torch.randn(clean.shape, generator=generator, device=self.device)
            times = torch.randint(DIFFUSION_STEPS, (len(clean),), generator=generator, device=self.device)
            predicted = self.unet(self.scheduler.add_noise(clean, noise, times), times).sample
            loss = nn.functional.mse_loss(predicted, self.scheduler.get_velocity(clean, noise, times))
            loss.backward()  # type: ignore[no-untyped-call]

    def solver(self, steps: int, scheduler: SchedulerName = "unipc") -> Any:
        """The sampler at its start: see `models.generators.schedulers.solver`.

        UniPC is of second order: the utilities of coalitions after 5 steps are closer to those after 50 of DDIM than
        after 10 of DDIM (`tests/benchmarks/sampling_variance.py`).
        """
        return solver(scheduler, self.scheduler.config, steps, self.device)

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = SAMPLING_STEPS,
        scheduler: SchedulerName = "unipc",
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images, deterministically from the initial noise.

        The initial noise of batch b depends on `seed` and b alone, so two models sampled with one seed
        start from the same noise and differ only by what they learned.

        Returns:
            uint8, `(n, channels, height, width)`.
        """
        shape = (self.architecture.channels, self.architecture.image_size, self.architecture.image_size)
        images = []
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator(self.device).manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            latent = torch.randn((size, *shape), generator=generator, device=self.device)
            solver = self.solver(steps, scheduler)
            for time in solver.timesteps:
                latent = solver.step(self.unet(latent, time).sample, time, latent).prev_sample
            images.append(quantized(latent))
            if progress is not None:
                progress(size)
        return np.concatenate(images)

    def to_bytes(self) -> bytes:
        """Weights and architecture as one safetensors payload."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.unet.state_dict().items()}
        return pack(weights, {"kind": self.KIND, **asdict(self.architecture)})

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> DDPM:
        """The model that `to_bytes` saved, pruned widths included."""
        weights, description = unpack(payload)
        del description["kind"]
        description["block_channels"] = tuple(description["block_channels"])
        model = cls.build(Architecture(**description), seed=0)
        state = {name: torch.from_numpy(array) for name, array in weights.items()}
        fit_to_weights(model.unet, state)
        model.unet.load_state_dict(state)
        return model.to(resources.device)


def train(
    predict: Predict,
    parameters: list[Tensor],
    sets: Sequence[Tensor],
    scheduler: DDIMScheduler,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seeds: Sequence[int],
) -> Iterator[list[float]]:
    """Train models side by side, each on its own images from its own seed: see `DDPM.fit`.

    Args:
        predict: all models at once.
        parameters: every weight of every model; what one model predicts depends on its own weights only.
        sets: for each model its images, `(items, c, h, w)` in [-1, 1].
        seeds: for each model that of its batches, timesteps and noise.

    Yields:
        The loss of each model, after each step. When the last step has been taken up, the parameters
        become their averages; a caller that stops earlier leaves them in between.
    """
    device = sets[0].device
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    plans = [batches(len(data), batch_size, steps, generator) for data, generator in zip(sets, generators, strict=True)]
    weights = [parameter.detach() for parameter in parameters]
    average = [weight.clone() for weight in weights]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, fused=True)
    for step, chosen in enumerate(zip(*plans, strict=True)):
        clean = torch.stack([data[batch] for data, batch in zip(sets, chosen, strict=True)])  # (models, batch, c, h, w)
        noise, times = torch.empty_like(clean), torch.empty(clean.shape[:2], dtype=torch.long, device=device)
        for model, generator in enumerate(generators):
            noise[model] = torch.randn(clean.shape[1:], generator=generator, device=device)
            times[model] = torch.randint(DIFFUSION_STEPS, (batch_size,), generator=generator, device=device)
        every = (clean.flatten(0, 1), noise.flatten(0, 1), times.flatten())
        noisy, velocity = scheduler.add_noise(*every), scheduler.get_velocity(*every)
        error = predict(noisy.view_as(clean), times) - velocity.view_as(clean)
        losses = error.square().flatten(1).mean(1)  # (models,)
        optimizer.zero_grad()
        # The sum gives each model the gradient of its own loss.
        losses.sum().backward()
        optimizer.step()
        # The first step replaces the average: the weights before it are not part of it.
        torch._foreach_lerp_(average, weights, 1 - min(ema_decay, (1 + step) / (10 + step)) if step else 1.0)
        yield losses.tolist()
    torch._foreach_copy_(weights, average)
