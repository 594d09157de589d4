"""The small convolutional GAN (Radford et al. 2016), in the architecture of the GMValuator experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.shapes import ImageShape
from royalty.models.generators.acceleration import laid_out
from royalty.models.generators.averaging import Average
from royalty.models.generators.draws import Draws
from royalty.models.generators.kinds import FRAME
from royalty.models.generators.latent import LatentGenerator, Part
from royalty.models.generators.readings import Readings
from royalty.models.generators.resume import Keeper

CODES = 100
SLOPE = 0.2
MOMENTA = (0.5, 0.999)
DEVIATION = 0.02
"""Standard deviation of initial weights."""


class DCGAN(LatentGenerator):
    """A generator of images from codes of 100 numbers, with the discriminator that trains it.

    The 8,192 numbers between the dense and the convolutional layers are 128 channels of 8 by 8, so the nets work on
    32 by 32 pixels; smaller images are padded, see `LatentGenerator`.

    Args:
        shape: `(channels, height, width)`, sides of at most 32.
        seed: of the initial weights.
    """

    KIND: ClassVar[str] = "dcgan"

    def __init__(self, shape: ImageShape, *, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(shape, CODES, _decoder(shape[0]))
            self.discriminator = _discriminator(shape[0])
            for layer in self.modules():
                self.initialize(layer)
        self.eval()

    def fit(
        self,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float = 0.0,
        seed: int,
        progress: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> list[float]:
        """Train both nets with Adam from the current weights, in alternating steps (Goodfellow et al. 2014).

        The generator uses the non-saturating loss: it maximizes the log-probability that its images are real.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one.
            labels, texts: ignored.
            batch_size: at least 2, because of batch normalization.
            ema_decay: upper bound of the decay of the moving average of the generator's weights and normalization
                statistics; 0 keeps the last ones. The discriminator is not averaged.
            seed: of batches and codes.
            progress: called after each step with 1.
            keeper: ignored; training takes minutes.

        Returns:
            For each step the sum of the losses of discriminator and generator, mean cross entropies. It does not
            measure the quality of the images.

        Raises:
            InputError: images that are not of the generator's shape, or a batch of one.
            DivergedError: a loss is no longer finite. On a GPU, up to `readings.READ_EVERY` steps later are done.
        """
        if batch_size < 2:
            raise InputError(f"batch normalization needs batches of at least 2 images; got {batch_size}. Take 64")
        laid_out(self, self.device)
        data, draws = self.framed(images), Draws([seed], self.device)
        (plan,) = draws.plans([data], batch_size, steps)
        readings = Readings(draws, steps)
        discriminator_optimizer, decoder_optimizer = (
            torch.optim.Adam(part.parameters(), lr=learning_rate, betas=MOMENTA, fused=True)
            for part in (self.discriminator, self.decoder)
        )
        statistics = [buffer for buffer in self.decoder.buffers() if buffer.is_floating_point()]
        average = Average([*self.decoder.parameters(), *statistics], ema_decay)
        self.train()
        try:
            for batch in plan:
                generated = self.decoder(draws.normal((batch_size, CODES)))
                # softplus(-logit) is the cross entropy of "real", softplus(logit) that of "generated".
                softplus = nn.functional.softplus
                discriminator_loss = (
                    softplus(-self.discriminator(data[batch])).mean()
                    + softplus(self.discriminator(generated.detach())).mean()
                )
                discriminator_optimizer.zero_grad()
                discriminator_loss.backward()  # type: ignore[no-untyped-call]
                discriminator_optimizer.step()
                decoder_loss = softplus(-self.discriminator(generated)).mean()
                decoder_optimizer.zero_grad()
                decoder_loss.backward(inputs=list(self.decoder.parameters()))  # type: ignore[no-untyped-call]
                decoder_optimizer.step()
                readings.check(torch.stack([discriminator_loss, decoder_loss]).detach(), learning_rate)
                average.add()
                if progress is not None:
                    progress(1)
        finally:
            self.eval()
        average.keep()
        return readings.sums

    def initialize(self, layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # As in Radford et al.; with torch's default weights 300 steps give checkerboards, not digits.
            nn.init.normal_(layer.weight, std=DEVIATION)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # every layer here has one
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=DEVIATION)
            nn.init.zeros_(layer.bias)
            layer.reset_running_stats()

    def parts(self) -> list[Part]:
        codes, pictures = torch.zeros((1, CODES)), torch.zeros((1, self.shape[0], FRAME, FRAME))
        return [
            Part(self.decoder, (codes.to(self.device),), (self.decoder[-2],)),
            Part(self.discriminator, (pictures.to(self.device),), (self.discriminator[-1],)),
        ]


def _decoder(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(CODES, 8192),
        nn.Unflatten(1, (-1, 8, 8)),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1),  # (n, 64, 16, 16)
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, channels, 4, 2, 1),  # (n, channels, 32, 32)
        nn.Tanh(),
    )


def _discriminator(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 64, 4, 2, 1),  # (n, 64, 16, 16)
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(64, 128, 4, 2, 1),  # (n, 128, 8, 8)
        nn.BatchNorm2d(128),
        nn.LeakyReLU(SLOPE),
        nn.Flatten(),
        nn.Linear(8192, 1024),
        nn.BatchNorm1d(1024),
        nn.LeakyReLU(SLOPE),
        nn.Linear(1024, 1),
    )
