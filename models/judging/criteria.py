"""Criteria by which a valuation of training images by generated ones is judged: those of GMValuator's paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr, ttest_ind

from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection


@dataclass(frozen=True)
class IdenticalShare:
    """How many of the k most valuable items of a generated image are like it.

    Attributes:
        k: neighbours looked at.
        share: mean over generated images, in [0, 1]; higher is better.
        stderr: standard error of that mean; nan for a single generated image.
        each: float64, `(generated,)`, the share of each generated image.
    """

    k: int
    share: float
    stderr: float
    each: np.ndarray


def identical_class(
    neighbours: np.ndarray, item_labels: np.ndarray, generated_labels: np.ndarray, *, ks: Sequence[int] = (30, 50, 100)
) -> tuple[IdenticalShare, ...]:
    """Criterion C1: the share of the k most valuable items that have the class of the generated image.

    Args:
        neighbours: `(generated, at least max(ks))`, rows of items, the most valuable first.
        item_labels: integers, `(items,)`.
        generated_labels: integers, `(generated,)`: what was asked for, or what a classifier sees.

    Returns:
        One for each of `ks`, in their order.

    Raises:
        InputError: no generated images, not one label each, neighbours that are not there, or too few for a k.
    """
    _check_neighbours(neighbours, len(item_labels), ks)
    for title, labels, count in (("item", item_labels, None), ("generated image", generated_labels, len(neighbours))):
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (count and len(labels) != count):
            raise InputError(
                f"each {title} has one label, an integer; got {labels.dtype} of shape {labels.shape}"
                + (f" for {count} generated images" if count else "")
            )
    return _shares(item_labels[neighbours] == generated_labels[:, None], ks)


def identical_attributes(
    neighbours: np.ndarray,
    item_attributes: np.ndarray,
    generated_attributes: np.ndarray,
    *,
    asked: Sequence[int],
    ks: Sequence[int] = (5, 10, 15),
) -> tuple[IdenticalShare, ...]:
    """Criterion C2: the share of the k most valuable items that agree with the generated image in all that is asked.

    One attribute is the single, several the combined test. To agree is to have it or not, as the generated image:
    for the test of the paper, a hat where the image has a hat, pass the generated images that have one.

    Args:
        neighbours: `(generated, at least max(ks))`, rows of items, the most valuable first.
        item_attributes: bool, `(items, attributes)`.
        generated_attributes: bool, `(generated, attributes)`.
        asked: columns of the attributes to agree in, at least one.

    Raises:
        InputError: as `identical_class`; attributes that are not there, or are not boolean.
    """
    _check_neighbours(neighbours, len(item_attributes), ks)
    shapes = item_attributes.shape, generated_attributes.shape
    if (
        not all(table.ndim == 2 and table.dtype == np.bool_ for table in (item_attributes, generated_attributes))
        or shapes[0][1] != shapes[1][1]
        or shapes[1][0] != len(neighbours)
    ):
        raise InputError(
            "attributes are boolean, (items, attributes) and (generated, attributes), the same for both; got "
            f"{item_attributes.dtype} of shape {shapes[0]} and {generated_attributes.dtype} of shape {shapes[1]} "
            f"for {len(neighbours)} generated images"
        )
    if not len(asked) or not all(0 <= column < shapes[0][1] for column in asked):
        raise InputError(
            f"at least one attribute is asked for, by its column, 0 to {shapes[0][1] - 1}; got {list(asked)}"
        )
    columns = list(asked)
    agrees = item_attributes[neighbours][:, :, columns] == generated_attributes[:, None, columns]
    return _shares(agrees.all(axis=2), ks)


@dataclass(frozen=True)
class Spread:
    """What an evaluation with fewer generated images gives: mean and standard deviation over draws of `images`."""

    images: int
    mean: float
    deviation: float


def sensitivity(
    each: np.ndarray, *, images: Sequence[int] = (1, 10, 30, 50), draws: int = 10, seed: int
) -> tuple[Spread, ...]:
    """How a criterion varies with the number of generated images: it is drawn anew from a larger set of them.

    The neighbours of one generated image do not depend on the others, so nothing is valued again.

    Args:
        each: `(generated,)`, the criterion of each generated image, as in `IdenticalShare`.
        images: sizes of the draws, without replacement; all images at once leave no deviation.
        draws: of each size, at least 2.

    Raises:
        InputError: sizes that cannot be drawn, or fewer than two draws.
    """
    if draws < 2:
        raise InputError(f"a deviation takes at least 2 draws, got {draws}; 10 is usual")
    for size in images:
        if not 1 <= size <= len(each):
            raise InputError(f"draws have 1 to all of the {len(each)} generated images; got {size}. Generate more")
    generator = np.random.default_rng(seed)
    spreads = []
    for size in images:
        means = [each[generator.choice(len(each), size, replace=False)].mean() for _ in range(draws)]
        spreads.append(Spread(size, float(np.mean(means)), float(np.std(means, ddof=1))))
    return tuple(spreads)


@dataclass(frozen=True)
class Membership:
    """Whether trained items have higher values than held-out ones.

    Attributes:
        trained, held_out: mean values.
        t: Welch's statistic, above 0 where trained items have the higher values.
        p: one-sided, of the hypothesis that trained items have no higher values than held-out ones.
        effect: Cohen's d, difference of means over the pooled standard deviation; 0.8 is usually called large.
    """

    trained: float
    held_out: float
    t: float
    p: float
    effect: float


def membership_test(trained: np.ndarray, held_out: np.ndarray) -> Membership:
    """The t-test of the paper's Table 6, without its assumption that both variances are equal (Welch 1947).

    Args:
        trained: `(n,)`, values of items that the generator was trained on.
        held_out: `(m,)`, values of items of the same class that it was not, valued in one run with the former.

    Raises:
        InputError: fewer than two on a side, values that are not finite, or all of a side equal on both sides.
    """
    for title, values in (("trained", trained), ("held-out", held_out)):
        if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise InputError(
                f"a t-test takes at least two finite values a side; {title} ones have shape {values.shape}, "
                f"{int((~np.isfinite(values)).sum())} not finite"
            )
    variances = trained.var(ddof=1), held_out.var(ddof=1)
    if not max(variances) > 0:
        raise InputError("a t-test takes values that vary; all are equal on each side. Generate more images")
    found = ttest_ind(trained, held_out, equal_var=False, alternative="greater")
    degrees = len(trained) - 1, len(held_out) - 1
    pooled = np.sqrt((degrees[0] * variances[0] + degrees[1] * variances[1]) / sum(degrees))
    means = float(trained.mean()), float(held_out.mean())
    return Membership(*means, float(found.statistic), float(found.pvalue), float((means[0] - means[1]) / pooled))


@dataclass(frozen=True)
class NoiseRank:
    """Where noisy items rank by value.

    Attributes:
        percentile: mean percentile of the noisy items, from 0, the lowest value, to 1; 0.5 is chance, lower is better.
        auroc: probability that a noisy item has a lower value than another; 0.5 is chance, 1 is best.
    """

    percentile: float
    auroc: float


def noise_rank(values: np.ndarray, noisy: np.ndarray) -> NoiseRank:
    """Criterion C3: noisy items planted in training should have the lowest values.

    Args:
        values: `(items,)`, higher is more valuable; where they tie, items share their mean rank.
        noisy: bool, `(items,)`.

    Raises:
        InputError: what `royalty.models.judging.detection.detection` refuses.
    """
    auroc = detection(values, noisy).auroc
    others, planted = int((~noisy).sum()), int(noisy.sum())
    # A noisy item is above (1 - auroc) of the others, and above half of the noisy ones, itself left out.
    percentile = ((1 - auroc) * others + (planted - 1) / 2) / (len(values) - 1)
    return NoiseRank(percentile, auroc)


@dataclass(frozen=True)
class RankCorrelations:
    """Rank correlations of two valuations, in [-1, 1]; tau is Kendall's tau-b."""

    spearman: float
    kendall: float


def rank_agreement(first: np.ndarray, second: np.ndarray) -> RankCorrelations:
    """Whether two methods rank the same items, or contributors, alike.

    Args:
        first, second: `(n,)`, values by one method and by the other; higher is more valuable.

    Raises:
        InputError: not two rows of finite numbers of one length, or all equal in one of them.
    """
    if first.ndim != 1 or first.shape != second.shape or not np.isfinite([first, second]).all():
        raise InputError(
            f"rankings are of the same items, by finite values; got shapes {first.shape} and {second.shape}"
        )
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        raise InputError("rankings order at least two items by values that differ; one of these has equal values only")
    return RankCorrelations(float(spearmanr(first, second).statistic), float(kendalltau(first, second).statistic))


def _check_neighbours(neighbours: np.ndarray, items: int, ks: Sequence[int]) -> None:
    if neighbours.ndim != 2 or not len(neighbours) or not np.issubdtype(neighbours.dtype, np.integer):
        raise InputError(
            f"neighbours are rows of items, (generated, k), of at least one generated image; got {neighbours.dtype} "
            f"of shape {neighbours.shape}"
        )
    if not len(ks) or not all(1 <= k <= neighbours.shape[1] for k in ks):
        raise InputError(
            f"shares are of the first 1 to {neighbours.shape[1]} neighbours; got k = {list(ks)}. Recall more of them"
        )
    if neighbours.min() < 0 or neighbours.max() >= items:
        raise InputError(
            f"neighbours are rows of the {items} items, 0 to {items - 1}; got {neighbours.min()} to {neighbours.max()}"
        )


def _shares(alike: np.ndarray, ks: Sequence[int]) -> tuple[IdenticalShare, ...]:
    shares = []
    for k in ks:
        each = alike[:, :k].mean(axis=1)
        stderr = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")
        shares.append(IdenticalShare(k, float(each.mean()), stderr, each))
    return tuple(shares)
