"""The game of measured coalitions: reading it from the run store, and what is estimated of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.game import Game, fit_game
from royalty.models.valuation.multifidelity import MultiFidelity, Utilities, multifidelity_shapley
from royalty.models.valuation.semivalue_estimates import estimate_semivalues
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley
from royalty.models.valuation.sure_pairs import SurePairs, find_sure_pairs
from royalty.tasks.config.credit import CreditConfig, CreditEstimateConfig
from royalty.tasks.credit.grouping import Grouped, representatives
from royalty.tasks.credit.plan import CoalitionPlan


@dataclass(frozen=True)
class MeasuredGame:
    """Measured utilities, one row for each measurement of a coalition.

    The null and the grand coalition have no rows; only their means are kept.

    Attributes:
        masks: members of each coalition; bool, `(rows, contributors)`.
        utilities, seeds, draws: utility, training seed and sampling seed; `(rows,)`.
        null, grand: mean utility of the null and of the grand coalition.
        failed: members of coalitions whose training failed.
    """

    masks: np.ndarray
    utilities: np.ndarray
    seeds: np.ndarray
    draws: np.ndarray
    null: float
    grand: float
    failed: tuple[tuple[str, ...], ...]

    def estimate(self, config: CreditEstimateConfig, seed: int) -> ShapleyEstimate:
        if config.value != "shapley":
            alpha, beta = config.beta
            return estimate_semivalues(
                self.masks,
                self.utilities,
                self.null,
                self.grand,
                value=config.value,
                alpha=alpha,
                beta=beta,
                seeds=self.seeds,
                draws=self.draws,
                confidence=config.confidence,
                seed=seed,
            )
        return estimate_shapley(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            estimator=config.estimator,
            ridge=config.ridge,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
            n_bootstrap=config.bootstrap,
            seed=seed,
        )

    def at_fidelity(self) -> Utilities:
        """Mean utilities of distinct coalitions."""
        cells, cell = np.unique(self.masks, axis=0, return_inverse=True)
        position = cell.reshape(-1)
        return Utilities(cells, np.bincount(position, self.utilities) / np.bincount(position), self.null, self.grand)

    def corrected_by(self, retrained: MeasuredGame, config: CreditConfig) -> MultiFidelity:
        """Shapley values of the retrained game, with these cheap utilities as a control variate."""
        cheap, few = self.at_fidelity(), retrained.at_fidelity()
        known = {mask.tobytes() for mask in cheap.masks}  # a cheap training may have failed
        both = np.array([mask.tobytes() in known for mask in few.masks], dtype=bool)
        return multifidelity_shapley(
            cheap,
            replace(few, masks=few.masks[both], values=few.values[both]),
            scaled=config.fidelity.scaled,
            confidence=config.credit.confidence,
            seed=config.seed,
        )

    def scaled(self, slope: float) -> MeasuredGame:
        """The same game with utilities that are multiplied by a slope."""
        return replace(self, utilities=slope * self.utilities, null=slope * self.null, grand=slope * self.grand)

    def game(self, config: CreditEstimateConfig, seed: int) -> Game:
        return fit_game(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            seed=seed,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
        )

    def interactions(self, names: Sequence[str], config: CreditEstimateConfig, seed: int) -> SurePairs:
        return find_sure_pairs(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            names,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
            seed=seed,
        )


def gather(
    space: Workspace, names: Sequence[str], plans: Sequence[CoalitionPlan], grouped: Grouped | None = None
) -> MeasuredGame:
    """Read the measurements of these plans from the run store.

    Args:
        grouped: the groups that coalitions consist of, which are then the columns of the masks.

    Raises:
        InputError: the training of the null or the grand coalition failed.
    """
    models = space.runs.coalitions(plan.key for plan in plans)
    measurements = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    rows: list[tuple[tuple[str, ...], float, int, int]] = []
    failed = []
    for plan in plans:
        if models[plan.key].checkpoint is None:
            failed.append(plan.members)
        else:
            rows += [
                (plan.members, measurements[measure.key].utility, plan.seed, measure.draw) for measure in plan.measures
            ]
    ends = []
    for title, members in (("nobody", ()), ("everybody", tuple(names))):
        utilities = [utility for coalition, utility, _, _ in rows if coalition == members]
        if not utilities:
            failure = next(models[plan.key].failure for plan in plans if plan.members == members)
            raise InputError(
                f"credit divides the difference between the utilities of everybody's and nobody's model; "
                f"that of {title} failed to train: {failure}. Lower `coalitions.learning_rate`"
            )
        ends.append(float(np.mean(utilities)))
    proper = [row for row in rows if 0 < len(row[0]) < len(names)]
    return MeasuredGame(
        masks=masks_of([members for members, _, _, _ in proper], representatives(names, grouped)),
        utilities=np.array([utility for _, utility, _, _ in proper]),
        seeds=np.array([seed for _, _, seed, _ in proper]),
        draws=np.array([draw for _, _, _, draw in proper]),
        null=ends[0],
        grand=ends[1],
        failed=tuple(failed),
    )
