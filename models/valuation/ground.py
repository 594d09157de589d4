"""The ground cost of LAVA: how far a training item is from a validation item, by features and by label.

C((x, y), (x', y')) = feature_weight |x - x'| + label_weight W(mu_t(.|y), mu_v(.|y')) (LAVA, eq. 1): W compares
the features of all training items of label y with those of all validation items of label y'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.errors import InputError
from models.valuation.items import check_features, check_finite, check_labels, check_unseen
from models.valuation.transport import PointCost, solve_transport

CLASS_SAMPLE = 2000
"""Items of a label, of each side, that a label distance comes from at most."""

CHUNK = 65_536
"""Rows that are looked at together."""

_PASSES = 1000

Batch = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Options:
    """How a transport is set up and solved; see `models.valuation.lava.lava_values`.

    Raises:
        InputError: a value out of range.
    """

    label_weight: float
    feature_weight: float
    epsilon: float
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        for name in ("epsilon", "tolerance", "feature_weight", "max_iterations"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} is a finite number above 0, got {getattr(self, name)}")
        if not (np.isfinite(self.label_weight) and self.label_weight >= 0):
            raise InputError(
                f"label_weight is a finite number, 0 or above, got {self.label_weight}; 0 compares features alone"
            )


@dataclass(frozen=True)
class Ground:
    """What all costs of one valuation have in common.

    Attributes:
        options: as asked for.
        scale: of the cost: feature_weight times the root mean square distance of a training and a validation
            item, plus label_weight times their mean label distance.
        epsilon: of the entropy, in units of the cost.
        centre: `(d,)`, mean of the validation features.
        labels: of validation, sorted, `(labels,)`; None: features alone are compared.
        label_distances: `(labels, labels)`, of training from validation labels, 0 or more.
        items: training items.
    """

    options: Options
    scale: float
    epsilon: float
    centre: np.ndarray
    labels: np.ndarray | None
    label_distances: np.ndarray
    items: int

    def cost(self, train: Batch, val: Batch, device: torch.device | None = None) -> PointCost:
        offsets = groups = None
        if self.labels is not None and train[1] is not None and val[1] is not None:
            groups, targets = np.searchsorted(self.labels, train[1]), np.searchsorted(self.labels, val[1])
            offsets = self.options.label_weight * self.label_distances[:, targets]
        return PointCost(
            train[0],
            val[0],
            feature_weight=self.options.feature_weight,
            offsets=offsets,
            groups=groups,
            centre=self.centre,
            scale=self.scale,
            device=device,
        )

    def diagnostics(self) -> dict[str, Any]:
        return {
            "epsilon": self.epsilon,
            "scale": self.scale,
            "labels": "compared" if self.labels is not None else "off: items without labels",
            "label_distances": self.label_distances.tolist(),
        }


def survey(
    train: Iterable[Batch], val: Batch, options: Options, *, seed: int = 0, device: torch.device | None = None
) -> Ground:
    """Look at all training items once: check them, and find the scale of the cost and the label distances.

    Label distances are debiased: W(mu, nu) = OT(mu, nu) - OT(mu, mu)/2 - OT(nu, nu)/2, regularized by
    epsilon times the scale of the features, so that a label is at distance zero from itself. They come from at
    most 2,000 items of a label, drawn by the seed.

    Raises:
        InputError: see `models.valuation.items`.
    """
    if torch.get_float32_matmul_precision() != "highest":
        raise InputError(
            "distances are computed in full float32, and torch is set to round products of matrices; call "
            'torch.set_float32_matmul_precision("highest")'
        )
    features, labels = val
    if labels is not None:
        check_labels(labels, len(features), "validation")
    known = None if labels is None else np.unique(labels)
    seen = _Seen(np.random.default_rng(seed))
    for batch in train:
        check_features(batch[0], features, first=seen.items)
        if (batch[1] is None) != (known is None):
            raise InputError("labels are compared if both sides have them; give both, or neither")
        if batch[1] is not None and known is not None:
            check_labels(batch[1], len(batch[0]), "training")
            check_unseen(batch[1], known)
        seen.add(*batch)
    if not seen.items:
        raise InputError("there are no training items to value")
    check_finite(features, "validation")
    centre = features.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(seen.mean_square(centre) + ((features - centre) ** 2).sum(axis=1, dtype=np.float64).mean())
    if not spread > 1e-6 * np.sqrt(max(float(centre @ centre), np.finfo(float).tiny)):
        raise InputError("all items have the same features, so none can be told from another; choose another encoder")
    distances = np.zeros((1, 1))
    between = 0.0
    if known is not None and options.label_weight > 0:
        own = [features[_sample(labels == label, seen.generator)] for label in known]
        distances = _label_distances(
            seen.samples(known), own, options.epsilon * spread, options.tolerance, centre, device
        )
        shares = np.array([seen.counts.get(int(label), 0) for label in known]) / seen.items
        between = float(shares @ distances @ np.array([(labels == label).mean() for label in known]))
    elif known is not None:
        distances = np.zeros((len(known), len(known)))
    scale = float(options.feature_weight * spread + options.label_weight * between)
    return Ground(options, scale, options.epsilon * scale, centre, known, distances, seen.items)


def chunks(features: np.ndarray, labels: np.ndarray | None) -> Iterator[Batch]:
    """An array or memory map, a part at a time."""
    if labels is not None:
        check_labels(labels, len(features), "training")
    for start in range(0, max(len(features), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        yield np.asarray(features[rows]), None if labels is None else labels[rows]


class _Seen:
    """What is kept of training items while they pass by."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.items = 0
        self.counts: dict[int, int] = {}
        self._sum: np.ndarray | float = 0.0
        self._squares = 0.0
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, features: np.ndarray, labels: np.ndarray | None) -> None:
        self.items += len(features)
        self._sum = self._sum + features.sum(axis=0, dtype=np.float64)
        self._squares += float(np.einsum("id,id->", features, features, dtype=np.float64))
        if labels is None:
            return
        # The items of a label that draw the lowest numbers are a sample of it, whatever else passes by.
        drawn = self.generator.random(len(features))
        for label in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            self.counts[label] = self.counts.get(label, 0) + len(rows)
            rows = rows[np.argsort(drawn[rows])[:CLASS_SAMPLE]]
            kept, numbers = features[rows], drawn[rows]
            if label in self._kept:
                before = self._kept[label]
                kept, numbers = np.concatenate([before[0], kept]), np.concatenate([before[1], numbers])
                lowest = np.argsort(numbers)[:CLASS_SAMPLE]
                kept, numbers = kept[lowest], numbers[lowest]
            self._kept[label] = (kept, numbers)

    def mean_square(self, centre: np.ndarray) -> float:
        """Mean square distance of the training items from a point."""
        mean = self._sum / self.items
        return max(float(self._squares / self.items - 2 * mean @ centre + centre @ centre), 0.0)

    def samples(self, labels: np.ndarray) -> list[np.ndarray | None]:
        """Items of each label, None for a label without any."""
        return [self._kept[label][0] if label in self._kept else None for label in labels.tolist()]


def _label_distances(
    train: list[np.ndarray | None],
    val: list[np.ndarray],
    epsilon: float,
    tolerance: float,
    centre: np.ndarray,
    device: torch.device | None,
) -> np.ndarray:
    """Debiased distances, `(training labels, validation labels)`; zero where a label has no training items."""

    def transport(first: np.ndarray, second: np.ndarray) -> float:
        cost = PointCost(first, second, centre=centre, device=device)
        weights = (np.full(count, 1 / count) for count in cost.shape)
        return solve_transport(cost, *weights, epsilon=epsilon, tolerance=tolerance, max_iterations=_PASSES).dual

    own_val = [transport(points, points) for points in val]
    distances = np.zeros((len(train), len(val)))
    for row, points in enumerate(train):
        if points is not None:
            own = transport(points, points)
            for column, others in enumerate(val):
                distances[row, column] = transport(points, others) - (own + own_val[column]) / 2
    return np.maximum(distances, 0.0)


def _sample(members: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(members)
    return rows if len(rows) <= CLASS_SAMPLE else np.sort(generator.choice(rows, CLASS_SAMPLE, replace=False))
