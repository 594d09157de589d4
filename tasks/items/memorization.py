"""Test whether generated images are copies of training images, and publish the table and the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.pictures import sheet
from royalty.infra.processes.workers import Deferred
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.workspace import Workspace
from royalty.tasks.config.memorization import MemorizationConfig
from royalty.tasks.items.match_pictures import with_channels_of
from royalty.tasks.items.memorization_stages import MEMORIZATION, MemorizationInputs, MemorizationTested
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import load_items, load_values
from royalty.tasks.items.writing import datasets_of
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, PublishOutputs, PublishStage, publish
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import memorization_worker
else:
    memorization_worker = Deferred("royalty.tasks.items.memorization_worker")

WRITE_MEMORIZATION = PublishStage("write-memorization", PublishInputs, PublishOutputs)

SHOWN = 24
"""Generated images that are shown beside their nearest training images, those of smallest p-value."""


@task(name="test memorization", cache_policy=NO_CACHE)
def judge_memorization(
    train: ItemsOutputs,
    generated: ItemsOutputs,
    held_out: ItemsOutputs | None,
    encoder: str,
    config: MemorizationConfig,
) -> MemorizationTested:
    """Test all generated images.

    Args:
        encoder: key of the embeddings of all sides.
    """
    inputs = MemorizationInputs(
        train.items, generated.items, held_out.items if held_out else "", encoder, config.settings
    )
    return run_in_worker(
        MEMORIZATION, inputs, memorization_worker.memorization, title="Test memorization", total=generated.count
    )


@task(name="write memorization", cache_policy=NO_CACHE)
def write_memorization(config: MemorizationConfig, tested: MemorizationTested) -> Published:
    """Publish `memorization.parquet` and the sheet of the closest images."""
    inputs, outputs = tested.inputs, tested.outputs

    def make(space: Workspace) -> Contents:
        table = load_values(space.artifacts, outputs.table)
        nearest = table["nearest"].to_numpy()
        closest = table["p"].to_numpy().argsort(kind="stable")[:SHOWN]
        sides = {"train": inputs.train, "generated": inputs.generated, "held out": inputs.held_out}
        return Contents(
            note=f"{outputs.flagged} of {outputs.generated} generated images are copies of training images at a false "
            f"discovery rate of {config.rate:g}. `closest.png` shows the {len(closest)} closest, each left of its "
            "nearest training image.",
            metrics={"flagged": outputs.flagged, "flagged_fraction": outputs.flagged / outputs.generated},
            shown={"memorization": table},
            files={
                "memorization.parquet": space.artifacts.get(outputs.table),
                "closest.png": _pairs(space.artifacts, inputs, closest, nearest[closest]),
            },
            datasets=datasets_of(**sides),
            tags={"royalty.memorization": outputs.table},
        )

    publish_inputs = PublishInputs(
        config.name, config.name, {"memorization": tested.key}, config.settings.model_dump(mode="json")
    )
    return publish(WRITE_MEMORIZATION, publish_inputs, make)


def _pairs(artifacts: ArtifactStore, inputs: MemorizationInputs, made: np.ndarray, nearest: np.ndarray) -> bytes:
    """A sheet of generated images, each left of its nearest training image."""
    items, generated = load_items(artifacts, inputs.train).images, load_items(artifacts, inputs.generated).images
    if items is None or generated is None:
        raise ValueError("memorization is tested on images, and these are features")
    rows = []
    for image, neighbour in zip(made, nearest, strict=True):
        right = items[[neighbour]]
        rows += [with_channels_of(generated[[image]], right), right]
    return sheet(np.concatenate(rows), columns=8)
