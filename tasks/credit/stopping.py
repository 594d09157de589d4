"""Decide whether enough coalitions are measured, and estimate how many more the target needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.valuation.certainty import Certainty, pilot_size
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import look
from royalty.tasks.credit.grouping import Grouped
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested


@dataclass(frozen=True)
class Verdict:
    """The certainty of credit after some of the coalitions, and the work that remains.

    Attributes:
        plans: number of measured plans, including the null and the grand coalition.
        budget: largest number of coalitions.
        seconds: mean time of one worker for one coalition.
        workers: number of parallel workers.
    """

    certainty: Certainty
    plans: int
    budget: int
    seconds: float
    workers: int

    @property
    def expected(self) -> int:
        """Number of coalitions at which the target is expected to be met, at most the budget."""
        needed = self.certainty.needed
        return self.budget if needed is None else min(needed, self.budget)

    @property
    def expected_hours(self) -> float:
        """Expected wall time of the remaining coalitions, in hours."""
        left = max(self.expected - self.certainty.coalitions, 0)
        return left * self.seconds / self.workers / 3600

    @property
    def expected_width(self) -> float:
        """Expected mean width of the intervals at the end, in units of the utility."""
        return self.certainty.width_at(max(self.expected, 1))

    @property
    def sentence(self) -> str:
        """What ended the measuring, and how certain the credit is."""
        certainty = self.certainty
        precision = certainty.error
        if certainty.stability is not None:
            precision += f", and a repetition would name {certainty.stability:.0%} of the top contributors again"
        if certainty.reached:
            return (
                f"The target ended the measuring after {certainty.coalitions} of at most {self.budget} coalitions: "
                f"{precision}."
            )
        return f"The budget of {self.budget} coalitions ended the measuring: {precision}."


def first_look(data: Ingested, config: CreditConfig) -> int:
    """Number of plans to measure before the first check of the certainty."""
    players = config.coalitions.players(len(data.outputs.players))
    pilot = max(config.stopping.pilot or pilot_size(players), 2 * (players - 1))
    return (2 + min(pilot, config.coalitions.count)) * config.coalitions.seeds


def assess(
    data: Ingested,
    measured: Sequence[CoalitionPlan],
    plans: Sequence[CoalitionPlan],
    config: CreditConfig,
    grouped: Grouped | None = None,
) -> Verdict:
    """Estimate the certainty of credit from the measured plans.

    Args:
        plans: all plans of the run.
        grouped: the groups that coalitions consist of; the certainty is then of their credit.
    """
    runs = open_workspace(settings()).runs
    models = runs.coalitions(plan.key for plan in measured).values()
    measurements = runs.measurements(measure.key for plan in measured for measure in plan.measures).values()
    work = sum(row.train_seconds for row in models)
    work += sum(row.sample_seconds + row.measure_seconds for row in measurements)
    members = {(plan.members, plan.drawn) for plan in measured}
    return Verdict(
        certainty=look(data, measured, config, grouped),
        plans=len(measured),
        budget=len({(plan.members, plan.drawn) for plan in plans}) - 2,
        seconds=work / len(members),
        workers=settings().workers,
    )
