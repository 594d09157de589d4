"""Measure how far the training images have moved since the starting models were trained."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.wording import counted
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.stored import open_set
from royalty.tasks.credit.anchor import RunAnchor
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.revalue.stages import DRIFT, Drift, DriftInputs
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.revalue import drift_worker as worker
else:
    worker = Deferred("royalty.tasks.revalue.drift_worker")


@task(name="measure drift", cache_policy=NO_CACHE)
def measure_drift(anchor: RunAnchor, data: Ingested) -> Drift:
    """Measure the distance of the training images from those of the anchor, by optimal transport of features."""
    inputs = DriftInputs(before=anchor.game.data.outputs.train, after=data.outputs.train)
    return run_in_worker(DRIFT, inputs, worker.measure_drift, title="Compare images")


def describe_anchor(anchor: RunAnchor, data: Ingested, moved: Drift) -> str:
    """Describe the age of the anchor, and how the training images have changed since.

    Returns:
        Sentences for the report.
    """
    space = open_workspace(settings())
    before, after = (_items(space, stage.outputs.train) for stage in (anchor.game.data, data))
    days = (datetime.now(UTC) - anchor.created_at).days
    added, removed = len(after - before), len(before - after)
    then, now = anchor.game.data.outputs.brought, data.outputs.brought
    changed = sorted(name for name in then | now if then.get(name) != now.get(name))
    return (
        f"Revalued from the models of {anchor.created_at:%Y-%m-%d %H:%M} UTC, {counted(days, 'day')} old. Since then "
        f"the set gained {counted(added, 'training image')} and lost {removed}, "
        f"{(added + removed) / len(after | before):.1%} of all. The images of {', '.join(changed) or 'nobody'} "
        f"changed. By optimal transport of their features, the training set moved by {moved.outputs.share:.2%} of the "
        "mean distance between an old and a new image."
    )


def _items(space: Workspace, digest: str) -> set[str]:
    return set(open_set(space.artifacts.verified(digest)).ids)
