"""Are the coalitions measured so far enough, and what would more of them bring?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.valuation.certainty import Certainty, pilot_size
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import look
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested


@dataclass(frozen=True)
class Verdict:
    """What is known after some of the coalitions.

    Attributes:
        plans: how many plans were measured, everybody's and nobody's included.
        budget: coalitions at most.
        seconds: of one worker for one coalition, on average so far.
        workers: how many work at once.
    """

    certainty: Certainty
    plans: int
    budget: int
    seconds: float
    workers: int

    @property
    def expected(self) -> int:
        """Coalitions after which the target is expected to hold, or the budget."""
        needed = self.certainty.needed
        return self.budget if needed is None else min(needed, self.budget)

    @property
    def expected_hours(self) -> float:
        """Wall time of the coalitions still to measure."""
        left = max(self.expected - self.certainty.coalitions, 0)
        return left * self.seconds / self.workers / 3600

    @property
    def expected_width(self) -> float:
        """Mean width of the intervals, in units of the utility."""
        return self.certainty.width_at(max(self.expected, 1))

    @property
    def sentence(self) -> str:
        """What ended the measuring."""
        now = self.certainty
        found = now.error
        if now.stability is not None:
            found += f", and a repetition would name {now.stability:.0%} of the top contributors again"
        if now.reached:
            return (
                f"The target ended the measuring after {now.coalitions} of at most {self.budget} coalitions: {found}."
            )
        return f"The budget of {self.budget} coalitions ended the measuring: {found}."


def first_look(data: Ingested, config: CreditConfig) -> int:
    """Plans to measure before the certainty is judged for the first time."""
    contributors = len(data.outputs.contributors)
    pilot = max(config.stopping.pilot or pilot_size(contributors), 2 * (contributors - 1))
    return (2 + min(pilot, config.coalitions.count)) * config.coalitions.seeds


def assess(
    data: Ingested, measured: Sequence[CoalitionPlan], plans: Sequence[CoalitionPlan], config: CreditConfig
) -> Verdict:
    """The verdict on what was measured of all that is planned."""
    runs = open_workspace(settings()).runs
    models = runs.coalitions(plan.key for plan in measured).values()
    measurements = runs.measurements(measure.key for plan in measured for measure in plan.measures).values()
    work = sum(row.train_seconds for row in models)
    work += sum(row.sample_seconds + row.measure_seconds for row in measurements)
    members = {plan.members for plan in measured}
    return Verdict(
        certainty=look(data, measured, config),
        plans=len(measured),
        budget=len({plan.members for plan in plans}) - 2,
        seconds=work / len(members),
        workers=settings().workers,
    )
