"""Coalitions whose models are retrained to judge credit: held-out coalitions and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.models.judging.datamodeling import held_out_coalitions, only_top, without_top
from royalty.models.valuation.coalitions import members_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.credits import MethodCredit

HELD_OUT_SEED = 1000
"""Offset of the training seeds of held-out models, so that they differ from those behind any credit."""

REMOVED, KEPT = (0.1, 0.2, 0.4), (0.6,)
"""Fractions of the contributors, by highest credit, that counterfactuals remove or keep."""

EVERYBODY = ("", "everybody")
"""Key of the unchanged coalition, which counterfactuals are compared with."""


@dataclass(frozen=True)
class HeldOutSet:
    """Coalitions drawn independently of other sets, and the models that are retrained on them.

    Attributes:
        coalitions: members, by alpha.
        seed: training seed of the models.
    """

    coalitions: Mapping[float, list[Members]]
    seed: int

    @property
    def in_turn(self) -> list[Members]:
        """All coalitions, of the sizes in turn, so that any first part covers every size."""
        return in_turn(self.coalitions)


@dataclass(frozen=True)
class Retrained:
    """A set of held-out coalitions, and the plans of their models.

    Attributes:
        coalitions: members, by alpha.
    """

    coalitions: Mapping[float, list[Members]]
    plans: list[CoalitionPlan]


def held_out(names: Sequence[str], config: CreditConfig) -> list[HeldOutSet]:
    """Draw an independent set of held-out coalitions for each seed."""
    evaluation = config.evaluation
    return [
        HeldOutSet(
            {
                alpha: members_of(
                    held_out_coalitions(len(names), alpha, evaluation.subsets, seed=config.seed + number), names
                )
                for alpha in evaluation.alphas
            },
            config.seed + HELD_OUT_SEED + number,
        )
        for number in range(evaluation.seeds)
    ]


def retrained_again(sets: Sequence[HeldOutSet], config: CreditConfig) -> HeldOutSet:
    """The first coalitions of the first set, to be retrained from another seed: how well does one training predict
    another?
    """
    evaluation = config.evaluation
    coalitions = {alpha: members[: evaluation.again] for alpha, members in sets[0].coalitions.items()}
    return HeldOutSet(coalitions, config.seed + HELD_OUT_SEED + evaluation.seeds)


def held_out_seeds(config: CreditConfig) -> range:
    """Training seeds of counterfactual models."""
    return range(config.seed + HELD_OUT_SEED, config.seed + HELD_OUT_SEED + config.evaluation.seeds)


def planted_in(names: Sequence[str], config: CreditConfig) -> list[str]:
    """Contributors who are known to be bad, so that methods are also judged apart from finding them."""
    named = config.evaluation.planted
    if named is not None:
        return list(named)
    if not isinstance(config.data, DigitsSource):
        return []
    from royalty.models.data.digits import BLURRED, COPIER, MISLABELLED, NOISE  # scikit-learn takes seconds to import

    return [name for name in names if name in (BLURRED, COPIER, MISLABELLED, NOISE)]


def in_turn(chosen: Mapping[float, Sequence[Members]]) -> list[Members]:
    """Interleave the coalitions of all sizes, so that any first part covers every size."""
    longest = max(map(len, chosen.values()))
    return [group[index] for index in range(longest) for group in chosen.values() if index < len(group)]


def ends_of(data: Ingested) -> list[Members]:
    """Everybody, and nobody."""
    return [tuple(data.outputs.players), ()]


def leave_one_out(data: Ingested) -> list[Members]:
    """Everybody, nobody, and everybody but each contributor in turn."""
    names = data.outputs.players
    return [*ends_of(data), *(tuple(other for other in names if other != name) for name in names)]


def counterfactual_coalitions(data: Ingested, credits: Sequence[MethodCredit]) -> dict[tuple[str, str], Members]:
    """Members of each counterfactual and of `EVERYBODY`, by method and change."""
    names = np.array(data.outputs.players)
    coalitions = {EVERYBODY: tuple(names.tolist())}
    for credit in credits:
        for share in REMOVED:
            remaining = names[without_top(credit.values, share)]
            coalitions[credit.method, f"without top {share:.0%}"] = tuple(remaining.tolist())
        for share in KEPT:
            kept = names[only_top(credit.values, share)]
            coalitions[credit.method, f"only top {share:.0%}"] = tuple(kept.tolist())
    return coalitions
