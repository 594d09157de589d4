"""SAVA: LAVA in batches, for training sets of any size.

Kessler et al. 2025. Each batch of training items is transported to each batch of validation items, and then the
batches of one side to those of the other, at the cost of those distances. An item's value is its gradient
within its batch, weighted by where its batch goes, and that of its batch among all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from models.errors import InputError
from models.serialization import pack, unpack
from models.valuation.ground import Batch, Ground, Options, chunks, survey
from models.valuation.items import ItemValues
from models.valuation.lava import MAX_ITERATIONS, calibrated
from models.valuation.transport import MatrixCost, Transport, solve_transport

SHARE = 16
"""Batches of training items that are valued one after the other, each starting where the last one ended."""


@dataclass(frozen=True)
class Batching:
    """How items are divided into batches; see `sava_values`.

    Raises:
        InputError: a batch size below 1.
    """

    size: int
    stratify: bool
    seed: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a batch has at least 1 item, got a batch size of {self.size}")

    def rows(self, items: int, labels: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Sorted positions for each batch, all of one size to the next item."""
        count = -(-items // self.size)
        order = np.random.default_rng(self.seed).permutation(items)
        if self.stratify and labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        # Neighbours in the order go to different batches, so a label is dealt out evenly.
        return tuple(np.sort(order[batch::count]) for batch in range(count))


@dataclass(frozen=True)
class Plan:
    """What all shares of the work have in common.

    Attributes:
        ground: of the cost.
        val: batches of validation items.
        rows: of each batch of training items, where the batches are not given; None: they are.
    """

    ground: Ground
    val: tuple[Batch, ...]
    rows: tuple[np.ndarray, ...] | None

    def to_bytes(self) -> bytes:
        arrays = {"centre": self.ground.centre, "label_distances": self.ground.label_distances}
        if self.ground.labels is not None:
            arrays["labels"] = self.ground.labels
        for index, (features, labels) in enumerate(self.val):
            arrays[f"val {index}"] = features
            if labels is not None:
                arrays[f"val labels {index}"] = labels
        for index, rows in enumerate(self.rows or ()):
            arrays[f"rows {index}"] = rows
        numbers = {"scale": self.ground.scale, "epsilon": self.ground.epsilon, "items": self.ground.items}
        counts = {"val": len(self.val), "rows": None if self.rows is None else len(self.rows)}
        return pack(arrays, {"options": asdict(self.ground.options), "ground": numbers, "counts": counts})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Plan:
        arrays, kept = unpack(payload)
        ground = Ground(
            options=Options(**kept["options"]),
            **kept["ground"],
            centre=arrays["centre"],
            labels=arrays.get("labels"),
            label_distances=arrays["label_distances"],
        )
        counts = kept["counts"]
        val = tuple((arrays[f"val {index}"], arrays.get(f"val labels {index}")) for index in range(counts["val"]))
        if counts["rows"] is None:
            return cls(ground, val, None)
        return cls(ground, val, tuple(arrays[f"rows {index}"] for index in range(counts["rows"])))


@dataclass(frozen=True)
class Share:
    """Some batches of training items against all of validation.

    Attributes:
        distances: `(batches, validation batches)`, transport cost.
        gradients: float32, for each batch `(items, validation batches)`, dual potentials less their mean: how the
            distance of the batch changes with the share of an item in it.
        marginal_error: the largest.
        iterations: passes over the costs, in all.
    """

    distances: np.ndarray
    gradients: tuple[np.ndarray, ...]
    marginal_error: float
    iterations: int

    def to_bytes(self) -> bytes:
        arrays = {f"gradients {index}": own for index, own in enumerate(self.gradients)}
        numbers = {"marginal_error": self.marginal_error, "iterations": self.iterations}
        return pack({**arrays, "distances": self.distances}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Share:
        arrays, numbers = unpack(payload)
        distances = arrays["distances"]
        return cls(distances, tuple(arrays[f"gradients {index}"] for index in range(len(distances))), **numbers)


def sava_values(
    train_features: np.ndarray | Iterable[Batch],
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
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

    For item l of batch i: -calibrated(sum over j of P_ij / P_i (f^ij_l - mean f^ij) + F_i), with f^ij the potentials
    of batch i against validation batch j, and P the plan and F the potential of the transport of batches.
    Gradients within a batch sum to zero, so that without F a batch of nothing but bad items would be worth
    as much as any other.

    Args:
        train_features: `(items, d)`, a memory map too; or batches, `(features, labels)` each, that can be
            iterated over twice: they are taken as they come, so that neither order nor size is chosen here.
        train_labels: `(items,)`; None for batches, or without labels.
        epsilon, tolerance, feature_weight, label_weight: as of `lava_values`; the scale and the label distances are
            those of all items.
        batch_size: items of a batch, about; all, if there are fewer.
        stratify: every batch has the share of each label that all items have, to the next item; else
            items are drawn for it at random.
        seed: of the draw of batches.
        progress: called with 1 after each batch of training items.

    Returns:
        Values with the largest `marginal_error`, `iterations` in all, `distance` of the batches' transport,
        `batches`, `epsilon` as used, `scale`, `label_distances`.

    Raises:
        InputError: as of `lava_values`; batches that can be iterated over only once; a batch size below 1.
        NotConverged: the tolerance was not reached.
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    batching = Batching(batch_size, stratify, seed)
    if isinstance(train_features, np.ndarray):
        train = train_features, train_labels
        plan = plan_values(train, (val_features, val_labels), options, batching, device)
        batches: Iterator[Batch] = (take(train, rows) for rows in plan.rows or ())
    else:
        _check_batches(train_features, train_labels)
        plan = plan_batches(train_features, (val_features, val_labels), options, batching, device)
        batches = iter(train_features)
    return join(plan, [value_share(plan, share, device, progress) for share in _shares(batches)])


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
    batches = (take(train, rows) for rows in plan.rows or ())
    shares = [value_share(plan, share, device, progress) for share in _shares(batches)]
    gradients = [calibrated(batch.mean(axis=1, dtype=np.float64)) for share in shares for batch in share.gradients]
    distance = float(np.concatenate([share.distances for share in shares]).mean())
    return ItemValues(-_in_order(plan, gradients), {**_diagnostics(plan, shares), "distance": distance})


def plan_values(
    train: tuple[np.ndarray, np.ndarray | None],
    val: Batch,
    options: Options,
    batching: Batching,
    device: torch.device | None = None,
) -> Plan:
    """Look at all items once, and divide them into batches; see `sava_values`."""
    ground = survey(chunks(*train), val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), batching.rows(len(train[0]), train[1]))


def plan_batches(
    train: Iterable[Batch], val: Batch, options: Options, batching: Batching, device: torch.device | None = None
) -> Plan:
    """Look at all items of given batches once; see `sava_values`."""
    ground = survey(train, val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), None)


def share_rows(plan: Plan) -> list[tuple[np.ndarray, ...]]:
    """Rows of the batches of each share of the work, which may be valued anywhere and in any order."""
    rows = plan.rows or ()
    return [rows[start : start + SHARE] for start in range(0, len(rows), SHARE)]


def take(train: tuple[np.ndarray, np.ndarray | None], rows: np.ndarray) -> Batch:
    """The items of one batch; of a memory map, nothing else is read."""
    return np.asarray(train[0][rows]), None if train[1] is None else np.asarray(train[1][rows])


def value_share(
    plan: Plan,
    batches: Iterable[Batch],
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Share:
    """Transport some batches of training items to each of validation.

    The potential of a validation batch starts where the last training batch left it: batches are alike.
    """
    starts: list[np.ndarray | None] = [None] * len(plan.val)
    distances, gradients, error, iterations = [], [], 0.0, 0
    for batch in batches:
        row, own = [], []
        for column, val in enumerate(plan.val):
            found = solve_transport(
                plan.ground.cost(batch, val, device),
                np.full(len(batch[0]), 1 / len(batch[0])),
                np.full(len(val[0]), 1 / len(val[0])),
                epsilon=plan.ground.epsilon,
                tolerance=plan.ground.options.tolerance,
                max_iterations=plan.ground.options.max_iterations,
                start=starts[column],
            )
            starts[column] = found.target
            row.append(found.distance)
            own.append((found.source - found.source.mean()).astype(np.float32))
            error, iterations = max(error, found.marginal_error), iterations + found.iterations
        distances.append(row)
        gradients.append(np.stack(own, axis=1))
        if progress is not None:
            progress(1)
    return Share(np.array(distances), tuple(gradients), error, iterations)


def join(plan: Plan, shares: Sequence[Share]) -> ItemValues:
    """Transport the batches, and put the values together; shares in the order of `share_rows`."""
    distances = np.concatenate([share.distances for share in shares])  # (batches, validation batches)
    gradients = [batch for share in shares for batch in share.gradients]
    sizes = np.array([len(batch) for batch in gradients], dtype=float)
    targets = np.array([len(features) for features, _ in plan.val], dtype=float)
    # What batches are apart in all cases moves nothing: their transport is smoothed by how much that varies.
    least = float(np.finfo(np.float32).eps) * float(np.abs(distances).mean()) + 1e-30
    epsilon = plan.ground.options.epsilon * max(float(distances.std()), least)
    outer = solve_transport(
        MatrixCost(distances),
        sizes / sizes.sum(),
        targets / targets.sum(),
        epsilon=epsilon,
        tolerance=plan.ground.options.tolerance,
        max_iterations=plan.ground.options.max_iterations,
    )
    sent = np.exp((outer.source[:, None] + outer.target - distances) / epsilon) * targets
    sent /= sent.sum(axis=1, keepdims=True)  # (batches, validation batches)
    whole = [
        batch.astype(np.float64) @ own + potential
        for batch, own, potential in zip(gradients, sent, outer.source, strict=True)
    ]
    return ItemValues(
        -calibrated(_in_order(plan, whole)), {**_diagnostics(plan, shares, outer), "distance": outer.distance}
    )


def _check_batches(train: Iterable[Batch], labels: np.ndarray | None) -> None:
    if iter(train) is train:
        raise InputError(
            "batches are read twice, for the label distances and for the values; give something that can be iterated "
            "over again, such as a list, or an object whose __iter__ opens the file"
        )
    if labels is not None:
        raise InputError("batches bring their labels, (features, labels) each; leave train_labels at None")


def _shares(batches: Iterator[Batch]) -> Iterator[Iterator[Batch]]:
    """The batches in groups of one share each, none of them read before it is asked for."""
    for first in batches:

        def share(first: Batch = first) -> Iterator[Batch]:
            yield first
            for _, batch in zip(range(SHARE - 1), batches, strict=False):
                yield batch

        yield share()


def _val_batches(val: Batch, batching: Batching) -> tuple[Batch, ...]:
    return tuple(take(val, rows) for rows in batching.rows(len(val[0]), val[1]))


def _in_order(plan: Plan, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of all batches in the order of the training items, `(items,)`."""
    together = np.concatenate(parts)
    if plan.rows is None:
        return together
    ordered = np.empty_like(together)
    ordered[np.concatenate(plan.rows)] = together
    return ordered


def _diagnostics(plan: Plan, shares: Sequence[Share], *outer: Transport) -> dict[str, Any]:
    solved: list[Share | Transport] = [*shares, *outer]
    return {
        "marginal_error": max(one.marginal_error for one in solved),
        "iterations": sum(one.iterations for one in solved),
        "batches": sum(len(share.gradients) for share in shares),
        **plan.ground.diagnostics(),
    }
