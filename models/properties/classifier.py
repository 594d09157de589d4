"""A small convolutional classifier, trained on images held out from all generators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.precision import full_float32
from royalty.models.base.serialization import pack, unpack


class Classifier:
    """Class probabilities of uint8 images, `(n, channels, height, width)`. It computes where `to` puts it."""

    def __init__(self, channels: int, classes: int, *, seed: int) -> None:
        self.channels = channels
        self.classes = classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Conv2d(channels, 32, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(64, 64, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(4),
                nn.Flatten(),
                nn.Dropout(0.3),
                nn.Linear(64 * 16, classes),
            ).eval()

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def to(self, device: str) -> Classifier:
        self.net.to(device)
        return self

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        steps: int,
        seed: int,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        progress: Callable[[int], None] | None = None,
    ) -> list[float]:
        """Train with cross entropy on images shifted by up to one eighth of their side and mixed with noise.

        The share of noise is random and usually small. Without noise, the classifier is confident even on pure noise,
        and a generator of noise scores as if it generated an additional class.

        A GPU draws the noise itself. It then differs from that of a CPU, and repeats on a GPU of the same kind.

        Returns:
            The loss of each step.
        """
        device = self.device
        generator = torch.Generator(device).manual_seed(seed)
        # The CPU must know how far to shift; if a GPU drew it, each step would wait for the step before.
        shifts = generator if device.type == "cpu" else torch.Generator().manual_seed(seed)
        data, target = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
        max_shift = max(1, images.shape[-1] // 8)
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        losses: list[Tensor] = []
        self.net.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # dropout draws from the global generator
            for _ in range(steps):
                batch = torch.randint(len(data), (batch_size,), generator=generator, device=device)
                inputs = _with_noise(_shifted(_scaled(data[batch]), max_shift, shifts), generator)
                loss = nn.functional.cross_entropy(self.net(inputs), target[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())
                if progress is not None:
                    progress(1)
        self.net.eval()
        curve: list[float] = torch.stack(losses).tolist() if losses else []
        return curve

    @full_float32()
    @torch.inference_mode()
    def probabilities(self, images: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Class probabilities, float64, `(n, classes)`; rows sum to one."""
        starts = range(0, len(images), batch_size)
        parts = [self.net(self._inputs(images[start : start + batch_size])).double().softmax(dim=1) for start in starts]
        return torch.cat(parts).cpu().numpy()

    @full_float32()
    @torch.inference_mode()
    def features(self, images: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Activations before the last layer, float32, `(n, features)`."""
        starts = range(0, len(images), batch_size)
        parts = [self.net[:-1](self._inputs(images[start : start + batch_size])) for start in starts]
        return torch.cat(parts).cpu().numpy()

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of images whose most probable class is their label."""
        return float((self.probabilities(images).argmax(axis=1) == labels).mean())

    def _inputs(self, images: np.ndarray) -> Tensor:
        return _scaled(torch.from_numpy(images).to(self.device))

    def to_bytes(self) -> bytes:
        weights = {name: tensor.cpu().numpy() for name, tensor in self.net.state_dict().items()}
        return pack(weights, {"channels": self.channels, "classes": self.classes})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Classifier:
        weights, description = unpack(payload)
        classifier = cls(**description, seed=0)
        classifier.net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return classifier


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1  # (n, channels, height, width) in [-1, 1]


def _shifted(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Shift the batch by up to `max_shift` pixels in each direction, filling the edges with black."""
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (max_shift,) * 4, value=-1.0)
    top, left = torch.randint(2 * max_shift + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + height, left : left + width]


def _with_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device) ** 3
    return (1 - share) * images + share * torch.randn(images.shape, generator=generator, device=images.device)
