"""Train a small Stable Diffusion pipeline from scratch on captioned images (Rombach et al. 2022, sections 3.1 to 3.3).

The autoencoder is trained first; then the U-Net is trained on its latents, together with the text encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.progress import Progress
from royalty.models.generators.acceleration import fused, laid_out
from royalty.models.generators.averaging import Average
from royalty.models.generators.draws import Draws
from royalty.models.generators.generator import ScaledImages
from royalty.models.generators.libraries import AutoencoderKL, DDPMScheduler, get_cosine_schedule_with_warmup
from royalty.models.generators.readings import Readings
from royalty.models.generators.resume import Keeper, pack_training, unpack_training

KL_WEIGHT = 1e-3
"""Weight of the mean KL divergence of a latent number from the standard normal, relative to the mean squared error."""

UNCAPTIONED = 0.1
"""Fraction of the captions that are dropped, for classifier-free guidance (Ho and Salimans 2022)."""

WARMUP_SHARE, EMA_DECAY, WEIGHT_DECAY, ENCODING_BATCH = 0.1, 0.995, 1e-2, 256

Loss = Callable[[Tensor, Draws], Tensor]
"""From positions of images and the random draws to the loss."""


def train_autoencoder(
    vae: AutoencoderKL,
    images: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> list[float]:
    """Train an autoencoder by reconstruction, in place, and set the scaling factor that gives latents unit variance.

    Args:
        images: uint8, `(n, 1 or 3, side, side)`.
        keeper: saves the state from time to time and after the last step, so that an interrupted training resumes and a
            finished one is not repeated.

    Returns:
        The loss of each step.

    Raises:
        DivergedError: the loss is no longer finite. On a GPU, up to `readings.READ_EVERY` steps later are done.
    """
    shown = ScaledImages(images, vae.device)

    def loss(places: Tensor, draws: Draws) -> Tensor:
        colour = _coloured(shown, places, vae)
        latent = vae.encode(colour).latent_dist
        sampled = latent.mean + latent.std * draws.normal(latent.mean.shape)
        reconstruction = (vae.decode(sampled).sample - colour).square().mean()
        divergence = (latent.mean.square() + latent.var - 1 - latent.logvar).mean() / 2
        total: Tensor = reconstruction + KL_WEIGHT * divergence
        return total

    losses = _optimize(
        [vae],
        loss,
        shown,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        progress=progress,
        keeper=keeper,
    )
    deviation = latents_of(vae, images)[:, :1].std()
    vae.register_to_config(scaling_factor=float(1 / deviation))
    return losses


@torch.no_grad()
def latents_of(vae: AutoencoderKL, images: np.ndarray) -> Tensor:
    """Unscaled means and standard deviations of the latents of images: `(n, 2, channels, h, w)`."""
    shown, parts = ScaledImages(images, vae.device), torch.split(torch.arange(len(images)), ENCODING_BATCH)
    dists = [vae.encode(_coloured(shown, part, vae)).latent_dist for part in parts]
    return torch.cat([torch.stack([dist.mean, dist.std], 1) for dist in dists])


def train_denoiser(
    pipeline: Any,
    images: np.ndarray,
    texts: Sequence[str],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> list[float]:
    """Train the U-Net and the text encoder of a pipeline whose autoencoder is trained, in place.

    The loss is the mean squared error of the predicted noise.

    Args:
        texts: one caption for each image.
        keeper: see `train_autoencoder`.

    Returns:
        The loss of each step.

    Raises:
        DivergedError: as `train_autoencoder`.
    """
    unet, encoder, tokenizer = pipeline.unet, pipeline.text_encoder, pipeline.tokenizer
    noising = DDPMScheduler.from_config(pipeline.scheduler.config)
    moments = latents_of(pipeline.vae, images) * pipeline.vae.config.scaling_factor  # (n, 2, channels, h, w)
    captions = ["", *sorted(set(texts))]  # index 0 is the empty caption
    caption_index = torch.tensor([captions.index(text) for text in texts], device=unet.device)
    tokens = tokenizer(captions, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    tokens = tokens["input_ids"].to(unet.device)  # (captions, tokens)

    def loss(places: Tensor, draws: Draws) -> Tensor:
        # One draw samples the latent from its posterior, the other is the noise to predict.
        noise = draws.normal((2, len(places), *moments.shape[2:]))
        times = draws.below(int(noising.config.num_train_timesteps), len(places))
        captioned = draws.uniform(len(places)) >= UNCAPTIONED
        clean = moments[places, 0] + moments[places, 1] * noise[0]
        noisy = noising.add_noise(clean, noise[1], times)
        embedded = encoder(tokens)[0][caption_index[places] * captioned]  # (batch, tokens, features)
        error: Tensor = (unet(noisy, times, embedded).sample - noise[1]).square().mean()
        return error

    return _optimize(
        [unet, encoder],
        loss,
        moments,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        progress=progress,
        keeper=keeper,
    )


def _optimize(
    nets: Sequence[nn.Module],
    loss: Loss,
    data: Tensor | ScaledImages,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Progress | None,
    keeper: Keeper | None,
) -> list[float]:
    """Train with AdamW, warm-up and cosine decay of the learning rate; the nets end with their averaged weights.

    Args:
        data: the rows that are trained on; the loss takes their positions, on the device that holds them.
    """
    for net in nets:
        laid_out(net, next(net.parameters()).device)
    parameters = [parameter for net in nets for parameter in net.parameters()]
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=fused(device))
    rate = get_cosine_schedule_with_warmup(optimizer, round(steps * WARMUP_SHARE), steps)
    draws = Draws([seed], device)
    (plan,) = draws.plans([data], batch_size, steps)
    average = Average(parameters, EMA_DECAY)
    saved = keeper.load() if keeper else None
    done = unpack_training(saved, optimizer, average.means, draws.generators) if saved else []
    readings, average.step = Readings(draws, steps, done), len(done)
    for _ in done:
        rate.step()
    for net in nets:
        net.train()
    for step, places in enumerate(islice(plan, len(done), None), len(done) + 1):
        optimizer.zero_grad()
        batch_loss = loss(places, draws)
        batch_loss.backward()  # type: ignore[no-untyped-call]
        saving = keeper is not None and (keeper.due() or step == steps)
        readings.check(batch_loss.detach()[None], learning_rate, now=saving)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate.step()
        average.add()
        if progress is not None:
            progress(1)
        if keeper and saving:
            keeper.save(pack_training(optimizer, average.means, draws.generators, readings.rows))
    average.keep()
    for net in nets:
        net.eval()
    return readings.sums


def _coloured(shown: ScaledImages, places: Tensor, vae: AutoencoderKL) -> Tensor:
    """The images at these positions in [-1, 1], with as many channels as the autoencoder takes."""
    return shown[places].expand(-1, vae.config.in_channels, -1, -1)
