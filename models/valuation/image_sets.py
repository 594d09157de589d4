"""Draw sets of images, which are the coalitions of faithful group Shapley values."""

from __future__ import annotations

import numpy as np

from royalty.models.base.arrays import as_seed, as_whole
from royalty.models.base.errors import InputError


def sample_image_sets(n_images: int, count: int, *, seed: int) -> list[np.ndarray]:
    """Draw sets of images for `faithful_shapley`: a stratified sample of the KernelSHAP sizes, with complements.

    Sizes s of 1 to n - 1 have a probability in proportion to 1/(s (n - s)); every set of a size is equally likely.

    Args:
        n_images: at least 2.
        count: sets, an even number of at least 2.

    Returns:
        Positions of the images of each set, sorted; sets 2i and 2i + 1 are complements.

    Raises:
        InputError: too few images, or an odd or too small number of sets.

    Examples:
        >>> import royalty
        >>> first, rest = royalty.sample_image_sets(5, 2, seed=0)
        >>> sorted([*first.tolist(), *rest.tolist()])
        [0, 1, 2, 3, 4]
    """
    n_images, count = as_whole(n_images, "n_images"), as_whole(count, "count")
    if n_images < 2 or count < 2 or count % 2:
        raise InputError(
            f"an even number of sets of at least 2 images is drawn; got {count} sets of {n_images} images. Correct them"
        )
    generator = np.random.default_rng(as_seed(seed))
    sizes = np.arange(1, n_images)
    cumulative = np.cumsum(1 / (sizes * (n_images - sizes)))
    positions = (np.arange(count // 2) + generator.random(count // 2)) / (count // 2) * cumulative[-1]
    drawn = sizes[np.minimum(np.searchsorted(cumulative, positions), n_images - 2)]
    sets = []
    for size in generator.permutation(drawn):
        order = generator.permutation(n_images)
        sets += [np.sort(order[:size]), np.sort(order[size:])]
    return sets
