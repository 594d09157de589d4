"""Ingest: images with contributors, checked and split."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.progress import progress
from infra.runstore import StageRecord
from infra.workspace import Workspace
from models.data.folder import image_folder, read_manifest
from models.data.items import Splits
from tasks.config import DigitsSource, FolderSource
from tasks.stage import run_stage


@task(cache_policy=NO_CACHE)
def ingest(source: DigitsSource | FolderSource, seed: int) -> StageRecord:
    """Digests of the three parts, and what each contributor brings to training."""
    if isinstance(source, FolderSource):
        return _ingest_folder(source, seed)
    inputs = {"source": source.model_dump(mode="json"), "seed": seed}

    def compute(space: Workspace) -> dict[str, Any]:
        from models.data.digits import digits  # scikit-learn takes seconds to import

        options = source.model_dump(exclude={"source", "held_out"})
        return _store(space, digits(**options, **source.held_out.model_dump(), seed=seed))

    return run_stage("ingest", inputs=inputs, modules=("models.data.digits",), compute=compute)


def _ingest_folder(source: FolderSource, seed: int) -> StageRecord:
    manifest = read_manifest(source.path)
    options = source.model_dump(mode="json", exclude={"path"})
    inputs = {"source": options, "files": manifest.digest(), "seed": seed}

    def compute(space: Workspace) -> dict[str, Any]:
        with progress("Read images", len(manifest.rows)) as advance:
            held_out = source.held_out.model_dump()
            return _store(space, image_folder(manifest, size=source.size, **held_out, seed=seed, progress=advance))

    return run_stage("ingest", inputs=inputs, modules=("models.data.folder",), compute=compute)


def _store(space: Workspace, splits: Splits) -> dict[str, Any]:
    train = splits.train
    brought = train.membership.sum(axis=0).tolist()
    return {
        "train": space.artifacts.put(train.to_bytes()),
        "validation": space.artifacts.put(splits.validation.to_bytes()),
        "classifier": space.artifacts.put(splits.classifier.to_bytes()),
        "contributors": list(train.contributors),
        "items": dict(zip(train.contributors, brought, strict=True)),
        "contributor_digests": [train.digest_of(index) for index in range(len(train.contributors))],
        "shared_items": int((train.membership.sum(axis=1) > 1).sum()),
        "total_items": len(train),
    }
