"""How a valuation in batches is divided: its plan, its shares, and what is found of each, as bytes too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import open_packed, pack, packed_pieces, unpack
from royalty.models.valuation.ground import Batch, Ground, Options, chunks, survey
from royalty.models.valuation.memory import check_fits

SHARE = 16
"""Batches of training items that are valued one after the other, each starting where the last one ended."""

PAIR_BYTES = 64
"""Of a pair of batches: distance, dual value, coupling, and what their transport computes with."""

BatchPositions = tuple[np.ndarray, ...]
"""Sorted positions of the items of each batch."""


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

    def check_pairs(self, items: int, val_items: int) -> None:
        """Refuse more pairs of a training and a validation batch than memory holds.

        Raises:
            InputError: with both numbers of batches.
        """
        counts = (-(-count // self.size) for count in (items, val_items))
        check_fits(
            f"distances of training batches from validation batches of {self.size} items",
            *counts,
            bytes_each=PAIR_BYTES,
            remedy="Take a larger `batch_size`",
        )

    def rows(self, items: int, labels: np.ndarray | None) -> BatchPositions:
        """Batches of one size to the next item."""
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
        shares: rows of each batch of training items, by share of the work; none where batches are given.
    """

    ground: Ground
    val: tuple[Batch, ...]
    shares: tuple[BatchPositions, ...]

    @property
    def rows(self) -> BatchPositions:
        """Of all batches."""
        return tuple(batch for share in self.shares for batch in share)

    def common(self) -> Plan:
        """What a transport of any training batch depends on beside that batch."""
        return replace(self, ground=replace(self.ground, items=0), shares=())

    def to_bytes(self) -> bytes:
        arrays = {"centre": self.ground.centre, "label_distances": self.ground.label_distances}
        if self.ground.labels is not None:
            arrays["labels"] = self.ground.labels
        for index, (features, labels) in enumerate(self.val):
            arrays[f"val {index}"] = features
            if labels is not None:
                arrays[f"val labels {index}"] = labels
        for index, rows in enumerate(self.rows):
            arrays[f"rows {index}"] = rows
        numbers = {"scale": self.ground.scale, "epsilon": self.ground.epsilon, "items": self.ground.items}
        counts = {"val": len(self.val), "shares": [len(share) for share in self.shares]}
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
        rows = (arrays[f"rows {index}"] for index in range(sum(counts["shares"])))
        return cls(ground, val, tuple(tuple(islice(rows, count)) for count in counts["shares"]))


@dataclass(frozen=True)
class Share:
    """What transport of some batches of training items to all of validation found.

    Attributes:
        sizes: items of each batch, `(batches,)`.
        distances, duals: `(batches, validation batches)`, transport cost, and value with its entropy.
        potentials: float64, for each validation batch `(items,)`, the mean of its potentials over the training
            items, each at the level that gives the sources' potentials a mean of zero.
        marginal_error: the largest.
        iterations: passes over the costs, in all.
    """

    sizes: np.ndarray
    distances: np.ndarray
    duals: np.ndarray
    potentials: tuple[np.ndarray, ...]
    marginal_error: float
    iterations: int

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": own for index, own in enumerate(self.potentials)}
        numbers = {"marginal_error": self.marginal_error, "iterations": self.iterations}
        return pack({**arrays, "sizes": self.sizes, "distances": self.distances, "duals": self.duals}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Share:
        arrays, numbers = unpack(payload)
        distances = arrays["distances"]
        potentials = tuple(arrays[f"potentials {index}"] for index in range(distances.shape[1]))
        return cls(arrays["sizes"], distances, arrays["duals"], potentials, **numbers)


@dataclass(frozen=True)
class BatchTransport:
    """What all shares together say, by which every item is valued.

    Attributes:
        potentials: for each validation batch `(items,)`, the mean over all training items.
        sent: `(batches, validation batches)`, where each batch goes: rows sum to one.
        distance: of the transport of batches.
        marginal_error: the largest of all transports.
        iterations: passes over the costs, in all.
    """

    potentials: tuple[np.ndarray, ...]
    sent: np.ndarray
    distance: float
    marginal_error: float
    iterations: int

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": own for index, own in enumerate(self.potentials)}
        numbers = {name: getattr(self, name) for name in ("distance", "marginal_error", "iterations")}
        return pack({**arrays, "sent": self.sent}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> BatchTransport:
        arrays, numbers = unpack(payload)
        sent = arrays["sent"]
        return cls(tuple(arrays[f"potentials {index}"] for index in range(sent.shape[1])), sent, **numbers)


@dataclass(frozen=True)
class Valued:
    """Gradients of the items of some batches.

    Attributes:
        gradients: float64, `(items,)`, batch by batch.
        columns: for each validation batch `(items,)`, the mass that these training items send to each, all of
            them having one.
    """

    gradients: np.ndarray
    columns: tuple[np.ndarray, ...]

    def to_bytes(self) -> bytes:
        arrays = {f"columns {index}": own for index, own in enumerate(self.columns)}
        return pack({**arrays, "gradients": self.gradients}, {"columns": len(self.columns)})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Valued:
        arrays, numbers = unpack(payload)
        return cls(arrays["gradients"], tuple(arrays[f"columns {index}"] for index in range(numbers["columns"])))


def plan_values(
    train: tuple[np.ndarray, np.ndarray | None],
    val: Batch,
    options: Options,
    batching: Batching,
    device: torch.device | None = None,
) -> Plan:
    """Look at all items once, and divide them into batches; see `sava_values`."""
    batching.check_pairs(len(train[0]), len(val[0]))
    ground = survey(chunks(*train), val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), _in_shares(batching.rows(len(train[0]), train[1])))


def plan_batches(
    train: Iterable[Batch], val: Batch, options: Options, batching: Batching, device: torch.device | None = None
) -> Plan:
    """Look at all items of given batches once; see `sava_values`."""
    ground = survey(train, val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), ())


def extend_plan(
    plan: Plan, before: Sequence[str], after: Sequence[str], labels: np.ndarray | None, batching: Batching
) -> tuple[Plan, int]:
    """The plan for a training set that has changed, with the batches that are still whole as they were.

    Cost, scale and label distances stay those of the plan, so that what was found for those batches still holds. Items
    that are new, or whose batch has lost one, come into batches of their own.

    Args:
        before, after: what tells items apart, such as id and label, in the order of the training items then and now.
        labels: of the items now.

    Returns:
        The plan, and how many of its first shares are as they were.
    """
    places: dict[str, list[int]] = {}
    for row in reversed(range(len(after))):
        places.setdefault(after[row], []).append(row)
    left = np.ones(len(after), dtype=bool)
    kept = []
    for share in plan.shares:
        wanted = [before[row] for batch in share for row in batch]
        needed = Counter(wanted)
        if all(len(places.get(name, ())) >= count for name, count in needed.items()):
            rows = iter([places[name].pop() for name in wanted])
            kept.append(tuple(np.array(list(islice(rows, len(batch)))) for batch in share))
            left[np.concatenate(kept[-1])] = False
    fresh = np.flatnonzero(left)
    added = batching.rows(len(fresh), None if labels is None else labels[fresh]) if len(fresh) else ()
    shares = (*kept, *_in_shares(tuple(fresh[batch] for batch in added)))
    return replace(plan, ground=replace(plan.ground, items=len(after)), shares=shares), len(kept)


def _in_shares(batches: BatchPositions) -> tuple[BatchPositions, ...]:
    return tuple(batches[start : start + SHARE] for start in range(0, len(batches), SHARE))


def take(train: tuple[np.ndarray, np.ndarray | None], rows: np.ndarray) -> Batch:
    """The items of one batch; of a memory map, nothing else is read."""
    return np.asarray(train[0][rows]), None if train[1] is None else np.asarray(train[1][rows])


def share_pieces(train: tuple[np.ndarray, np.ndarray | None], share: BatchPositions) -> Iterator[bytes]:
    """The items of the batches of a share, as bytes that `open_share` maps: a share then reads no others."""
    features, labels = take(train, np.concatenate(share))
    arrays = {"features": features} if labels is None else {"features": features, "labels": labels}
    return packed_pieces(arrays, {"sizes": [len(rows) for rows in share]})


def open_share(path: Path) -> list[Batch]:
    """The batches that `share_pieces` wrote."""
    arrays, kept = open_packed(path)
    ends = np.cumsum(kept["sizes"])[:-1]
    features = np.split(arrays["features"], ends)
    labels = np.split(arrays["labels"], ends) if "labels" in arrays else [None] * len(features)
    return list(zip(features, labels, strict=True))


def _val_batches(val: Batch, batching: Batching) -> tuple[Batch, ...]:
    return tuple(take(val, rows) for rows in batching.rows(len(val[0]), val[1]))
