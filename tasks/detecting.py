"""Plant corruptions, look for them, and write what was found: tables and curves, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.artifacts import write_whole
from infra.keys import digest_of
from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import Workspace, open_workspace
from models.data.corruptions import CorruptionName
from tasks.detection_config import DetectionConfig
from tasks.stage import in_worker, run_stage

DETECTING = "tasks.detecting_worker"


@task(cache_policy=NO_CACHE)
def read_digits() -> StageRecord:
    """Digests of scikit-learn's digits, as training and validation items."""
    work = in_worker("Read digits", 1, f"{DETECTING}.read_digits")
    return run_stage("read-digits", inputs={}, modules=(DETECTING,), compute=work)


@task(cache_policy=NO_CACHE)
def detect(corruption: CorruptionName, config: DetectionConfig, sides: dict[str, str]) -> StageRecord:
    """Detection of one corruption by every method, and accuracy without what each values least."""
    work = in_worker(corruption, len(config.methods) + 1, f"{DETECTING}.detect", config, corruption, sides)
    settled = config.model_dump(mode="json", exclude={"name", "train", "val", "corruptions"})
    inputs = {"corruption": corruption, "config": settled, "sides": sides}
    return run_stage("detect", inputs=inputs, modules=(DETECTING,), compute=work)


@task(cache_policy=NO_CACHE)
def write_detection(config: DetectionConfig, found: Sequence[StageRecord]) -> StageRecord:
    """The folder with `detection.csv`, `accuracy.csv` and a plot of each corruption, and the MLflow run with them."""
    rows = pd.DataFrame([row for record in found for row in record.outputs["rows"]])
    accuracy = pd.DataFrame([row for record in found for row in record.outputs["accuracy"]])
    inputs = {"name": config.name, "found": [record.key for record in found]}

    def compute(space: Workspace) -> dict[str, Any]:
        from infra.plots import detection_curves  # matplotlib takes a second to import
        from infra.tracking import code_commit, open_tracking  # MLflow takes seconds to import

        tables = {"detection": rows, "accuracy": accuracy}
        files = {f"{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items()}
        for record in found:
            name = record.outputs["rows"][0]["corruption"]
            curves = {method: np.array(rates) for method, rates in record.outputs["curves"].items()}
            files[f"{name}.png"] = detection_curves(f"{config.name}: {name}", curves)
        tracking = open_tracking(settings())
        note = f"Detection of planted corruptions by values of items, evaluation {config.name!r}."
        tags = {"git.commit": code_commit()}
        run = tracking.start(tracking.RUNS, config.name, key=digest_of(inputs), note=note, tags=tags)
        tracking.log(run, params={"name": config.name, **config.valuing.model_dump(), **config.encoding.model_dump()})
        looked = [row for record in found for row in record.outputs["rows"]]
        tracking.log(run, metrics={f"auroc.{row['corruption']}.{row['method']}": row["auroc"] for row in looked})
        for name, table in tables.items():
            tracking.table(run, table, f"{name}.json")
        for file, payload in files.items():
            tracking.file(run, file, payload)
        tracking.finish(run)
        return {"run": run, "files": {file: space.artifacts.put(payload) for file, payload in files.items()}}

    record = run_stage("write-detection", inputs=inputs, modules=(__name__,), compute=compute)
    space = open_workspace(settings())
    folder = space.root / "runs" / config.name
    for file, digest in record.outputs["files"].items():
        write_whole(folder / file, space.artifacts.get(digest))
    return record.with_outputs(folder=str(folder), rows=rows.to_dict("records"), accuracy=accuracy.to_dict("records"))
