"""Which runs do not tell who is a substitute or a complement of whom."""

from __future__ import annotations

from royalty.models.valuation.sure_pairs import SurePairs
from royalty.tasks.config.credit import CreditConfig


def untold_pairs(config: CreditConfig) -> SurePairs | None:
    """Why the coalitions of a run tell nothing about pairs of contributors; None if they do."""
    if config.coalitions.groups:
        return SurePairs(omitted="coalitions are of groups, which do not tell what two contributors add together")
    if config.coalitions.units == "images":
        return SurePairs(omitted="coalitions are sets of images, which do not tell what two contributors add together")
    if config.coalitions.pipelines > 1:
        return SurePairs(
            omitted="coalitions are of several pipelines, and what two contributors add together is told of one "
            "(`coalitions.pipelines: 1`)"
        )
    if config.coalitions.method == "amortized":
        return SurePairs(
            omitted="utilities of the one model of `coalitions.method: amortized` may fall where those of retrained "
            "models rise, so that substitutes would look like complements"
        )
    return None
