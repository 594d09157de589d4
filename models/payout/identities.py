"""Effect of identities on payouts: what changes if two contributors are merged, or one splits into two.

Two contributors with the same images may be one person under two names. Rules that count contributors, such as floors
and tiers, can reward a second name. Both effects are reported with a payout, and no decision is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from scipy.sparse import csr_array

from royalty.models.base.errors import InputError
from royalty.models.data.duplicates import near_owners
from royalty.models.payout.division import Terms, divide_pool
from royalty.models.payout.policies import Credit
from royalty.models.payout.splits import closed_form, combined_shares
from royalty.models.valuation.shapley import estimate_shapley

DIVIDED, HIGHEST = 100, 10
"""Most contributors for whom the pool is divided anew for each; and for how many of more, if no closed form holds."""


@dataclass(frozen=True)
class SplitIdentity:
    """The shares of a contributor under one name and under two, each with half of the credit.

    Attributes:
        undivided: share under one name, in minor units of the pool.
        combined: sum of the shares under two names.
    """

    name: str
    undivided: int
    combined: int


def overlaps(
    images: np.ndarray, membership: np.ndarray | csr_array, min_share: float = 0.5
) -> list[tuple[int, int, float]]:
    """Pairs of contributors with images in common, exact copies or near copies.

    Args:
        images: uint8, `(items, channels, height, width)`, without exact copies.
        membership: bool, `(items, contributors)`; an image with exact copies is one item of several contributors. An
            array of scipy for many contributors.
        min_share: smallest share of common images, relative to the contributor with fewer images.

    Returns:
        Columns of both contributors and the share, sorted.
    """
    owned = csr_array(membership).astype(np.float32)
    counts = np.asarray(owned.sum(axis=0))
    shared = (owned.T @ near_owners(images, membership).astype(np.float32)).tocoo()
    smaller, larger = shared.coords
    share = shared.data.astype(np.float64) / counts[smaller]
    counted = (counts[smaller] < counts[larger]) | ((counts[smaller] == counts[larger]) & (smaller < larger))
    counted &= share >= min_share
    pairs = np.stack([smaller, larger])[:, counted]
    return sorted(zip(*np.sort(pairs, axis=0).tolist(), share[counted].tolist(), strict=True))


def merge(masks: np.ndarray, utilities: np.ndarray, null: float, grand: float, pair: tuple[int, int]) -> float | None:
    """Credit of two contributors merged to one, in the game of the coalitions with both or neither.

    Args:
        masks: bool, `(coalitions, contributors)`.
        utilities: `(coalitions,)`.
        null, grand: utilities of nobody and of everybody.
        pair: columns of the two contributors.

    Returns:
        None if too few coalitions with both or neither were measured.
    """
    first, second = pair
    rows = masks[:, first] == masks[:, second]
    merged = np.delete(masks[rows], second, axis=1)  # (coalitions, contributors - 1)
    # Deleting a column before `first` shifts it by one.
    column = first - 1 if second < first else first
    proper = merged.any(axis=1) & ~merged.all(axis=1)
    try:
        return float(estimate_shapley(merged[proper], utilities[rows][proper], null, grand).values[column])
    except InputError:
        return None


def split(
    pool: int, credits: Mapping[str, Credit], terms: Terms, images: Mapping[str, int] | None = None
) -> list[SplitIdentity]:
    """The share of each contributor with positive credit, if it split into two identities.

    Each identity gets half of the credit, which is exact for additive games and approximate for games with
    interactions, and an interval as wide as before: the noise of a measurement does not shrink with the credit. Any
    change of the share is due to the terms: floors, caps and tiers apply to each contributor, and the policy
    `lower-bound` subtracts the width of the interval twice. Contributors whose split the terms do not allow are left
    out. Up to `DIVIDED` contributors, the pool is divided anew for each; more are computed together, as
    `royalty.models.payout.splits` describes, if the terms allow it, and else only for the `HIGHEST` of most credit.

    Args:
        terms: both identities are disputed if the contributor is.
        images: number of images of each contributor, which two identities divide.
    """
    undivided = divide_pool(pool, credits, terms, images=images).shares
    if len(credits) > DIVIDED and closed_form(terms):
        shares = dict(zip(credits, combined_shares(pool, credits, terms).tolist(), strict=True))
        return [
            SplitIdentity(name, undivided[name], round(share))
            for name, share in shares.items()
            if credits[name].value > 0 and isfinite(share)
        ]
    splits = []
    for name in split_names(credits, terms):
        credit = credits[name]
        if credit.value <= 0:
            continue
        shift = credit.value / 2
        half = Credit(credit.value - shift, credit.low - shift, credit.high - shift, credit.error)
        twins = (f"{name} (1)", f"{name} (2)")
        others = {other: credits[other] for other in credits if other != name}
        divided = None
        if images is not None and name in images:
            divided = {**images, twins[0]: images[name] // 2, twins[1]: -(-images[name] // 2)}
        try:
            rows = divide_pool(
                pool, {**others, **dict.fromkeys(twins, half)}, _split_terms(terms, name, twins), images=divided
            ).shares
        except InputError:  # for example, the floor is too high for one more contributor
            continue
        splits.append(SplitIdentity(name, undivided[name], sum(rows[twin] for twin in twins)))
    return splits


def split_names(credits: Mapping[str, Credit], terms: Terms) -> list[str]:
    """The contributors whom `split` tries to split: all, or the `HIGHEST` of most credit."""
    if len(credits) <= DIVIDED or closed_form(terms):
        return list(credits)
    highest = set(sorted(credits, key=lambda name: -credits[name].value)[:HIGHEST])
    return [name for name in credits if name in highest]


def _split_terms(terms: Terms, name: str, twins: tuple[str, str]) -> Terms:
    """The terms with both identities disputed if the contributor was."""
    disputed = terms.disputed - {name} | (frozenset(twins) if name in terms.disputed else frozenset())
    return replace(terms, disputed=disputed)
