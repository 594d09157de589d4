"""The pre-activation ResNet-18 (He et al. 2016) for small images: the encoder of LAVA, trained on trusted images."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.precision import full_float32
from royalty.models.base.progress import Progress
from royalty.models.base.serialization import pack, unpack
from royalty.models.encoders.encoder import in_batches, unit

BLOCKS = (2, 2, 2, 2)


class PreActResNet18:
    """A classifier of uint8 images, `(items, channels, height, width)`, whose last activations are the features.

    Args:
        classes: labels are 0 to `classes` - 1.
        width: channels of the first stage; 64 in the paper. The cost grows with its square.
        seed: seed of the initial weights.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 64, seed: int) -> None:
        self.channels, self.classes, self.width = channels, classes, width
        self.dimensions = 8 * width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = _trunk(channels, width).eval()
            self.trunk.to(memory_format=torch.channels_last)
            self.head = nn.Linear(self.dimensions, classes)
        self.device = torch.device("cpu")

    @property
    def name(self) -> str:
        """Includes a digest of the weights, so that networks trained differently have different names."""
        return f"preact-resnet18-{hashlib.sha256(self.to_bytes()).hexdigest()[:16]}"

    def to(self, device: str) -> PreActResNet18:
        self.device = torch.device(device)
        self.trunk.to(self.device)
        self.head.to(self.device)
        return self

    # With torch 2.14 on an AMD EPYC, oneDNN convolutions of these widths crash or give varying results.
    @torch.backends.mkldnn.flags(enabled=False)
    @full_float32()
    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        steps: int,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        flip: bool = False,
        seed: int,
        progress: Progress | None = None,
    ) -> list[float]:
        """Train by SGD with momentum and a cosine learning rate schedule, on randomly cropped images.

        The crops have the size of the image, which is padded by one eighth of its side.

        Args:
            labels: int64, `(items,)`.
            batch_size: images in a step, at least two, drawn with replacement.
            flip: mirror each image with probability 1/2; use it for photographs, not for digits and letters.
            seed: seed of batches, crops and mirroring.
            progress: called after each step with 1.

        Returns:
            The loss of each step, the mean cross entropy.

        Raises:
            ValueError: the loss of a step is not finite.
        """
        generator = torch.Generator().manual_seed(seed)
        data, target = torch.from_numpy(images), torch.from_numpy(labels).long()
        parameters = [*self.trunk.parameters(), *self.head.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        losses: list[float] = []
        self.trunk.train()
        for _ in range(steps):
            batch = torch.randint(len(data), (batch_size,), generator=generator)
            inputs = _cropped(unit(data[batch].numpy(), self.device), generator)
            if flip:
                mirrored = torch.rand((batch_size, 1, 1, 1), generator=generator).to(self.device) < 0.5
                inputs = torch.where(mirrored, inputs.flip(-1), inputs)
            loss = nn.functional.cross_entropy(self.head(self.embed(inputs)), target[batch].to(self.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ValueError(
                    f"training diverged: the loss of step {len(losses)} is {losses[-1]}; lower the learning rate of "
                    f"{learning_rate}"
                )
            if progress is not None:
                progress(1)
        self.trunk.eval()
        return losses

    @torch.backends.mkldnn.flags(enabled=False)
    def embed(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], `(items, channels, height, width)`; differentiable."""
        inputs = (2 * images.to(self.device) - 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.trunk(inputs)
        return features

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        """Activations before the last layer: float32, `(items, 8 * width)`, all at least zero."""
        return in_batches(
            self.embed, images, self.dimensions, device=self.device, batch_size=batch_size, progress=progress
        )

    def probabilities(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """float32, `(items, classes)`; rows sum to one."""
        return in_batches(
            lambda inputs: self.head(self.embed(inputs)).softmax(dim=1),
            images,
            self.classes,
            device=self.device,
            batch_size=batch_size,
            progress=None,
        )

    def to_bytes(self) -> bytes:
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in self._modules().state_dict().items()}
        return pack(weights, {"channels": self.channels, "classes": self.classes, "width": self.width})

    @classmethod
    def from_bytes(cls, payload: bytes) -> PreActResNet18:
        weights, description = unpack(payload)
        model = cls(**description, seed=0)
        model._modules().load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return model

    def _modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"trunk": self.trunk, "head": self.head})


def _trunk(channels: int, width: int) -> nn.Sequential:
    stages: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
    in_channels = width
    for stage, blocks in enumerate(BLOCKS):
        out_channels = width * 2**stage
        for block in range(blocks):
            stages.append(_Block(in_channels, out_channels, stride=2 if stage > 0 and block == 0 else 1))
            in_channels = out_channels
    return nn.Sequential(*stages, nn.BatchNorm2d(in_channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _Block(nn.Module):
    """A residual block with norm and activation before each convolution, and only the sum after the last."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(in_channels), nn.BatchNorm2d(out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        changes_shape = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False) if changes_shape else None

    def forward(self, x: Tensor) -> Tensor:
        activated = torch.relu(self.norm1(x))
        skipped = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(activated))))
        return residual + skipped


def _cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to one eighth of its longer side in each direction, filling the edges with grey."""
    n, _, height, width = images.shape
    max_shift = max(1, max(height, width) // 8)
    padded = nn.functional.pad(images, (max_shift,) * 4, value=0.5)
    corner = torch.randint(2 * max_shift + 1, (2, n, 1), generator=generator)
    rows = (corner[0] + torch.arange(height)).to(images.device)  # (n, height)
    columns = (corner[1] + torch.arange(width)).to(images.device)  # (n, width)
    item = torch.arange(n, device=images.device)[:, None, None]
    return padded[item, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (n, channels, height, width)
