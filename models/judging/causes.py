"""Whether the images that are valued highest cause the images of a generator: it is trained again without them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from royalty.models.base.errors import InputError


@dataclass(frozen=True)
class Effect:
    """What the removal of items does to the loss of generated images, in nats of an image; higher is more effect.

    Attributes:
        effect: mean increase of the loss against the generator trained on all items with the same seed.
        ahead: mean difference of this increase to that of random removals of as many items with the same seed.
        stderr: standard error of `ahead` over seeds; nan for one seed.
        p: one-sided p-value of the null hypothesis that the removal has no more effect than a random one, by a paired
            t-test over seeds; nan for one seed. Images of one seed share their models, and are no repetitions.
        images: fraction of the generated images on which the removal has more effect than a random one, by the mean
            over seeds.
    """

    effect: float
    ahead: float
    stderr: float
    p: float
    images: float


def removal_effect(without: np.ndarray, without_random: np.ndarray, whole: np.ndarray) -> Effect:
    """Compare a removal with random ones.

    Args:
        without, without_random, whole: losses of the same generated images by generators trained without the items of
            highest value, without random items, and on all items, `(seeds, images)`.

    Raises:
        InputError: the shapes differ, or there are no images.
    """
    if without.ndim != 2 or not without.size or not without.shape == without_random.shape == whole.shape:
        raise InputError(
            f"losses are of the same seeds and images, (seeds, images); got {without.shape}, {without_random.shape} "
            f"and {whole.shape}"
        )
    ahead = (without - without_random).mean(axis=1)  # (seeds,)
    several = len(ahead) > 1
    return Effect(
        effect=float((without - whole).mean()),
        ahead=float(ahead.mean()),
        stderr=float(ahead.std(ddof=1) / np.sqrt(len(ahead))) if several else float("nan"),
        p=float(ttest_1samp(ahead, 0, alternative="greater").pvalue) if several else float("nan"),
        images=float(((without - without_random).mean(axis=0) > 0).mean()),
    )


def most_valuable(items: np.ndarray, scores: np.ndarray, count: int, removed: int) -> np.ndarray:
    """Rows of the items of highest total score, int64, `(removed,)`, ascending.

    Args:
        items, scores: an item and its score for each contribution to a generated image.
        count: number of items.
    """
    totals = np.bincount(items, weights=scores, minlength=count)
    rows: np.ndarray = np.sort(np.argsort(-totals, kind="stable")[:removed])
    return rows
