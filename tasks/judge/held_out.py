"""Coalitions whose models are retrained to judge credit: held-out coalitions and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from royalty.models.judging.datamodeling import held_out_coalitions, only_top, without_top
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.credits import MethodCredit

HELD_OUT_SEED = 1000
"""Offset of the training seeds of held-out models, so that they differ from those behind any credit."""

REMOVED, KEPT = (0.1, 0.2, 0.4), (0.6,)
"""Fractions of the contributors, by highest credit, that counterfactuals remove or keep."""

EVERYBODY = ("", "everybody")
"""Key of the unchanged coalition, which counterfactuals are compared with."""


def held_out(data: Ingested, config: CreditConfig) -> dict[float, list[Members]]:
    """Draw held-out coalitions of each size; returns their members by alpha."""
    names = np.array(data.outputs.contributors)
    return {
        alpha: [
            tuple(names[mask].tolist())
            for mask in held_out_coalitions(len(names), alpha, config.evaluation.subsets, seed=config.seed)
        ]
        for alpha in config.evaluation.alphas
    }


def held_out_seeds(config: CreditConfig) -> range:
    """Training seeds of held-out models."""
    return range(config.seed + HELD_OUT_SEED, config.seed + HELD_OUT_SEED + config.evaluation.seeds)


def in_turn(chosen: Mapping[float, Sequence[Members]]) -> list[Members]:
    """Interleave the coalitions of all sizes, so that any first part covers every size."""
    longest = max(map(len, chosen.values()))
    return [group[index] for index in range(longest) for group in chosen.values() if index < len(group)]


def ends_of(data: Ingested) -> list[Members]:
    """Everybody, and nobody."""
    return [tuple(data.outputs.contributors), ()]


def leave_one_out(data: Ingested) -> list[Members]:
    """Everybody, nobody, and everybody but each contributor in turn."""
    names = data.outputs.contributors
    return [*ends_of(data), *(tuple(other for other in names if other != name) for name in names)]


def counterfactual_coalitions(data: Ingested, credits: Sequence[MethodCredit]) -> dict[tuple[str, str], Members]:
    """Members of each counterfactual and of `EVERYBODY`, by method and change."""
    names = np.array(data.outputs.contributors)
    coalitions = {EVERYBODY: tuple(names.tolist())}
    for credit in credits:
        for share in REMOVED:
            remaining = names[without_top(credit.values, share)]
            coalitions[credit.method, f"without top {share:.0%}"] = tuple(remaining.tolist())
        for share in KEPT:
            kept = names[only_top(credit.values, share)]
            coalitions[credit.method, f"only top {share:.0%}"] = tuple(kept.tolist())
    return coalitions
