"""GMValuator: value training items by their similarity to generated images (Yang et al. 2024).

It needs neither training nor access to the generator: generated images are matched with training images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_labels, as_number, as_vector, as_whole
from royalty.models.base.checks import check_features
from royalty.models.base.choices import Division
from royalty.models.base.errors import InputError
from royalty.models.valuation.copies import checked_groups, divided, earliest_members, earliest_of_each
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.neighbours import Index, build_index, lengths_of
from royalty.models.valuation.sharing import effective_neighbours, neighbours_asked, softmin, temperature_of

__all__ = ["Contributions", "Distances", "GMValues", "build_index", "gmvaluator_values"]

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From rows of generated images, `(b,)`, and of items, `(b, recall_k)`, their distances, `(b, recall_k)`; lower is
nearer."""

BATCH = 512
"""Generated images matched at a time."""

CONTRIBUTION_BYTES = 32
"""Memory for a contribution: generated image, item, distance and score."""

RECALLED = 10
"""Items recalled per neighbour if a second distance re-ranks them; with two, items that the second distance would rank
high are missed (see the benchmarks)."""


@dataclass(frozen=True)
class Contributions:
    """Contributions of items to generated images: one row for each neighbour, all arrays of one length.

    Attributes:
        generated: int64, rows of the generated images, ascending.
        item: int64, rows of the training items; of a group of copies, its earliest member.
        distance: float64, by which the item was ranked; lower is nearer.
        score: float64, value that the item, or its group of copies, gets from this image, at least 0, descending within
            an image.
    """

    generated: np.ndarray
    item: np.ndarray
    distance: np.ndarray
    score: np.ndarray

    def of(self, generated: int) -> Contributions:
        """The contributions to one generated image, highest score first; empty if there is no such image."""
        rows = slice(*np.searchsorted(self.generated, [generated, generated + 1]))
        return Contributions(self.generated[rows], self.item[rows], self.distance[rows], self.score[rows])


@dataclass(frozen=True)
class GMValues(ItemValues):
    """Values of items, and the contributions that sum to them."""

    contributions: Contributions


def gmvaluator_values(
    train_features: ArrayLike,
    generated_features: ArrayLike,
    *,
    k: int = 100,
    recall_k: int | None = None,
    distances: Distances | None = None,
    blend: float = 0.0,
    quality: ArrayLike | None = None,
    temperature: float | None = None,
    groups: ArrayLike | None = None,
    since: ArrayLike | None = None,
    division: Division = "earliest",
    index: Index | None = None,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> GMValues:
    """Value training items by their similarity to generated images.

    For each generated image, the nearest items in the embedding are recalled and re-ranked by `distances`; the k
    nearest share its quality (GMValuator, eq. 4 to 7). The value of item i is the sum over generated images j of
    V_ij = q_j exp(-d_ij / T) / sum over the k nearest of exp(-d / T), and 0 for items that are not among them.

    Copies must not earn by being many. With `groups`, all items of a group have one place among the nearest together,
    that of their earliest member.

    Args:
        train_features: `(items, dimensions)`.
        generated_features: `(generated, dimensions)`, by the same encoder. Vectors are scaled to length one.
        k: number of items that share an image; at most all items.
        recall_k: items recalled, at least k; by default k, or 10 k with `distances`.
        distances: a second distance, which gives finite numbers; called for batches of images. By default the Euclidean
            distance of the embeddings, in [0, 2].
        blend: weight, at least 0, of the squared distance of the embeddings that is added to `distances`. With 1,
            squared distances of two kinds of features become those of both kinds together.
        quality: q, `(generated,)`, in [0, 1]; by default 1.
        temperature: T, in the units of the distances; a lower one gives more to the nearest items. By default the one
            at which `effective_neighbours` is the root of k; see `royalty.models.valuation.sharing.temperature_of`.
        groups: integers, `(items,)`; items of one group are copies of each other, as
            `royalty.models.valuation.near_copies.near_copy_groups` finds them. By default no item has copies.
        since: when each item was there first, `(items,)`, as a number; see
            `royalty.models.valuation.copies.earliest_members`. By default the lowest row of a group is its earliest.
        division: who of a group gets its value: the `earliest` member all of it, or every member the same (`equal`).
        index: of `build_index` on the same training features, of the earliest members only if there are `groups`; by
            default built here.
        device: where an index that is built here searches.
        progress: called with the number of generated images done since the last call.

    Returns:
        Values of at least 0, higher is better, whose sum is that of the qualities; diagnostics:
        `effective_neighbours`, exp of the entropy of the shares, from 1 to k, mean over images; `quality_lost`,
        1 - mean quality, the fraction of value lost to low quality; `recall`, the fraction of the true `recall_k`
        nearest items that the index finds; `index`, its kind; `k` as used, and `k_asked`; `recall_k`; `temperature`;
        `copies`, the number of items with an earlier member in their group; `zero_items`, the number of items that are
        in no neighbourhood or whose value underflows, or that are copies.

    Raises:
        InputError: no training items or generated images; features of different dimensions, not finite or of length
            zero; k below 1; `recall_k` below k; quality, blend or temperature out of range; distances that are not
            finite or of another shape; an index of other items; groups that are not integers, or not one for each
            item; more contributions than memory holds.

    Examples:
        Each generated image shares out a value of one, most of it to the item nearest in direction:

        >>> import royalty
        >>> train, generated = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[1.0, 0.1], [0.1, 1.0]]
        >>> result = royalty.gmvaluator_values(train, generated, k=2, temperature=0.1)
        >>> round(float(result.values.sum()), 6)
        2.0
        >>> result.contributions.of(1).item.tolist()
        [1, 2]
    """
    train_features = as_features(train_features, "train_features")
    generated_features = as_features(generated_features, "generated_features")
    quality = None if quality is None else as_vector(quality, "quality")
    k, recall_k = as_whole(k, "k"), None if recall_k is None else as_whole(recall_k, "recall_k")
    _check_features(train_features, generated_features)
    if k < 1:
        raise InputError(f"at least one item shares a generated image; got k = {k}. Take 100, or fewer")
    if recall_k is not None and recall_k < k:
        raise InputError(f"the k nearest are among those recalled, so recall_k is at least k = {k}; got {recall_k}")
    if temperature is not None and not 0 < as_number(temperature, "temperature") < np.inf:
        raise InputError(f"temperature is a positive number; got {temperature}. Leave it out for one by its rule")
    if not 0 <= as_number(blend, "blend") < np.inf:
        raise InputError(f"`blend` is a weight of at least 0; got {blend}. Leave it out for the distances alone")
    n, m = len(train_features), len(generated_features)
    earliest, first = _earliest(groups, since, division, n)
    slots = len(first)
    sharing = min(k, slots)
    check_fits(
        "contributions, of generated images by the items that share each,",
        m,
        sharing,
        bytes_each=CONTRIBUTION_BYTES,
        remedy="Lower k, or value by fewer generated images",
    )
    quality = _checked_quality(quality, m)
    if index is None:
        index = build_index(train_features if slots == n else train_features[first], device=device)
    elif (len(index), index.dimensions) != (slots, train_features.shape[1]):
        raise InputError(
            f"the index is of the training features, {(slots, train_features.shape[1])}; got one of "
            f"{(len(index), index.dimensions)}. Build it again"
        )
    recalled = min(recall_k or (k if distances is None else RECALLED * k), slots)

    items, ranked = np.empty((m, sharing), dtype=np.int64), np.empty((m, sharing))
    for start in range(0, m, BATCH):
        images = np.arange(start, min(start + BATCH, m))
        ranking, rows = embedded, _ = index.search(generated_features[images], recalled)  # (images, recalled)
        rows = first[rows]
        if distances is not None:
            ranking = _checked_distances(np.asarray(distances(images, rows)), images, rows)
            ranking = ranking + blend * np.square(embedded)
            order = np.argsort(ranking, axis=1, kind="stable")  # ties are broken by the distance in the embedding
            ranking, rows = (np.take_along_axis(array, order, axis=1) for array in (ranking, rows))
        items[images], ranked[images] = rows[:, :sharing], ranking[:, :sharing]
        if progress is not None:
            progress(len(images))

    if temperature is None:
        counted = quality > 0  # an image of quality zero changes nothing, the temperature neither
        temperature = temperature_of(ranked[counted] if counted.any() else ranked, neighbours_asked(sharing))
    shares = softmin(ranked, temperature)
    scores = quality[:, None] * shares
    values = divided(np.bincount(items.ravel(), weights=scores.ravel(), minlength=n), earliest, division)
    diagnostics = {
        "effective_neighbours": float(effective_neighbours(shares).mean()),
        "quality_lost": float(1 - quality.mean()),
        "recall": index.recall(generated_features, recalled),
        "index": index.kind,
        "k": sharing,
        "k_asked": k,
        "recall_k": recalled,
        "temperature": temperature,
        "copies": n - slots,
        "zero_items": int((values == 0).sum()),
    }
    contributions = Contributions(np.repeat(np.arange(m), sharing), items.ravel(), ranked.ravel(), scores.ravel())
    return GMValues(values, diagnostics, contributions)


def _earliest(
    groups: ArrayLike | None, since: ArrayLike | None, division: Division, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """The earliest member of the group of each item, `(items,)`, and all earliest members, `(groups,)`, ascending."""
    if groups is None:
        if since is not None:
            raise InputError("`since` says which of a group is the earliest, and there are no `groups`; give both")
        return np.arange(items), np.arange(items)
    numbers = as_labels(groups, "groups")
    times = None if since is None else as_vector(since, "since")
    checked_groups(numbers, times, division, items)
    return earliest_of_each(numbers, times), earliest_members(numbers, times)


def _check_features(train: np.ndarray, generated: np.ndarray) -> None:
    for title, features in (("training", train), ("generated", generated)):
        if features.ndim == 2 and len(features) == 0:
            raise InputError(f"training items are matched with generated images; there are no {title} ones")
    check_features(train, generated, title="generated")
    lengths_of(generated, "generated")  # the index would report a bad row late, and by its number within a batch


def _checked_quality(quality: np.ndarray | None, images: int) -> np.ndarray:
    if quality is None:
        return np.ones(images)
    if quality.shape != (images,):
        raise InputError(f"each generated image has one quality; got {images} images and shape {quality.shape}")
    bad = np.flatnonzero(~((quality >= 0) & (quality <= 1)))
    if len(bad):
        raise InputError(
            f"qualities lie in [0, 1]; generated row {bad[0]} has {quality[bad[0]]}. Scale the metric to that range"
        )
    return quality.astype(np.float64)


def _checked_distances(distances: np.ndarray, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if distances.shape != rows.shape:
        raise InputError(
            f"the metric gives a distance for each pair; got shape {distances.shape} for {rows.shape[0]} generated "
            f"images by {rows.shape[1]} items"
        )
    bad = np.argwhere(~np.isfinite(distances))
    if len(bad):
        image, place = bad[0]
        raise InputError(
            f"distances are finite; generated row {images[image]} and training row {rows[image, place]} are "
            f"{distances[image, place]} apart. Look at these images, or take another metric"
        )
    return distances.astype(np.float64)
