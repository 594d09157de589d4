"""Attribution of one generated image: which items and contributors stand behind it, and to which share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from royalty.models.base.errors import InputError
from royalty.models.data.teams import credited
from royalty.models.valuation.sharing import softmin

COMPARED = 50
"""Items after the nearest whose mean distance the nearest is compared with."""


@dataclass(frozen=True)
class Attribution:
    """The shares of the items nearest to a generated image.

    Attributes:
        shares: float64, `(k,)`, descending, at least 0; their sum is 1. What the image earns is divided by them.
        effective: effective number of items, exp of the entropy of the shares, from 1 to k.
        far: whether all items are farther than items usually are from each other, so that the image is not attributed.
    """

    shares: np.ndarray
    effective: float
    far: bool


def attribution(distances: np.ndarray, *, temperature: float, far: float) -> Attribution:
    """Divide a generated image among the items nearest to it, by GMValuator's shares (eq. 7) at quality 1.

    The quality of the image is no factor: it lowers what an image says of a model, and not what was earned with it.

    Args:
        distances: float64, `(k,)`, ascending.
        temperature: T of exp(-d / T), in units of the distances.
        far: distance beyond which an image is not attributed; see `far_distance`.
    """
    shares = softmin(distances[None], temperature)[0]
    return Attribution(shares, float(np.exp(entr(shares).sum())), bool(distances[0] > far))


def closeness(distances: np.ndarray) -> float:
    """Distance of the nearest item as a fraction of the mean distance of the next ones (Carlini et al. 2023): 0 for a
    copy, near 1 for an image like many others.

    Args:
        distances: `(n,)`, ascending; the nearest, and up to `COMPARED` next ones.
    """
    apart = float(distances[1 : COMPARED + 1].mean()) if len(distances) > 1 else 0.0
    return float(distances[0]) / apart if apart > 0 else 0.0


def memorization_p_value(close: float, usual: np.ndarray) -> float:
    """Probability that an image which was not trained on is as close to a training item: the conformal p-value.

    Args:
        close: result of `closeness`.
        usual: ascending closeness of items to the other items, which is that of images that were not trained on, as far
            as the items are no copies of each other.

    Returns:
        (1 + number of usual ones at least as close) / (1 + their number), at least 1 / (1 + their number).
    """
    return float((1 + np.searchsorted(usual, close, side="right")) / (1 + len(usual)))


def far_distance(nearest: np.ndarray, rate: float) -> float:
    """The distance that a fraction `rate` of the items exceed to their own nearest neighbour.

    A generated image whose nearest item is farther than this is not attributed. The rate is the fraction of images like
    the training images that are refused by mistake.

    Args:
        nearest: `(sample,)`, the distance of each sampled item to the nearest other item.
        rate: in (0, 1).

    Raises:
        InputError: no distances, or another rate.
    """
    if not len(nearest) or not 0 < rate < 1:
        raise InputError(f"the rate lies between 0 and 1, and distances are given; got {rate} and {len(nearest)}")
    return float(np.quantile(nearest, 1 - rate, method="higher"))


def contributor_shares(shares: np.ndarray, contributors: Sequence[str]) -> dict[str, float]:
    """Shares by contributor, highest first; the share of an item is divided equally among its contributors.

    A team such as `a:2;b:1` is one contributor, whose money its members divide later.

    Sums are exact before they are rounded, so that the order of the items changes nothing.

    Args:
        shares: `(k,)`.
        contributors: one text for each item, several names separated by `;`.
    """
    parts: dict[str, list[float]] = {}
    for share, text in zip(shares.tolist(), contributors, strict=True):
        names = sorted(credited(text))
        for name in names:
            parts.setdefault(name, []).append(share / len(names))
    totals = {name: math.fsum(values) for name, values in parts.items()}
    return dict(sorted(totals.items(), key=lambda total: (-total[1], total[0])))
