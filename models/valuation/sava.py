"""SAVA: LAVA in batches, for training sets of any size.

Kessler et al. 2025. Each batch of training items is transported to each batch of validation items, and then the
batches of one side to those of the other, at the cost of those distances. An item is valued by the dual potentials
of its batch, weighted by where its batch goes.

Those of the paper say what an item is worth among the thousand of its batch, and each batch has drawn its own
thousand. But a dual potential of the sources follows from that of the targets, and the targets are the same for all
training batches. So the potentials of a validation batch are averaged over training batches before one more pass
gives every item its own: all items are then judged by the same, on one scale, whatever batch they came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_labels, as_whole
from royalty.models.base.errors import InputError
from royalty.models.valuation.batches import (
    Batching,
    BatchTransport,
    Plan,
    Share,
    Valued,
    plan_batches,
    plan_values,
    take,
)
from royalty.models.valuation.ground import Batch, Options
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.lava import MAX_ITERATIONS, calibrated
from royalty.models.valuation.transport import MatrixCost, Transport, solve_transport, source_potential


def sava_values(
    train_features: ArrayLike | Iterable[Batch],
    train_labels: ArrayLike | None,
    val_features: ArrayLike,
    val_labels: ArrayLike | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    batch_size: int = 1024,
    stratify: bool = True,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Value of each training item; higher is better, and one batch a side gives `lava_values`.

    SAVA (Kessler et al. 2025), algorithm 1, with one change. For item l of batch i:
    -calibrated(sum over j of P_ij / P_i f^j_l), with P the plan of the transport of batches and f^j the potential of
    the training items that the mean over i of g^ij leads to, g^ij being those of validation batch j against training
    batch i. In the paper f^ij takes the place of f^j and is calibrated within its batch, so that a batch of nothing but
    bad items is worth as much as any other, and one of 1,000 ranks its items by what else it happens to hold.

    Args:
        train_features: `(items, d)`, a memory map too; or batches, `(features, labels)` each, that can be
            iterated over twice: they are taken as they come, so that neither order nor size is chosen here.
        train_labels: integers, `(items,)`; None for batches, or without labels.
        val_features: `(validation items, d)`.
        val_labels: integers, `(validation items,)`; None if training items have none.
        epsilon, tolerance, max_iterations, feature_weight, label_weight, device: as of `lava_values`; the scale and
            the label distances are those of all items.
        batch_size: items of a batch, about; all, if there are fewer.
        stratify: every batch has the share of each label that all items have, to the next item; else
            items are drawn for it at random.
        seed: of the draw of batches.
        progress: called with 1 after each batch of training items.

    Returns:
        Values with the largest `marginal_error` of a pair of batches, `joint_error` of the mean potentials on all
        training items, `iterations` in all, `distance` of the batches' transport, `batches`, `epsilon` as used,
        `scale`, `label_distances`.

    Raises:
        InputError: as of `lava_values`; batches that can be iterated over only once; a batch size below 1.
        NotConverged: the tolerance was not reached.

    Examples:
        An item that lies far from all validation items has the lowest value, whichever batch it is in:

        >>> import royalty
        >>> train, val = [[0.0], [1.0], [2.0], [3.0], [4.0], [50.0]], [[0.0], [1.0], [2.0], [3.0]]
        >>> result = royalty.sava_values(train, None, val, None, batch_size=3)
        >>> int(result.values.argmin()), result.diagnostics["batches"]
        (5, 2)
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    batching = Batching(as_whole(batch_size, "batch_size"), stratify, seed)
    val = as_features(val_features, "val_features"), as_labels(val_labels, "val_labels")
    if _comes_in_batches(train_features):
        batches = cast(Iterable[Batch], train_features)
        _check_batches(batches, train_labels)
        shares: list[Iterable[Batch]] = [_Converted(batches)]
        plan = plan_batches(shares[0], val, options, batching, device)
    else:
        train = as_features(cast(ArrayLike, train_features), "train_features"), as_labels(train_labels, "train_labels")
        plan = plan_values(train, val, options, batching, device)
        shares = [_Taken(train, rows) for rows in plan.shares]
    solved = [solve_share(plan, share, device, progress) for share in shares]
    agreed = agree(plan, solved)
    firsts = accumulate((len(share.sizes) for share in solved), initial=0)
    return join(
        plan, agreed, [value_share(plan, agreed, *given, device) for given in zip(shares, firsts, strict=False)]
    )


def batchwise_lava_values(
    train_features: np.ndarray,
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    batch_size: int = 1024,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """The naive baseline of SAVA's paper: LAVA of each batch, averaged over validation batches alike.

    Arguments, sign and errors are those of `sava_values`.
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, MAX_ITERATIONS)
    train = train_features, train_labels
    plan = plan_values(train, (val_features, val_labels), options, Batching(batch_size, False, seed), device)
    gradients, distances, error, iterations = [], [], 0.0, 0
    for _, row in _transports(plan, _Taken(train, plan.rows), device, progress):
        gradients.append(np.mean([calibrated(found.source) for found in row], axis=0))
        distances.append(np.mean([found.distance for found in row]))
        error = max(error, *(found.marginal_error for found in row))
        iterations += sum(found.iterations for found in row)
    solved = {"marginal_error": error, "iterations": iterations, "batches": len(gradients)}
    found = {**solved, **plan.ground.diagnostics(), "distance": float(np.mean(distances))}
    return ItemValues(-_in_order(plan, gradients), found)


def solve_share(
    plan: Plan,
    batches: Iterable[Batch],
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Share:
    """Transport some batches of training items to each of validation."""
    sizes, distances, duals, error, iterations = [], [], [], 0.0, 0
    sums = [np.zeros(len(val[0])) for val in plan.val]
    for items, row in _transports(plan, batches, device, progress):
        sizes.append(items)
        distances.append([found.distance for found in row])
        duals.append([found.dual for found in row])
        for total, found in zip(sums, row, strict=True):
            total += items * (found.target + found.source.mean())
        error = max(error, *(found.marginal_error for found in row))
        iterations += sum(found.iterations for found in row)
    potentials = tuple(total / sum(sizes) for total in sums)
    counts = np.array(sizes, dtype=float)
    return Share(counts, np.array(distances), np.array(duals), potentials, error, iterations)


def agree(plan: Plan, shares: Sequence[Share]) -> BatchTransport:
    """Transport the batches, and average the potentials; shares in their order."""
    distances = np.concatenate([share.distances for share in shares])  # (batches, validation batches)
    outer = transport_of_batches(plan, distances, np.concatenate([share.sizes for share in shares]))
    targets = np.array([len(features) for features, _ in plan.val])
    sent = np.exp((outer.source[:, None] + outer.target - distances) / plan.ground.epsilon) * targets
    weights = [share.sizes.sum() for share in shares]
    return BatchTransport(
        potentials=tuple(
            np.average(own, axis=0, weights=weights) for own in zip(*(s.potentials for s in shares), strict=True)
        ),
        sent=sent / sent.sum(axis=1, keepdims=True),
        distance=outer.distance,
        marginal_error=max(outer.marginal_error, *(share.marginal_error for share in shares)),
        iterations=outer.iterations + sum(share.iterations for share in shares),
    )


def transport_of_batches(plan: Plan, distances: np.ndarray, sizes: np.ndarray) -> Transport:
    """Transport training batches of these sizes to those of validation, at the cost of their distances.

    Smoothed as that of items is, so that batches which differ by chance alone all go everywhere.
    """
    targets = np.array([len(features) for features, _ in plan.val], dtype=float)
    return solve_transport(
        MatrixCost(distances),
        sizes / sizes.sum(),
        targets / targets.sum(),
        epsilon=plan.ground.epsilon,
        tolerance=plan.ground.options.tolerance,
        max_iterations=plan.ground.options.max_iterations,
    )


def value_share(
    plan: Plan, agreed: BatchTransport, batches: Iterable[Batch], first: int, device: torch.device | None = None
) -> Valued:
    """One pass over the costs of some batches, of which the first has this number."""
    gradients, columns = [], [np.zeros(len(val[0])) for val in plan.val]
    for batch, sent in zip(batches, agreed.sent[first:], strict=False):
        own = np.zeros(len(batch[0]))
        for column, (val, target, share) in enumerate(zip(plan.val, agreed.potentials, sent, strict=True)):
            cost = plan.ground.cost(batch, val, device)
            source, mass = source_potential(cost, *_uniform(batch, val), target, plan.ground.epsilon)
            own += share * source
            columns[column] += len(own) * mass
        gradients.append(own)
    return Valued(np.concatenate(gradients), tuple(columns))


def join(plan: Plan, agreed: BatchTransport, valued: Sequence[Valued]) -> ItemValues:
    """Put the values together, of shares in their order."""
    together = np.concatenate([share.gradients for share in valued])
    wrong = [
        np.abs(sum(columns) / len(together) - 1 / len(columns[0])).sum()
        for columns in zip(*(share.columns for share in valued), strict=True)
    ]
    return ItemValues(
        -calibrated(_in_order(plan, [together])),
        {
            "marginal_error": agreed.marginal_error,
            "joint_error": float(max(wrong)),
            "iterations": agreed.iterations + agreed.sent.size,
            "batches": len(agreed.sent),
            **plan.ground.diagnostics(),
            "distance": agreed.distance,
        },
    )


@dataclass(frozen=True)
class _Taken:
    """Batches of arrays, taken when they are asked for, as often as they are."""

    train: tuple[np.ndarray, np.ndarray | None]
    rows: Sequence[np.ndarray]

    def __iter__(self) -> Iterator[Batch]:
        return (take(self.train, rows) for rows in self.rows)


@dataclass(frozen=True)
class _Converted:
    """Batches as they were given, each converted when it is asked for."""

    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise InputError(
                    f"a batch is a pair, (features, labels); got a {type(batch).__name__}. Give (features, None) for "
                    "items without labels"
                )
            yield as_features(batch[0], "features of a batch"), as_labels(batch[1], "labels of a batch")


def _transports(
    plan: Plan, batches: Iterable[Batch], device: torch.device | None, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, list[Transport]]]:
    """The number of items of each batch, and its transports to all of validation.

    The potential of a validation batch starts where the last training batch left it: batches are alike.
    """
    starts: list[np.ndarray | None] = [None] * len(plan.val)
    for batch in batches:
        row = []
        for column, val in enumerate(plan.val):
            found = solve_transport(
                plan.ground.cost(batch, val, device),
                *_uniform(batch, val),
                epsilon=plan.ground.epsilon,
                tolerance=plan.ground.options.tolerance,
                max_iterations=plan.ground.options.max_iterations,
                start=starts[column],
            )
            starts[column] = found.target
            row.append(found)
        yield len(batch[0]), row
        if progress is not None:
            progress(1)


def _uniform(train: Batch, val: Batch) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(train[0]), 1 / len(train[0])), np.full(len(val[0]), 1 / len(val[0]))


def _comes_in_batches(train: ArrayLike | Iterable[Batch]) -> bool:
    """Whether these are batches, (features, labels) each, rather than the rows of one array.

    The first of two numbers in a row has no length, and the features of a batch have one.
    """
    if hasattr(train, "__array__"):
        return False
    if not isinstance(train, Sequence):
        return True
    first: Any = train[0] if len(train) else ([], None)
    return isinstance(first, tuple | list) and len(first) == 2 and hasattr(first[0], "__len__")


def _check_batches(train: Iterable[Batch], labels: ArrayLike | None) -> None:
    if iter(train) is train:
        raise InputError(
            "batches are read twice, for the label distances and for the values; give something that can be iterated "
            "over again, such as a list, or an object whose __iter__ opens the file"
        )
    if labels is not None:
        raise InputError("batches bring their labels, (features, labels) each; leave train_labels at None")


def _in_order(plan: Plan, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of all batches in the order of the training items, `(items,)`."""
    together = np.concatenate(parts)
    if not plan.shares:
        return together
    ordered = np.empty_like(together)
    ordered[np.concatenate(plan.rows)] = together
    return ordered
