"""Generated images of low quality among good ones, to test whether quality keeps them from giving value."""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError

SIGMA = 64.0
"""Standard deviation of the noise, in grey levels; that of `royalty.models.data.corruptions.add_noise`."""


def spoil(
    images: np.ndarray, *, share: float, seed: int, poor: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a fraction of generated images by poor ones.

    For one seed, the images that a smaller share replaces are among those that a larger one replaces.

    Args:
        images: uint8, `(generated, channels, height, width)`.
        share: in (0, 1); rounded to a whole number of images, at least one and not all.
        seed: of the choice of images and of the noise.
        poor: uint8, of the shape of `images`, the poor images in their places; by default the images themselves with
            Gaussian noise.

    Returns:
        The images, uint8, of the same shape, and the rows of the poor ones, int64, ascending.

    Raises:
        InputError: the share is out of range, there are fewer than two images, or `poor` has another shape.
    """
    if not 0 < share < 1 or len(images) < 2:
        raise InputError(
            f"some of at least two images become poor, a share above 0 and below 1; got {share:g} of {len(images)} "
            "images. Take 0.3, for example"
        )
    if poor is not None and poor.shape != images.shape:
        raise InputError(f"poor images take the place of others of shape {images.shape}; got {poor.shape}")
    generator = np.random.default_rng(seed)
    count = min(max(round(share * len(images)), 1), len(images) - 1)
    order = generator.permutation(len(images))
    rows = np.sort(order[:count])
    noise = generator.normal(0, SIGMA, size=images.shape)
    others = (images + noise).round().clip(0, 255).astype(np.uint8) if poor is None else poor
    spoiled = images.copy()
    spoiled[rows] = others[rows]
    return spoiled, rows
