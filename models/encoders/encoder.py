"""The interface of image encoders, and the preparation of images for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.errors import InputError
from royalty.models.base.precision import full_float32
from royalty.models.base.progress import Progress

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(Protocol):
    """A fixed map from images to vectors; the features of an image do not depend on its neighbours in a batch.

    Attributes:
        name: identifies everything that the features depend on, including input size and learned weights: encoders with
            the same name give an image the same features.
        dimensions: length of a feature vector.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], `(items, channels, height, width)`; differentiable."""
        ...

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        """Embed uint8 images, `(items, channels, height, width)`; float32, `(items, dimensions)`."""
        ...


def unit(images: np.ndarray, device: torch.device) -> Tensor:
    """Convert uint8 images to floats in [0, 1].

    Raises:
        InputError: the images are not uint8 with four dimensions.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"encoders take uint8 images, (items, channels, height, width); got {images.dtype} of shape "
            f"{images.shape}. Add the missing dimension, or convert to 0..255"
        )
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).float().div_(255)


def prepared(
    images: Tensor,
    size: int,
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Prepare images in [0, 1] for a network, by default one trained on ImageNet; differentiable.

    Greyscale is repeated to three channels. The whole image is resized to a square of `size` pixels regardless of its
    aspect ratio, with antialiasing when it shrinks; overshoots of bicubic interpolation are clipped. Channels are
    standardized by mean and standard deviation last.

    Returns:
        float32, `(items, 3, size, size)`.

    Raises:
        InputError: the images have neither one channel nor three.
    """
    colour = as_colour(images)
    if colour.shape[-2:] != (size, size):
        colour = nn.functional.interpolate(colour, (size, size), mode=interpolation, antialias=True).clamp(0, 1)
    centre, scale = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, std))
    return (colour - centre) / scale


def as_colour(images: Tensor) -> Tensor:
    """Three channels, `(items, 3, height, width)`; greyscale is repeated.

    Raises:
        InputError: the images have neither one channel nor three.
    """
    if images.shape[1] not in (1, 3):
        raise InputError(f"images have one channel or three; these have {images.shape[1]}. Remove the alpha channel")
    return images.expand(-1, 3, -1, -1)


@torch.inference_mode()
@full_float32()
def in_batches(
    embed: Callable[[Tensor], Tensor],
    images: np.ndarray,
    dimensions: int,
    *,
    device: torch.device,
    batch_size: int,
    progress: Progress | None,
) -> np.ndarray:
    """Apply `embed` to images in [0, 1], a batch at a time, in full float32; `(items, dimensions)`."""
    features = np.empty((len(images), dimensions), dtype=np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        features[start : start + len(batch)] = embed(unit(batch, device)).float().cpu().numpy()
        if progress is not None:
            progress(len(batch))
    return features
