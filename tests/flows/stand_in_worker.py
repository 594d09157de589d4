"""In place of the worker of coalitions: it imports little, so that the limits of time in tests are for what it does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from royalty.tasks.credit.plan import CoalitionPlan, TrainedModel
from royalty.tasks.stages.context import Stores


def measure_coalitions(
    plans: Sequence[CoalitionPlan],
    checkpoints: Mapping[str, str | None],
    _measured: Collection[str],
    stores: Stores,
    report: Callable[[TrainedModel], object],
) -> None:
    """In place of training: a coalition does what its one member is called."""
    for plan in plans:
        if plan.key in checkpoints:
            continue
        tried = stores.root / plan.key
        with (stores.root / "begun").open("a") as begun:
            begun.write(f"{plan.key}\n")
        while plan.members == ("waits",) and not (stores.root / "go on").exists():
            time.sleep(0.05)
        if plan.members == ("hangs",):
            time.sleep(600)
        if plan.members == ("is killed",) or (plan.members == ("is killed once",) and not tried.exists()):
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.members == ("fills memory",):
            raise MemoryError("no memory for it")
        if plan.members == ("has a bug",):
            raise ValueError("a bug")
        report(TrainedModel(plan.key, plan.seed, 1, 0.1, "cpu", "checkpoint", None))


def nothing(_advance: Callable[[int], None]) -> None:
    """What its process has imported by then, those after it start with."""
