"""Plant corruptions, look for them, and write what was found: tables and curves, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace
from royalty.models.data.corruptions import CorruptionName
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.stages.publishing import publish
from royalty.tasks.stages.stage import in_worker, run_stage

DETECTING = "royalty.tasks.benchmarks.detection_worker"


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

    def pictures(_: Workspace) -> dict[str, bytes]:
        from royalty.infra.pages.plots import detection_curves  # matplotlib takes a second to import

        drawn = {}
        for record in found:
            name = record.outputs["rows"][0]["corruption"]
            curves = {method: np.array(rates) for method, rates in record.outputs["curves"].items()}
            drawn[f"{name}.png"] = detection_curves(f"{config.name}: {name}", curves)
        return drawn

    record = publish(
        "write-detection",
        config.name,
        inputs={"name": config.name, "found": [record.key for record in found]},
        modules=(__name__,),
        note=f"Detection of planted corruptions by values of items, evaluation {config.name!r}.",
        params={"name": config.name, **config.valuing.model_dump(), **config.encoding.model_dump()},
        metrics={f"auroc.{row['corruption']}.{row['method']}": row["auroc"] for row in rows.to_dict("records")},
        tables={"detection": rows, "accuracy": accuracy},
        pictures=pictures,
    )
    return record.with_outputs(rows=rows.to_dict("records"), accuracy=accuracy.to_dict("records"))
