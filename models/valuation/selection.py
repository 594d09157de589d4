"""Select the training items that stand for a clean validation set, within a budget.

The transport distance of a selection S, with the weights that bring it closest to validation, is the mean over
validation items j of min over i in S of C_ij: each item of S takes the mass of the validation items that are nearest to
it. C is the cost of LAVA (eq. 1). The distance is a submodular function of S, so that taking the item that lowers it
most, again and again, reaches at least 1 - 1/e of the best decrease (Nemhauser et al. 1978). A copy of a selected item
lowers nothing, so that redundancy costs nothing of the budget.

When no item lowers the distance any more, each validation item has its nearest training item. The items left are then
selected in the same way, as a further layer.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from royalty.models.base.arrays import as_device, as_features, as_labels, as_seed, as_whole
from royalty.models.base.budget import check_budget
from royalty.models.base.checks import check_features, check_labels
from royalty.models.base.errors import InputError
from royalty.models.valuation.ground import Options, chunks, survey
from royalty.models.valuation.lava import MAX_ITERATIONS, lava_values
from royalty.models.valuation.memory import check_fits

SelectionMethod = Literal["transport", "value", "random"]

LEAST_GAIN = 1e-6
"""Smallest decrease of the distance that is no rounding, as a fraction of that of the first item."""

COPIES = 3
"""Tables of the size of the cost that exist at the same time."""


@dataclass(frozen=True)
class SelectedItems:
    """Selected training items, the most useful first.

    Attributes:
        rows: int64, `(budget,)`, positions of the training items.
        weights: `(budget,)`, the fraction of validation that each item stands for, summing to one. With several layers,
            it is the mean of what it stands for in each, so that no item that lowers nothing has a weight of zero.
        distances: `(budget,)`, the transport distance of the first k items from validation, k = 1 to the budget, with
            the weights that make it least; in units of the features, never rising.
        diagnostics: `distance`, the last of them; `weighted_distance`, the cost of moving the selection with `weights`
            to validation layer by layer: equal to `distance` with one layer, and larger with more; `copies`, the number
            of selected items of which a copy was selected before; `scale`; `labels`, whether they were compared.
    """

    rows: np.ndarray
    weights: np.ndarray
    distances: np.ndarray
    diagnostics: dict[str, Any]


def select_items(
    train_features: ArrayLike,
    train_labels: ArrayLike | None,
    val_features: ArrayLike,
    val_labels: ArrayLike | None,
    budget: SupportsIndex,
    *,
    method: SelectionMethod = "transport",
    groups: ArrayLike | None = None,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> SelectedItems:
    """Select as many training items as the budget allows, so that they stand for validation.

    Args:
        train_features, val_features: `(items, d)`, float32 or float64.
        train_labels, val_labels: integers, `(items,)`; if both are None, labels are not compared.
        budget: number of items, from 1 to all.
        method: `transport` lowers the distance step by step; `value` takes the items of highest LAVA value, and
            `random` takes any, both for comparison.
        groups: integers, `(items,)`, equal for near copies; equal items are copies in any case. With `transport`, no
            second item of a group is selected before each group has one.
        label_weight, feature_weight: see `royalty.models.valuation.lava.lava_values`.
        seed: of `random`.
        device: where the cost is computed, such as `"cuda"`; the CPU by default.
        progress: called with 1 after each selected item.

    Returns:
        The selected items. With `transport`, their content does not depend on the order of the training items.

    Raises:
        InputError: a budget out of range; invalid features, labels or groups; weights out of range; an unknown method;
            costs that do not fit in memory.

    Examples:
        The copy of the first item is not selected:

        >>> import royalty
        >>> train, val = [[0.0], [0.0], [1.0], [9.0]], [[0.0], [0.1], [1.1]]
        >>> sorted(royalty.select_items(train, None, val, None, 2).rows.tolist())
        [0, 2]
    """
    train = as_features(train_features, "train_features"), as_labels(train_labels, "train_labels")
    val = as_features(val_features, "val_features"), as_labels(val_labels, "val_labels")
    count, seed = as_whole(budget, "budget"), as_seed(seed)
    check_budget(count, len(train[0]))
    if method not in get_args(SelectionMethod):
        raise InputError(f"`method` is one of {', '.join(get_args(SelectionMethod))}; got {method!r}. Leave it out")
    options, on = Options(label_weight, feature_weight, 0.1, 1e-3, MAX_ITERATIONS), as_device(device)
    check_features(train[0], val[0])
    for (features, names), title in ((train, "training"), (val, "validation")):
        if names is not None:
            check_labels(names, len(features), title)
    check_fits(
        "costs between training and validation items",
        len(train[0]),
        len(val[0]),
        bytes_each=COPIES * train[0].dtype.itemsize,
        remedy="Give fewer validation items",
    )
    contents, val_contents = _contents(*train), _contents(*val)
    group = _groups(contents, groups)
    # In the order of content, so that the order of the items changes no rounding and breaks no tie.
    order, val_order = (np.argsort(each, kind="stable") for each in (contents, val_contents))
    train, val = _taken(train, order), _taken(val, val_order)
    ground = survey(chunks(*train), val, options, device=on)
    cost = ground.cost(train, val, on)
    costs = torch.cat([entries + cost.offsets[names] for _, entries, names in cost.tiles()]).cpu().numpy()
    if method == "transport":
        chosen, layers = _greedy(costs, group[order], count, progress)
    else:
        worth = (
            lava_values(*train, *val, label_weight=label_weight, feature_weight=feature_weight, device=device).values
            if method == "value"
            else np.random.default_rng(seed).random(len(order))
        )
        chosen, layers = np.argsort(-worth, kind="stable")[:count], np.zeros(count, np.int64)
        if progress is not None:
            progress(count)
    weights, weighted = _weights(costs[chosen], layers)
    return SelectedItems(
        rows=order[chosen],
        weights=weights,
        distances=_distances(costs, chosen),
        diagnostics={
            "distance": float(costs[chosen].min(axis=0).mean(dtype=np.float64)),
            "weighted_distance": weighted,
            "copies": count - len(np.unique(group[order][chosen])),
            "scale": ground.scale,
            "labels": "compared" if ground.labels is not None else "off: items without labels",
        },
    )


def _greedy(
    costs: np.ndarray, groups: np.ndarray, budget: int, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of selection, and the layer of each, `(budget,)`.

    Gains only fall within a layer, so that those of earlier steps bound them: only the item of the highest bound is
    computed anew (Minoux 1978).
    """
    farthest = costs.max(axis=0)  # (m,), of validation items that nothing stands for
    chosen: list[int] = []
    layers: list[int] = []
    left, taken, layer, least = np.ones(len(costs), dtype=bool), np.zeros(groups.max() + 1, dtype=bool), 0, 0.0
    while len(chosen) < budget:
        candidates = np.flatnonzero(left & ~taken[groups])
        if not len(candidates):
            taken[:] = False
            continue
        nearest = farthest.copy()
        gains = (farthest - costs[candidates]).sum(axis=1, dtype=np.float64)
        least = max(least, LEAST_GAIN * float(gains.max()))
        heap = [(-gain, row) for gain, row in zip(gains.tolist(), candidates.tolist(), strict=True)]
        heapq.heapify(heap)
        found = len(chosen)
        while heap and len(chosen) < budget:
            _, row = heapq.heappop(heap)
            if taken[groups[row]]:
                continue
            gain = float(np.maximum(nearest - costs[row], 0).sum(dtype=np.float64))
            if heap and -gain > heap[0][0]:
                if gain > least:
                    heapq.heappush(heap, (-gain, row))
                continue
            if gain <= least and len(chosen) > found:
                break
            np.minimum(nearest, costs[row], out=nearest)
            left[row], taken[groups[row]] = False, True
            chosen.append(row)
            layers.append(layer)
            if progress is not None:
                progress(1)
        layer += 1
    return np.array(chosen), np.array(layers)


def _weights(costs: np.ndarray, layers: np.ndarray) -> tuple[np.ndarray, float]:
    """The fraction of validation that each selected item serves in its layer, and the mean cost of serving it.

    Layers weigh the same.
    """
    weights, count = np.zeros(len(layers)), int(layers.max()) + 1
    cost = 0.0
    for layer in range(count):
        rows = np.flatnonzero(layers == layer)
        np.add.at(weights, rows[costs[rows].argmin(axis=0)], 1 / costs.shape[1])
        cost += float(costs[rows].min(axis=0).mean(dtype=np.float64)) / count
    return weights / weights.sum(), cost


def _distances(costs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The mean cost of validation items from the nearest of the first k items, `(budget,)`."""
    nearest, distances = np.full(costs.shape[1], np.inf), np.empty(len(chosen))
    for place, row in enumerate(chosen.tolist()):
        nearest = np.minimum(nearest, costs[row])
        distances[place] = nearest.mean()
    return distances


def _contents(features: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """A digest of each item, equal for equal features and labels, `(items,)`."""
    names = np.zeros(len(features), np.int64) if labels is None else labels.astype(np.int64)
    rows = zip(features + 0.0, names.tolist(), strict=True)  # adding zero removes its sign
    return np.array(
        [hashlib.blake2b(row.tobytes(), salt=b"%d" % name, digest_size=16).hexdigest() for row, name in rows]
    )


def _groups(contents: np.ndarray, groups: ArrayLike | None) -> np.ndarray:
    """Numbers of groups of copies, `(items,)`: equal items, and those of one given group."""
    equal: np.ndarray = np.unique(contents, return_inverse=True)[1]
    given = as_labels(groups, "groups")
    if given is None:
        return equal
    if len(given) != len(equal):
        raise InputError(f"`groups` has one number for each training item; got {len(given)} for {len(equal)} items")
    near = np.unique(given, return_inverse=True)[1] + len(equal)
    size = len(equal) + int(near.max()) + 1
    graph = coo_array((np.ones(len(equal)), (equal, near)), shape=(size, size))
    united: np.ndarray = connected_components(graph, directed=False)[1][equal]
    return united


def _taken(side: tuple[np.ndarray, np.ndarray | None], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    return side[0][rows], None if side[1] is None else side[1][rows]
