"""The beta-VAE of small images (Higgins et al. 2017), in the architecture of the GMValuator experiments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.progress import Progress
from royalty.models.base.shapes import ImageShape
from royalty.models.generators.acceleration import laid_out
from royalty.models.generators.averaging import Average
from royalty.models.generators.draws import Draws
from royalty.models.generators.kinds import FRAME
from royalty.models.generators.latent import LatentGenerator, Part
from royalty.models.generators.readings import Readings
from royalty.models.generators.resume import Keeper

LATENTS = 32
HIDDEN = 256


class BetaVAE(LatentGenerator):
    """An encoder of four convolutions, a normal code of 32 numbers, and the encoder's mirror image.

    The decoder is Gaussian with unit variance around its means, which lie in [-1, 1] as the pixels do; samples
    are those means. Four layers of stride 2 reduce a side of 32 to 2; smaller images are padded, see `LatentGenerator`.

    Args:
        shape: `(channels, height, width)`, sides of at most 32.
        beta: weight of the divergence from the prior; smaller gives sharper images, larger gives more typical ones.
        seed: of the initial weights.
    """

    KIND: ClassVar[str] = "beta-vae"

    def __init__(self, shape: ImageShape, *, beta: float = 1.0, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(shape, LATENTS, _decoder(shape[0]))
            self.encoder = _encoder(shape[0])
            for layer in self.modules():
                self.initialize(layer)
        self.beta = beta

    def forward(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """Loss of each image, `(n,)`: the negative evidence lower bound up to a constant, in nats.

        |x - decoder(z)|^2 / 2 + beta KL(q(z|x) | N(0, I)), at z = mean + deviation * noise.

        Args:
            pictures: in [-1, 1], `(n, channels, 32, 32)`, as `framed` makes them.
            noise: standard normal, `(n, 32)`.
        """
        mean, log_variance = self.encoder(pictures).chunk(2, dim=1)
        decoded = self.decoder(mean + (log_variance / 2).exp() * noise)
        error = (decoded - pictures).square().flatten(1).sum(dim=1) / 2
        divergence: Tensor = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
        losses: Tensor = error + self.beta * divergence
        return losses

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
        """Train with Adam from the current weights; call it repeatedly to obtain checkpoints.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one.
            labels, texts: ignored.
            ema_decay: upper bound of the decay of the moving average of weights; 0 keeps the last weights.
            seed: of batches and noise.
            progress: called after each step with 1.
            keeper: ignored; training takes minutes.

        Returns:
            The loss of each step, the mean over its batch.

        Raises:
            InputError: images that are not of the generator's shape.
            DivergedError: the loss is no longer finite. On a GPU, up to `readings.READ_EVERY` steps later are done.
        """
        laid_out(self, self.device)
        data, draws = self.framed(images), Draws([seed], self.device)
        (plan,) = draws.plans([data], batch_size, steps)
        readings = Readings(draws, steps)
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate, fused=True)
        average = Average(list(self.parameters()), ema_decay)
        for batch in plan:
            loss = self(data[batch], draws.normal((batch_size, LATENTS))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            readings.check(loss.detach()[None], learning_rate)
            average.add()
            if progress is not None:
                progress(1)
        average.keep()
        return readings.sums

    def initialize(self, layer: nn.Module) -> None:
        # With torch's default weights the signal fades over this many layers, and the decoder ignores the code.
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _initialize(layer)

    def parts(self) -> list[Part]:
        example = torch.zeros((1, self.shape[0], FRAME, FRAME)), torch.zeros((1, LATENTS))
        ends = self.encoder[-1], self.decoder[-2]
        return [Part(self, tuple(tensor.to(self.device) for tensor in example), ends)]

    def description(self) -> dict[str, object]:
        return {"shape": self.shape, "beta": self.beta}


def _initialize(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    """Draw weights that preserve the variance of the signal through a layer and a ReLU (He et al. 2015)."""
    terms = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        terms = layer.in_channels * 4  # at stride 2, 4 of the 16 kernel weights contribute to a pixel
    nn.init.normal_(layer.weight, std=math.sqrt(2 / terms))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _encoder(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 32, 4, 2, 1),  # (n, 32, 16, 16)
        nn.ReLU(),
        nn.Conv2d(32, 32, 4, 2, 1),  # (n, 32, 8, 8)
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1),  # (n, 64, 4, 4)
        nn.ReLU(),
        nn.Conv2d(64, 64, 4, 2, 1),  # (n, 64, 2, 2)
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 2 * 2, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 2 * LATENTS),  # means and log-variances
    )


def _decoder(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENTS, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 64 * 2 * 2),
        nn.ReLU(),
        nn.Unflatten(1, (-1, 2, 2)),
        nn.ConvTranspose2d(64, 64, 4, 2, 1),  # (n, 64, 4, 4)
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),  # (n, 32, 8, 8)
        nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 4, 2, 1),  # (n, 32, 16, 16)
        nn.ReLU(),
        nn.ConvTranspose2d(32, channels, 4, 2, 1),  # (n, channels, 32, 32)
        nn.Tanh(),
    )
