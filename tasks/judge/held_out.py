"""Coalitions whose models are retrained to judge credit: held-out ones, and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from royalty.models.judging.datamodeling import held_out_coalitions, only_top, without_top
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.credits import MethodCredit

HELD_OUT_SEED = 1000
"""Added to the run's seed: held-out models are trained from seeds that no credit has seen."""

REMOVED, KEPT = (0.1, 0.2, 0.4), (0.6,)
"""Shares of contributors of highest credit, of counterfactuals."""

EVERYBODY = ("", "everybody")
"""The counterfactual that changes nothing; the others are compared with it."""


def held_out(data: Ingested, config: CreditConfig) -> dict[float, list[Members]]:
    """Members of the held-out coalitions of each size."""
    names = np.array(data.outputs.contributors)
    return {
        alpha: [
            tuple(names[mask].tolist())
            for mask in held_out_coalitions(len(names), alpha, config.evaluation.subsets, seed=config.seed)
        ]
        for alpha in config.evaluation.alphas
    }


def held_out_seeds(config: CreditConfig) -> range:
    """Seeds of the trainings of held-out models."""
    return range(config.seed + HELD_OUT_SEED, config.seed + HELD_OUT_SEED + config.evaluation.seeds)


def in_turn(chosen: Mapping[float, Sequence[Members]]) -> list[Members]:
    """The coalitions of all sizes, taken in turn, so that a part of them covers every size."""
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
    """Members of each counterfactual, by method and what was done; `EVERYBODY` is among them."""
    names = np.array(data.outputs.contributors)
    asked = {EVERYBODY: tuple(names.tolist())}
    for credit in credits:
        for share in REMOVED:
            asked[credit.method, f"without top {share:.0%}"] = tuple(names[without_top(credit.values, share)].tolist())
        for share in KEPT:
            asked[credit.method, f"only top {share:.0%}"] = tuple(names[only_top(credit.values, share)].tolist())
    return asked
