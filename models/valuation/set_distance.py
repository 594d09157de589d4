"""The distance of two sets of items, with their labels, and the part of each item in it.

The distance is the Sinkhorn divergence (Feydy et al. 2019) under the class-wise cost of LAVA (eq. 1):
S(A, B) = W(A, B) - W(A, A)/2 - W(B, B)/2, where W is the value of entropic transport. Without the last two terms the
distance of a set from itself is above zero, by the blur of the entropy.

With f the dual potential of A in W(A, B), and h that in W(A, A), S is the mean of f - h over A plus the like mean over
B. The potentials of W(A, B) are determined up to a constant, which is chosen so that the mean over B is zero. Then S is
a sum over the items of A, and the part of a group of items is what its mass adds to the distance, to first order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_device, as_features, as_labels, as_seed, as_whole
from royalty.models.base.checks import check_features, check_labels
from royalty.models.base.choices import SolverName
from royalty.models.base.errors import InputError
from royalty.models.valuation.content import Sample, content_keys, sampled, with_labels
from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.geomloss_transport import solver_of
from royalty.models.valuation.ground import SCALE_SAMPLE, Options, deviation, label_distances, one_thread
from royalty.models.valuation.lava import MAX_ITERATIONS
from royalty.models.valuation.transport import Transport

CLASS_SAMPLE = 500
"""Largest number of distinct items of a label, in each set, that label distances are computed from."""


@dataclass(frozen=True)
class SetDistance:
    """The distance of a first set from a second one.

    Attributes:
        distance: in units of the features, at least 0; 0 for equal sets, in any order of their items.
        chance: distance of two sets of these sizes that the same items are divided into at random: what samples of one
            distribution are apart. It is above zero, and grows with the dimensions. None if no division was drawn.
        typical: mean distance of an item of the first set from an item of the second, by features and labels.
        parts: `(items,)`, of the items of the first set; they sum to the distance. An item whose part is below its
            share of the distance, distance / items, brings the sets closer together; one above it drives them apart.
        label_distances: distances of the labels of the first set from those of the second, `(labels, labels)`, at
            least 0; None without labels.
        diagnostics: `marginal_error`, the largest of the three transports; `iterations`; `epsilon` as used;
            `scale`; `labels`, whether they were compared.
    """

    distance: float
    chance: float | None
    typical: float
    parts: np.ndarray
    label_distances: np.ndarray | None
    diagnostics: dict[str, Any]

    @property
    def share(self) -> float:
        """The distance divided by the typical distance of two items; near 1 if the sets have nothing in common."""
        return self.distance / self.typical if self.typical > 0 else 0.0


@dataclass(frozen=True)
class _Side:
    """A set: features; the positions of its labels among the sorted ones; a sample of each label, and one of all."""

    features: np.ndarray
    groups: np.ndarray
    by_label: list[Sample]
    sample: Sample

    @classmethod
    def of(cls, features: np.ndarray, labels: np.ndarray | None, keys: np.ndarray) -> _Side:
        """Keys are those of `content_keys`: equal sets have equal samples, so that nothing is between them."""
        known, groups = np.unique(np.zeros(len(features), int) if labels is None else labels, return_inverse=True)
        members = [groups == group for group in range(len(known))]
        by_label = [sampled(features[rows], keys[rows], CLASS_SAMPLE) for rows in members]
        return cls(
            features, groups, by_label, sampled(features, with_labels(keys, groups), SCALE_SAMPLE, labels=groups)
        )


def set_distance(
    first_features: ArrayLike,
    first_labels: ArrayLike | None,
    second_features: ArrayLike,
    second_labels: ArrayLike | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 1.0,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    divisions: int = 1,
    seed: int = 0,
    solver: SolverName = "royalty",
    device: torch.device | str | None = None,
) -> SetDistance:
    """Compute the debiased class-wise Wasserstein distance of two sets, and the part of each item of the first.

    Labels are compared by the features of their items, and not by their numbers: the sets may use different numbers,
    and either may lack labels that the other has.

    Args:
        first_features, second_features: `(items, d)`, float32, or float64 for smaller tolerances.
        first_labels, second_labels: integers, `(items,)`; if both are None, labels are not compared.
        label_weight: weight of the distance between labels in the cost, 0 or above; 0 compares features alone.
        feature_weight: weight of the distance between features, above 0.
        epsilon: weight of the entropy, as a fraction of the scale of the cost, which is the standard deviation of the
            cost between the items of both sets. A small one is closer to exact transport, but then samples of one
            distribution lie far apart (`chance`), and small differences are lost in that.
        tolerance: largest marginal error, the fraction of the mass in the wrong place, in (0, 2).
        max_iterations: largest number of passes over the cost, in each of the three transports.
        divisions: number of random divisions that `chance` is the mean of; each takes as long as the distance itself.
        seed: of the divisions, and of the samples, of at most 500 distinct items of a label and 1,000 of a set, that
            label distances and the scale are computed from. Equal sets have equal samples.
        solver: `royalty`, or `geomloss`: see `royalty.lava_values`.
        device: where the cost is computed, such as `"cuda"`; the CPU by default.

    Returns:
        The distance, at least 0, and that of a random division; parts of the items of the first set, which sum to the
        distance; and diagnostics.

    Raises:
        InputError: invalid features or labels (see `royalty.models.base.checks`); options out of range; a solver that
            is not installed, or costs that do not fit in memory with `geomloss`; no device.
        NotConverged: the tolerance was not reached.

    Examples:
        The order of the items does not matter, and the item that lies apart makes the distance:

        >>> import royalty
        >>> royalty.set_distance([[0.0], [1.0]], None, [[1.0], [0.0]], None).distance < 1e-3
        True
        >>> apart = royalty.set_distance([[0.0], [1.0], [9.0]], None, [[0.0], [1.0], [2.0]], None)
        >>> int(apart.parts.argmax())
        2
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations, solver)
    first, second = as_features(first_features, "first_features"), as_features(second_features, "second_features")
    labels = as_labels(first_labels, "first_labels"), as_labels(second_labels, "second_labels")
    check_features(first, second, title="the other set's", first_title="the first set's")
    if (labels[0] is None) != (labels[1] is None):
        raise InputError("labels are compared if both sets have them, and one set has none; give both, or neither")
    for side, given, title in ((first, labels[0], "first"), (second, labels[1], "second")):
        if given is not None:
            check_labels(given, len(side), title)
    seed, divisions, place = as_seed(seed), as_whole(divisions, "divisions"), as_device(device)
    if divisions < 0:
        raise InputError(f"`divisions` is a whole number, 0 or above; got {divisions}. With 0, no chance is computed")
    items = np.concatenate([first, second])
    known = None if labels[0] is None or labels[1] is None else np.concatenate([labels[0], labels[1]])
    keys = content_keys(items, seed=seed)

    def measured(*parts: np.ndarray) -> SetDistance:
        sides = [_Side.of(items[rows], None if known is None else known[rows], keys[rows]) for rows in parts]
        return _measure(sides, known is not None, options, place)

    found = measured(*np.split(np.arange(len(items)), [len(first)]))
    # Divided in the order of content, so that the chance does not depend on that of the items.
    by_content, generator = np.argsort(with_labels(keys, known), kind="stable"), np.random.default_rng(seed)
    divided = (np.split(by_content[generator.permutation(len(items))], [len(first)]) for _ in range(divisions))
    chances = [measured(*parts).distance for parts in divided]
    return replace(found, chance=float(np.mean(chances)) if chances else None)


PAIRS = ((0, 1), (0, 0), (1, 1))
"""The transports of a divergence: between the sets, and within each."""


def _measure(sides: list[_Side], labelled: bool, options: Options, device: torch.device | None) -> SetDistance:
    centre = np.stack([side.features.mean(axis=0, dtype=np.float64) for side in sides]).mean(axis=0)
    samples, masses = [side.sample for side in sides], [side.sample.weights for side in sides]
    first, second = (torch.from_numpy(sample.features - centre).double() for sample in samples)
    apart: np.ndarray = torch.cdist(first, second).numpy()
    by_label = {pair: np.zeros([len(sides[side].by_label) for side in pair]) for pair in PAIRS}
    if labelled and options.label_weight > 0:
        spread = deviation(apart, *masses)
        with one_thread():
            for one, other in PAIRS:
                by_label[one, other] = label_distances(
                    sides[one].by_label, sides[other].by_label, spread, options, centre, device
                )
    costs = options.feature_weight * apart
    costs = costs + options.label_weight * by_label[0, 1][np.ix_(*(sample.labels for sample in samples))]
    scale = deviation(costs, *masses)
    solved = {
        (one, other): _transport(sides[one], sides[other], by_label[one, other], options, centre, scale, device)
        for one, other in PAIRS
    }
    within = [(solved[side, side].source + solved[side, side].target) / 2 for side in (0, 1)]
    of_second = float((solved[0, 1].target - within[1]).mean())
    parts = (solved[0, 1].source - within[0] + of_second) / len(sides[0].features)
    return SetDistance(
        distance=max(float(parts.sum()), 0.0),
        chance=None,
        typical=float(masses[0] @ costs @ masses[1]),
        parts=parts,
        label_distances=by_label[0, 1] if labelled else None,
        diagnostics={
            "marginal_error": max(each.marginal_error for each in solved.values()),
            "iterations": sum(each.iterations for each in solved.values()),
            "epsilon": options.epsilon * scale,
            "scale": scale,
            "labels": "compared" if labelled else "off: items without labels",
        },
    )


def _transport(
    first: _Side,
    second: _Side,
    by_label: np.ndarray,
    options: Options,
    centre: np.ndarray,
    scale: float,
    device: torch.device | None,
) -> Transport:
    cost = PointCost(
        first.features,
        second.features,
        feature_weight=options.feature_weight,
        offsets=options.label_weight * by_label[:, second.groups],
        groups=first.groups,
        target_groups=second.groups,
        centre=centre,
        scale=scale,
        device=device,
    )
    solve = solver_of(options.solver)
    return solve(
        cost,
        *(np.full(count, 1 / count) for count in cost.shape),
        epsilon=options.epsilon * scale,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
    )
