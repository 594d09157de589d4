"""Judge credit by retrained models: linear datamodeling score (LDS) and counterfactuals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.judging.controls import best_bit, random_credit
from royalty.models.judging.datamodeling import MIN_RANKED, relative_change
from royalty.models.judging.draws import over_draws
from royalty.models.judging.ranking import HeldOutRanking, Score, lead, strata_of
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.credits import TITLES, JudgedMethod
from royalty.tasks.judge.held_out import EVERYBODY, Retrained
from royalty.tasks.judge.stages import (
    COUNTERFACTUAL,
    LDS,
    Compared,
    CounterfactualInputs,
    CounterfactualOutputs,
    LdsInputs,
    LdsOutputs,
    Scored,
)
from royalty.tasks.judge.utilities import mean_utilities, seeded_utilities
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

ALL, STRATA, HONEST = "all", "within strata", "without planted"
"""Among which coalitions methods are ranked: all of a set, those with the same planted contributors, or with none."""

RETRAINED, BIT, CHANCE = "another retraining", "best single bit", "random credit"
"""Rows of the table that no method is: the noise ceiling and two controls."""


@task(name="score credit (LDS)", cache_policy=NO_CACHE)
def score(
    data: Ingested,
    sets: Sequence[Retrained],
    again: Retrained,
    methods: Sequence[JudgedMethod],
    planted: Sequence[str],
    seed: int,
) -> Scored:
    """Compute the LDS of each method on the trained held-out coalitions, by alpha, and compare methods in pairs.

    Args:
        sets: independent sets of held-out coalitions.
        again: coalitions of the first set, retrained from another seed.
        planted: contributors who are known to be bad.
        seed: of random credit.

    Raises:
        InputError: fewer than three coalitions of a size were retrained.
    """
    space, names = open_workspace(settings()), data.outputs.players
    measured = [mean_utilities(space, each.plans) for each in sets]
    second = mean_utilities(space, again.plans)
    judged = {
        alpha: _held_out(names, [(each.coalitions[alpha], table) for each, table in zip(sets, measured, strict=True)])
        for alpha in sets[0].coalitions
    }
    predictions = [
        {alpha: method.predict(held_out.members, held_out.masks) for alpha, held_out in judged.items()}
        for method in methods
    ]
    inputs = LdsInputs(
        credits=[
            (method.method, method.coalitions, [values.tolist() for values in predicted.values()])
            for method, predicted in zip(methods, predictions, strict=True)
        ],
        held_out=[key for each in (*sets, again) for key in _measurements(space, each.plans)],
        nulls=[method.null for method in methods],
        alphas=list(judged),
        planted=list(planted),
        seed=seed,
    )

    def compute(space: Workspace) -> LdsOutputs:
        rows: list[TableRow] = []
        leads: list[TableRow] = []
        for alpha, held_out in judged.items():
            own = [predicted[alpha] for predicted in predictions]
            for among, ranked in _among(held_out, np.isin(names, planted)):
                predicted = [values[ranked.chosen] for values in own]
                scored, compared = _score_rows(ranked, methods, predicted, seed)
                rows += [{"alpha": alpha, "among": among, **row} for row in scored]
                leads += [{"alpha": alpha, "among": among, **row} for row in compared]
            rows += _ceiling(held_out, second, alpha)
        table = pd.DataFrame(rows)
        return LdsOutputs(space.artifacts.put(table.to_parquet(index=False)), rows, leads)

    return run_here(LDS, inputs, compute)


@task(name="compare utilities", cache_policy=NO_CACHE)
def compare_utilities(coalitions: Mapping[tuple[str, str], Members], plans: Sequence[CoalitionPlan]) -> Compared:
    """Compute the relative change of the utility by each counterfactual, as mean and 95% interval over training seeds.

    Args:
        coalitions: members by method and change; `EVERYBODY` is among them.
    """
    utilities = seeded_utilities(open_workspace(settings()), plans)
    inputs = CounterfactualInputs(
        asked=[(method, change, list(members)) for (method, change), members in coalitions.items()],
        held_out=_measurements(open_workspace(settings()), plans),
    )

    def compute(_space: Workspace) -> CounterfactualOutputs:
        return CounterfactualOutputs(_change_rows(coalitions, utilities))

    return run_here(COUNTERFACTUAL, inputs, compute)


def _measurements(space: Workspace, plans: Sequence[CoalitionPlan]) -> list[str]:
    """Keys of the measurements of completely measured plans."""
    keys = [measure.key for plan in plans for measure in plan.measures]
    known = space.runs.measurements(keys)
    return sorted(key for key in keys if key in known)


@dataclass(frozen=True)
class _HeldOut:
    """Measured held-out coalitions of one size, of all sets.

    Attributes:
        members: of each coalition.
        masks: bool, `(coalitions, contributors)`.
        utilities, sets: `(coalitions,)`.
    """

    members: list[Members]
    masks: np.ndarray
    utilities: np.ndarray
    sets: np.ndarray

    def of(self, chosen: np.ndarray) -> _HeldOut:
        members = [self.members[row] for row in np.flatnonzero(chosen)]
        return _HeldOut(members, self.masks[chosen], self.utilities[chosen], self.sets[chosen])


def _held_out(names: Sequence[str], sets: Sequence[tuple[Sequence[Members], Mapping[Members, float]]]) -> _HeldOut:
    rows = [
        (members, table[members], number)
        for number, (coalitions, table) in enumerate(sets)
        for members in coalitions
        if members in table
    ]
    members = [row[0] for row in rows]
    utilities, numbers = np.array([row[1] for row in rows]), np.array([row[2] for row in rows], dtype=int)
    return _HeldOut(members, masks_of(members, names), utilities, numbers)


@dataclass(frozen=True)
class _Ranked:
    """Coalitions among which methods are ranked.

    Attributes:
        chosen: bool, which of the held-out coalitions.
        held_out: these coalitions.
        groups: integers; ranks are compared within a group.
    """

    chosen: np.ndarray
    held_out: _HeldOut
    groups: np.ndarray


def _among(held_out: _HeldOut, planted: np.ndarray) -> Iterator[tuple[str, _Ranked]]:
    """All coalitions, and those that planted contributors do not separate, if enough are alike."""
    every = np.ones(len(held_out.members), dtype=bool)
    yield ALL, _Ranked(every, held_out, held_out.sets)
    if not planted.any():
        return
    clean = ~np.asarray(held_out.masks[:, planted].any(axis=1))
    strata = strata_of(held_out.masks, planted, held_out.sets)
    for among, chosen, groups in ((STRATA, every, strata), (HONEST, clean, held_out.sets)):
        if (np.unique(groups[chosen], return_counts=True)[1] >= MIN_RANKED).any():
            yield among, _Ranked(chosen, held_out.of(chosen), groups[chosen])


def _score_rows(
    ranked: _Ranked, methods: Sequence[JudgedMethod], predicted: Sequence[np.ndarray], seed: int
) -> tuple[list[TableRow], list[TableRow]]:
    """Rows of the LDS table, and leads of the methods of this package over each other one."""
    masks, utilities, sets = ranked.held_out.masks, ranked.held_out.utilities, ranked.held_out.sets
    ranking = HeldOutRanking(utilities, ranked.groups)
    scores = [
        ranking.score(values, absolute=method.null is not None)
        for method, values in zip(methods, predicted, strict=True)
    ]
    bit = ranking.score(best_bit(masks, utilities, ranked.groups, sets))
    rows = [
        {"method": method.method, "trained": method.coalitions, "seconds": method.seconds, **_columns(found)}
        for method, found in zip(methods, scores, strict=True)
    ]
    untrained = {"trained": 0, "seconds": 0.0}
    rows.append({"method": BIT, **untrained, **_columns(bit)})
    chance = asdict(random_credit(ranking, masks, seed=seed))
    rows.append({"method": CHANCE, **untrained, **_columns(bit), **UNKNOWN, **chance})
    final = {method.method: found for method, found in zip(methods, scores, strict=True)}  # of the most coalitions
    final[BIT] = bit
    leads = [
        {"method": ours, "other": other, **asdict(lead(final[ours], found))}
        for ours in final
        if ours.startswith(OURS)
        for other, found in final.items()
        if other != ours
    ]
    return rows, leads


OURS = (*(f"{title}, " for title in TITLES.values()), "game with pairs, ")
"""Beginnings of the names of methods that are compared with all others."""

UNKNOWN = {"pearson": None, "bias": None, "error": None}


def _columns(found: Score) -> TableRow:
    return {column.name: getattr(found, column.name) for column in fields(found) if column.name != "resampled"}


def _ceiling(held_out: _HeldOut, second: Mapping[Members, float], alpha: float) -> list[TableRow]:
    """How well one retraining of the coalitions of the first set predicts another; empty if too few have two."""
    first = held_out.of(held_out.sets == 0)
    both = np.array([members in second for members in first.members], dtype=bool)
    if both.sum() < MIN_RANKED:
        return []
    twice = first.of(both)
    found = HeldOutRanking(twice.utilities, twice.sets).score(np.array([second[members] for members in twice.members]))
    return [
        {"alpha": alpha, "among": ALL, "method": RETRAINED, "trained": 0, "seconds": 0.0, **_columns(found), **UNKNOWN}
    ]


def _change_rows(
    coalitions: Mapping[tuple[str, str], Members], utilities: Mapping[int, Mapping[Members, float]]
) -> list[TableRow]:
    """Rows of counterfactuals that have a training seed in common with everybody's model."""
    everybody, rows = coalitions[EVERYBODY], []
    for (method, change), members in coalitions.items():
        changes = [
            float(relative_change(of_seed[members], of_seed[everybody]))
            for of_seed in utilities.values()
            if members in of_seed and everybody in of_seed
        ]
        if (method, change) != EVERYBODY and changes:
            drawn = over_draws(changes)
            low, high = (None, None) if len(changes) == 1 else (drawn.low, drawn.high)
            row = {"method": method, "done": change, "change": drawn.mean, "low": low, "high": high}
            rows.append({**row, "seeds": len(changes)})
    return rows
