"""The anchor of a run: the models that its coalitions started from, kept for revaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.tasks.stages.stage import in_worker, run_stage

MOVING = "royalty.tasks.revalue.drift_worker"


@dataclass(frozen=True)
class Anchor:
    """Finished stages by name, and when a run first started from them."""

    name: str
    stages: Mapping[str, StageRecord]
    created_at: datetime


def record_anchor(name: str, *stages: StageRecord) -> None:
    """Keep these stages as what the run of that name starts from."""
    open_workspace(settings()).runs.record_anchor(name, {stage.name: stage.key for stage in stages})


def load_anchor(name: str) -> Anchor:
    """The latest anchor of a name.

    Raises:
        InputError: no run of that name has come as far as its pruned model.
    """
    runs = open_workspace(settings()).runs
    kept = runs.anchor(name)
    if kept is None:
        raise InputError(
            f"a revaluation starts from the models of an earlier run; there is none named {name!r} in "
            f"{settings().root}. Run `royalty run` with this configuration first"
        )
    stages = {stage: runs.stage(key) for stage, key in kept.stages.items()}
    return Anchor(
        name=name,
        stages={stage: record for stage, record in stages.items() if record is not None},
        created_at=datetime.fromisoformat(kept.created_at),
    )


@task(cache_policy=NO_CACHE)
def measure_drift(anchor: Anchor, data: StageRecord) -> StageRecord:
    """How far the training images are from those of the anchor, by SAVA's distance."""
    sets = anchor.stages["ingest"].outputs["train"], data.outputs["train"]
    work = in_worker("Compare images", 0, f"{MOVING}.moved", *sets)
    return run_stage("drift", inputs={"before": sets[0], "after": sets[1]}, modules=(MOVING,), compute=work)


def describe_anchor(anchor: Anchor, data: StageRecord, moved: StageRecord) -> str:
    """How old the anchor is, and how far the training images have moved since."""
    space = open_workspace(settings())
    before, after = (_items(space, stage.outputs["train"]) for stage in (anchor.stages["ingest"], data))
    days = (datetime.now(UTC) - anchor.created_at).days
    added, removed = len(after - before), len(before - after)
    then, now = _brought(anchor.stages["ingest"]), _brought(data)
    changed = sorted(name for name in then | now if then.get(name) != now.get(name))
    return (
        f"Revalued from the models of {anchor.created_at:%Y-%m-%d %H:%M} UTC, {days} day(s) old. Since then "
        f"{added} training image(s) were added and {removed} removed, {(added + removed) / len(after | before):.1%} of "
        f"all; the images of {', '.join(changed) or 'nobody'} changed. By optimal transport of their features, all "
        f"together moved by {moved.outputs['share']:.2%} of what two images are apart."
    )


def _items(space: Workspace, digest: str) -> set[str]:
    return set(open_set(space.artifacts.verified(digest)).ids)


def _brought(data: StageRecord) -> dict[str, str]:
    """Digest of each contributor's images, by name."""
    return dict(zip(data.outputs["contributors"], data.outputs["contributor_digests"], strict=True))
