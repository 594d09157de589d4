"""The criteria of the GMValuator paper for valuations of training images by generated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr, ttest_ind

from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection


@dataclass(frozen=True)
class IdenticalShare:
    """The share of the k most valuable items for a generated image that are like it, over generated images.

    Attributes:
        k: number of most valuable items per generated image.
        share: mean over generated images, in [0, 1]; higher is better.
        stderr: standard error of that mean; nan for a single generated image.
        per_image: float64, `(generated,)`, the share of each generated image.
    """

    k: int
    share: float
    stderr: float
    per_image: np.ndarray


def identical_class(
    neighbours: np.ndarray, item_labels: np.ndarray, generated_labels: np.ndarray, *, ks: Sequence[int] = (30, 50, 100)
) -> tuple[IdenticalShare, ...]:
    """Criterion C1: the share of the k most valuable items that have the class of the generated image.

    Args:
        neighbours: `(generated, at least max(ks))`, indices of items, most valuable first.
        item_labels: integers, `(items,)`.
        generated_labels: integers, `(generated,)`: the requested classes, or the predictions of a classifier.

    Returns:
        A share for each of `ks`, in their order.

    Raises:
        InputError: there are no generated images, labels do not match the images, or neighbours are out of range or
            fewer than a k.
    """
    _check_neighbours(neighbours, len(item_labels), ks)
    for title, labels, count in (("item", item_labels, None), ("generated image", generated_labels, len(neighbours))):
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (count and len(labels) != count):
            raise InputError(
                f"each {title} has one label, an integer; got {labels.dtype} of shape {labels.shape}"
                + (f" for {count} generated images" if count else "")
                + ". Pass one integer for each"
            )
    return _shares(item_labels[neighbours] == generated_labels[:, None], ks)


def identical_attributes(
    neighbours: np.ndarray,
    item_attributes: np.ndarray,
    generated_attributes: np.ndarray,
    *,
    columns: Sequence[int],
    ks: Sequence[int] = (5, 10, 15),
) -> tuple[IdenticalShare, ...]:
    """Criterion C2: the share of the k most valuable items that agree with the generated image in all given attributes.

    One column is the single-attribute test of the paper, several are the combined test. Items agree if both have the
    attribute or both lack it. The paper tests only generated images that have the attribute; pass only those to
    reproduce it.

    Args:
        neighbours: `(generated, at least max(ks))`, indices of items, most valuable first.
        item_attributes: bool, `(items, attributes)`.
        generated_attributes: bool, `(generated, attributes)`.
        columns: columns of the attributes to compare, at least one.

    Raises:
        InputError: as for `identical_class`; attributes are not boolean, or columns are out of range.
    """
    _check_neighbours(neighbours, len(item_attributes), ks)
    shapes = item_attributes.shape, generated_attributes.shape
    if (
        not all(table.ndim == 2 and table.dtype == np.bool_ for table in (item_attributes, generated_attributes))
        or shapes[0][1] != shapes[1][1]
        or shapes[1][0] != len(neighbours)
    ):
        raise InputError(
            "attributes are boolean, (items, attributes) and (generated, attributes), with the same columns; got "
            f"{item_attributes.dtype} of shape {shapes[0]} and {generated_attributes.dtype} of shape {shapes[1]} "
            f"for {len(neighbours)} generated images"
        )
    if not len(columns) or not all(0 <= column < shapes[0][1] for column in columns):
        raise InputError(
            f"`columns` names at least one attribute by its column, 0 to {shapes[0][1] - 1}; got {list(columns)}"
        )
    selected = list(columns)
    agrees = item_attributes[neighbours][:, :, selected] == generated_attributes[:, None, selected]
    return _shares(agrees.all(axis=2), ks)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a criterion over draws of `images` generated images."""

    images: int
    mean: float
    deviation: float


def sensitivity(
    per_image: np.ndarray, *, images: Sequence[int] = (1, 10, 30, 50), draws: int = 10, seed: int
) -> tuple[Spread, ...]:
    """How a criterion varies with the number of generated images, by repeated draws from a larger set of them.

    The neighbours of a generated image do not depend on other generated images, so no valuation is repeated.

    Args:
        per_image: `(generated,)`, the criterion of each generated image, as in `IdenticalShare`.
        images: sizes of the draws, without replacement; a draw of all images has a deviation of 0.
        draws: number of draws of each size, at least 2.

    Raises:
        InputError: a size is below 1 or above the number of generated images, or there are fewer than two draws.
    """
    if draws < 2:
        raise InputError(f"a standard deviation needs at least 2 draws, got {draws}; use 10")
    for size in images:
        if not 1 <= size <= len(per_image):
            raise InputError(
                f"a draw has 1 to all of the {len(per_image)} generated images; got {size}. Choose a size in this "
                "range, or generate more images"
            )
    generator = np.random.default_rng(seed)
    spreads = []
    for size in images:
        means = [per_image[generator.choice(len(per_image), size, replace=False)].mean() for _ in range(draws)]
        spreads.append(Spread(size, float(np.mean(means)), float(np.std(means, ddof=1))))
    return tuple(spreads)


@dataclass(frozen=True)
class Membership:
    """Test of whether trained items have higher values than held-out items.

    Attributes:
        trained, held_out: mean values.
        t: Welch's statistic, above 0 if trained items have higher values.
        p: one-sided p-value of the null hypothesis that trained items do not have higher values than held-out items.
        effect: Cohen's d, the difference of means over the pooled standard deviation; 0.8 is usually called large.
    """

    trained: float
    held_out: float
    t: float
    p: float
    effect: float


def membership_test(trained: np.ndarray, held_out: np.ndarray) -> Membership:
    """The t-test of Table 6 of the paper, without assuming equal variances (Welch 1947).

    Args:
        trained: `(n,)`, values of items that the generator was trained on.
        held_out: `(m,)`, values of held-out items of the same class, from the same valuation.

    Raises:
        InputError: a side has fewer than two values, values are not finite, or both sides are constant.
    """
    for title, values in (("trained", trained), ("held-out", held_out)):
        if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise InputError(
                f"a t-test needs at least two finite values on each side; {title} values have shape {values.shape}, "
                f"{int((~np.isfinite(values)).sum())} not finite. Value more items"
            )
    variances = trained.var(ddof=1), held_out.var(ddof=1)
    if not max(variances) > 0:
        raise InputError("a t-test needs values that vary; all are equal on each side. Generate more images")
    test = ttest_ind(trained, held_out, equal_var=False, alternative="greater")
    degrees = len(trained) - 1, len(held_out) - 1
    pooled = np.sqrt((degrees[0] * variances[0] + degrees[1] * variances[1]) / sum(degrees))
    means = float(trained.mean()), float(held_out.mean())
    return Membership(*means, float(test.statistic), float(test.pvalue), float((means[0] - means[1]) / pooled))


@dataclass(frozen=True)
class NoiseRank:
    """Rank of noisy items by value.

    Attributes:
        percentile: mean percentile of the noisy items, from 0 (lowest value) to 1; 0.5 is chance, lower is better.
        auroc: probability that a noisy item has a lower value than a clean item; 0.5 is chance, 1 is best.
    """

    percentile: float
    auroc: float


def noise_rank(values: np.ndarray, noisy: np.ndarray) -> NoiseRank:
    """Criterion C3: noisy items that were planted in the training set should have the lowest values.

    Args:
        values: `(items,)`, higher is more valuable; tied items have their mean rank.
        noisy: bool, `(items,)`.

    Raises:
        InputError: as for `royalty.models.judging.detection.detection`.
    """
    auroc = detection(values, noisy).auroc
    n_clean, n_noisy = int((~noisy).sum()), int(noisy.sum())
    # On average, a noisy item is above (1 - auroc) of the clean items and above half of the other noisy items.
    percentile = ((1 - auroc) * n_clean + (n_noisy - 1) / 2) / (len(values) - 1)
    return NoiseRank(percentile, auroc)


@dataclass(frozen=True)
class RankCorrelations:
    """Rank correlations of two valuations, in [-1, 1]; `kendall` is tau-b."""

    spearman: float
    kendall: float


def rank_agreement(first: np.ndarray, second: np.ndarray) -> RankCorrelations:
    """How similarly two methods rank the same items or contributors.

    Args:
        first, second: `(n,)`, values by the two methods; higher is more valuable.

    Raises:
        InputError: values are not finite or not of the same length, or those of a method are all equal.
    """
    if first.ndim != 1 or first.shape != second.shape or not np.isfinite([first, second]).all():
        raise InputError(
            f"rankings need finite values of the same items; got shapes {first.shape} and {second.shape}. Use the "
            "valuations of one set of items"
        )
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        raise InputError(
            "a ranking needs at least two items with different values; one of the two has equal values only. Choose "
            "another valuation"
        )
    return RankCorrelations(float(spearmanr(first, second).statistic), float(kendalltau(first, second).statistic))


def _check_neighbours(neighbours: np.ndarray, items: int, ks: Sequence[int]) -> None:
    if neighbours.ndim != 2 or not len(neighbours) or not np.issubdtype(neighbours.dtype, np.integer):
        raise InputError(
            f"neighbours are integer indices of items, (generated, k), of at least one generated image; got "
            f"{neighbours.dtype} of shape {neighbours.shape}"
        )
    if not len(ks) or not all(1 <= k <= neighbours.shape[1] for k in ks):
        raise InputError(
            f"shares are of the first 1 to {neighbours.shape[1]} neighbours; got k = {list(ks)}. Use more neighbours"
        )
    if neighbours.min() < 0 or neighbours.max() >= items:
        raise InputError(
            f"neighbours are indices of the {items} items, 0 to {items - 1}; got {neighbours.min()} to "
            f"{neighbours.max()}. Pass neighbours among these items"
        )


def _shares(alike: np.ndarray, ks: Sequence[int]) -> tuple[IdenticalShare, ...]:
    shares = []
    for k in ks:
        per_image = alike[:, :k].mean(axis=1)  # (generated,)
        stderr = float(per_image.std(ddof=1) / np.sqrt(len(per_image))) if len(per_image) > 1 else float("nan")
        shares.append(IdenticalShare(k, float(per_image.mean()), stderr, per_image))
    return tuple(shares)
