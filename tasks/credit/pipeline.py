"""Train the pipeline under the LoRAs, if the configuration asks for one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.stores.weights import WeightsStore
from royalty.tasks.config.trained_base import TrainedBase
from royalty.tasks.credit.stages import PIPELINE, Pipeline, PipelineInputs
from royalty.tasks.stages.running import call_in_worker, run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.credit import pipeline_worker as worker
else:
    worker = Deferred("royalty.tasks.credit.pipeline_worker")


@task(name="train pipeline", cache_policy=NO_CACHE, tags=["gpu"])
def train_pipeline(base: TrainedBase, seed: int) -> Pipeline:
    """Train a small pipeline, and store it in the weights folder."""
    inputs = PipelineInputs(base.model_dump(mode="json"), seed)
    title, total = "Train base pipeline", base.autoencoder_steps + base.denoiser_steps
    pipeline = run_in_worker(PIPELINE, inputs, worker.fit_pipeline, title=title, total=total)
    if not WeightsStore(settings().weights_root).has(pipeline.outputs.name):
        # The stage was reused, but its pipeline was stored in another weights folder.
        call_in_worker(worker.fit_pipeline, inputs, pipeline.key, title=title, total=total)
    shutil.rmtree(settings().root / "checkpoints" / pipeline.key, ignore_errors=True)
    return pipeline
