"""Score training images by how much a patch-wise optimal denoiser uses them for generated images. Needs no model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, unfold

LEVELS = (0.9, 0.7, 0.5, 0.3)
"""Default noise levels: the signal variance alpha_bar of the noisy generated image."""

MOST_QUERIES = 256
"""Query patches compared at once."""

READ = 1024
"""Images read at once."""

SIDE = 16
"""Images are reduced to this side, in pixels: the time grows with about its fourth power."""


def patch_attribution(
    train_images: np.ndarray,
    generated_images: np.ndarray,
    *,
    patch: int | None = None,
    stride: int | None = None,
    levels: tuple[float, ...] = LEVELS,
    side: int = SIDE,
    seed: int,
    entries: int = 2**19,
) -> np.ndarray:
    """Nonparametric data attribution: the share of each image in the posterior of patches of noisy generated images.

    A generated image x_0 is noised, x_t = sqrt(a) x_0 + sqrt(1 - a) e with a = alpha_bar. For a patch p of x_t, the
    weight of position j of training image i is the softmax, over all positions of all training images, of
    -||p(x_t) - sqrt(a) p_j(x_i)||^2 / (2 (1 - a)). This is the posterior under which the optimal denoiser of patches
    averages (arXiv 2510.14269). Weights are summed over j, and averaged over the patches of x_t, the noise levels and
    the generated images. Unlike the code of the authors, patches do not extend beyond the border of the image, and the
    patches of x_t are those of a stride, and large images are reduced. Time is proportional to the number of pairs of
    patches and to their area.

    Args:
        train_images: uint8, `(items, channels, height, width)`; scaled to [-1, 1].
        generated_images: uint8, `(generated, channels, height, width)`.
        patch: side of the square patches, in pixels of the reduced images. Default: a third of their shorter side.
        stride: distance between patches of x_t, in pixels; training images have a patch at every position. Default:
            half of `patch`.
        levels: values of alpha_bar, above 0 and below 1. Distances are computed in float32, so that logits have an
            error of about 1e-6 / (1 - alpha_bar) for patches of 25 pixels.
        side: images with a longer shorter side are reduced to it by averages of areas.
        seed: of the noise, which differs between generated images and between levels.
        entries: largest number of weights, or of pixels of patches, held at once; at least those of one training image.

    Returns:
        float64, `(items,)`, in [0, 1] with sum 1; higher is more valuable. Scores may be summed over items.

    Raises:
        ValueError: images of different shapes, no images, a patch larger than the images, or another argument out of
            range.
    """
    if train_images.ndim != 4 or train_images.shape[1:] != generated_images.shape[1:]:
        raise ValueError(
            "training and generated images have the same channels, height and width, got shapes "
            f"{train_images.shape} and {generated_images.shape}; resize them to the same size"
        )
    if not (len(train_images) and len(generated_images)):
        raise ValueError(
            "there is at least one training image and one generated image, got "
            f"{len(train_images)} and {len(generated_images)}; add images"
        )
    if side < 1:
        raise ValueError(f"`side` is at least 1 pixel, got {side}; choose a larger one")
    height, width = train_images.shape[2:]
    reduced = min(1.0, side / min(height, width))
    shape = round(reduced * height), round(reduced * width)
    shorter = min(shape)
    patch = max(1, round(shorter / 3)) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= shorter:
        raise ValueError(f"`patch` is from 1 to the shorter side of the images, {shorter}, got {patch}; choose another")
    if stride < 1 or entries < 1:
        raise ValueError(f"`stride` and `entries` are at least 1, got {stride} and {entries}; choose larger ones")
    if not levels or not all(0 < level < 1 for level in levels):
        raise ValueError(f"`levels` are above 0 and below 1, got {levels}; 0.9 is little noise, 0.1 is much")

    queries = _noisy_patches(_scaled(generated_images, shape), patch, stride, levels, seed)
    train = _scaled(train_images, shape)
    positions = (train.shape[2] - patch + 1) * (train.shape[3] - patch + 1)
    queries_at_once = min(MOST_QUERIES, max(1, entries // len(train)))
    images_at_once = max(1, entries // (positions * max(queries_at_once, queries.shape[1])))
    total = torch.zeros(len(train), dtype=torch.float64)
    for first in range(0, len(queries), queries_at_once):
        rows = queries[first : first + queries_at_once]
        logits = [
            _log_weights(rows, train[start : start + images_at_once], patch)
            for start in range(0, len(train), images_at_once)
        ]
        total += torch.cat(logits, dim=1).double().softmax(dim=1).sum(dim=0)
    scores: np.ndarray = (total / len(queries)).numpy()
    return scores


def _scaled(images: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Images in [-1, 1], reduced to a height and width; of a memory map, a part is read at a time."""
    scaled = torch.empty(*images.shape[:2], *shape)
    for start in range(0, len(images), READ):
        part = torch.tensor(images[start : start + READ]).float() / 127.5 - 1
        scaled[start : start + READ] = interpolate(part, shape, mode="area")
    return scaled


def _noisy_patches(images: Tensor, patch: int, stride: int, levels: tuple[float, ...], seed: int) -> Tensor:
    """Patches of the noisy images, such that their product with `(p, ||p||^2)` is the logit of a training patch p.

    ||x - sqrt(a) p||^2 = ||x||^2 - 2 sqrt(a) x'p + a ||p||^2, and ||x||^2 cancels in the softmax.

    Returns:
        float32, `(levels * images * patches, pixels + 1)`.
    """
    generator = torch.Generator().manual_seed(seed)
    queries = []
    for level in levels:
        noise = torch.randn(images.shape, generator=generator)
        patches = unfold(level**0.5 * images + (1 - level) ** 0.5 * noise, patch, stride=stride)
        rows = patches.transpose(1, 2).flatten(0, 1)  # (images * patches, pixels)
        weight = torch.full((len(rows), 1), -level / (2 * (1 - level)))
        queries.append(torch.cat([rows * (level**0.5 / (1 - level)), weight], dim=1))
    return torch.cat(queries)


def _log_weights(queries: Tensor, images: Tensor, patch: int) -> Tensor:
    """Log of the weight of each image, not normalized: `(queries, images)`.

    It is -inf for an image whose weight is below 1e-38 of the largest weight among these images.
    """
    patches = unfold(images, patch)  # (images, pixels, positions)
    keys = torch.cat([patches, patches.square().sum(dim=1, keepdim=True)], dim=1).transpose(0, 1).flatten(1)
    weights = queries @ keys
    largest = weights.amax(dim=1, keepdim=True)
    weights.sub_(largest).exp_()  # in place: faster than `logsumexp`
    return weights.view(len(queries), len(images), -1).sum(dim=2).log_().add_(largest)
