"""Credit and pay the contributors of a generator: sparsified fine-tuning with Shapley values.

Train a generator on everybody's images. Prune it, and let it recover. Finetune the pruned model on
sampled coalitions of contributors, and measure what each makes: the utility of the coalition. The
Shapley values of that game are the credit, and a pool of money is divided by it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import flow, unmapped
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from infra.progress import progress
from infra.settings import settings
from infra.workspace import check_home, open_workspace
from tasks.coalitions import draw_coalitions, measure_coalition, plan_coalitions, unfinished
from tasks.config import CreditConfig
from tasks.credit import estimate_credit
from tasks.ingest import ingest
from tasks.pay import pay
from tasks.plan import CoalitionPlan
from tasks.report import write_report
from tasks.timing import Timing, fan_out_timing, stage_timing
from tasks.track import prepare_tracking, track
from tasks.training import prune, train_classifier, train_generator

THREADS = ThreadPoolTaskRunner[Any](max_workers=settings().workers)


@dataclass(frozen=True)
class CreditResult:
    """What a run left.

    Attributes:
        rows: `payout.csv` as records, highest credit first.
        table: digest of the credit table.
        folder: holds `report.html`, `credit.parquet` and `payout.csv`.
        measured, reused: coalitions trained now, and found in the run store.
    """

    name: str
    rows: list[dict[str, Any]]
    table: str
    folder: str
    mlflow_run: str
    measured: int
    reused: int
    timings: list[Timing]


@flow(name="credit", task_runner=THREADS)  # type: ignore[arg-type]  # an invariant parameter of Prefect's
def credit(config: CreditConfig) -> CreditResult:
    """Run the method on one image set. What is finished already, here or in another run, is reused."""
    check_home(settings().root)
    space = open_workspace(settings())
    described = config.model_dump(mode="json")

    data = ingest(config.data, config.seed)
    coalitions = draw_coalitions(data, config.coalitions, config.seed)
    # What was refused so far has trained nothing, so its name is still free for the mended settings.
    space.runs.claim_name(config.name, described)

    judge = train_classifier(data, config.classifier, config.seed)
    base = train_generator(data, judge, config.generator, config.sampling, config.seed)
    pruned = prune(data, base, judge, config.pruning, config.generator, config.sampling, config.seed)

    plans = plan_coalitions(coalitions, data, pruned, judge, config.coalitions, config.sampling, config.seed)
    pending = unfinished(plans)
    preparing = [prepare_tracking.submit()] if pending else []  # meanwhile
    fan_out = measure_all(pending, config.coalitions.timeout_minutes)
    estimate = estimate_credit(data, plans, config.credit, config.seed)
    payout = pay(estimate, config.payout, config.payout.name or config.name)

    stages = {stage.name: stage for stage in (data, judge, base, pruned, estimate, payout)}
    stages["track"] = track(config.name, described, list(stages.values()), plans, wait_for=preparing)
    timings = [*map(stage_timing, stages.values()), fan_out]
    report = write_report(config.name, described, config.payout, stages, [timing.as_row() for timing in timings])
    return CreditResult(
        name=config.name,
        rows=payout.outputs["rows"],
        table=estimate.outputs["table"],
        folder=report.outputs["folder"],
        mlflow_run=stages["track"].outputs["run"],
        measured=len(pending),
        reused=len({plan.key for plan in plans}) - len(pending),
        timings=[*timings, stage_timing(report)],
    )


def measure_all(pending: Sequence[CoalitionPlan], timeout_minutes: float) -> Timing:
    """Fan the coalitions out over the task runner."""
    start = time.perf_counter()
    with progress("Measure coalitions", len(pending)) as advance:
        for future in as_completed(measure_coalition.map(pending, unmapped(timeout_minutes))):
            future.result()
            advance(1)
    return fan_out_timing(pending, time.perf_counter() - start)
