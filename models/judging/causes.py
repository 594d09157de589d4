"""Whether the images that are valued highest cause the images of a generator: it is trained again without them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test, ttest_1samp

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


@dataclass(frozen=True)
class OwnEffect:
    """What the removal of the items behind a generated image does to its loss, in nats; higher is more effect.

    Attributes:
        effect: mean loss of an image without the items behind it, less that without those behind each other image.
        stderr: standard error of `effect` over images.
        p: one-sided p-value of the null hypothesis that it does not matter whose items are removed, by a permutation
            test of which removal is whose.
        images: fraction of the images on which the removal of their own items has more effect than that of others'.
        effects: the effect on each image, `(images,)`.
    """

    effect: float
    stderr: float
    p: float
    images: float
    effects: np.ndarray


def own_effect(losses: np.ndarray, seed: int = 0) -> OwnEffect:
    """Compare the removal of the items behind each image with that of the items behind the others.

    All removals have as many items, and each is the control of the others. Seeds are averaged.

    Args:
        losses: loss of each image by the generator trained without the items behind each image, `(seeds, removals,
            images)`; removals and images are in one order.
        seed: of the permutations, if there are too many to try all.

    Raises:
        InputError: there are fewer than three images, or not as many removals as images.
    """
    if losses.ndim != 3 or losses.shape[1] != losses.shape[2] or losses.shape[2] < 3:
        raise InputError(
            "losses are of three images or more, with a removal for each, (seeds, removals, images); got "
            f"{losses.shape}"
        )
    means: np.ndarray = losses.mean(axis=0)
    images = len(means)
    own = np.diag(means)
    effects = own - (means.sum(axis=0) - own) / (images - 1)
    order = np.arange(images)

    def total(removals: np.ndarray) -> float:
        return float(means[removals, order].sum())

    tested = permutation_test(
        (order,), total, permutation_type="pairings", alternative="greater", n_resamples=9999, rng=seed
    )
    return OwnEffect(
        effect=float(effects.mean()),
        stderr=float(effects.std(ddof=1) / np.sqrt(images)),
        p=float(tested.pvalue),
        images=float((effects > 0).mean()),
        effects=effects,
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
