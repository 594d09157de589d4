"""Train the pipeline that LoRAs are put on, where the configuration says so."""

from __future__ import annotations

import shutil

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_version, digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.stores.weights import TRAINED, WeightsStore
from royalty.infra.workspace import open_workspace
from royalty.tasks.config.generators import TrainedBase
from royalty.tasks.stages.stage import in_worker, run_stage

WORKER = "royalty.tasks.credit.base_worker"


@task(cache_policy=NO_CACHE, tags=["gpu"])
def train_base(base: TrainedBase, seed: int) -> StageRecord:
    """Name of the pipeline among the weights, and its size."""
    inputs = {"base": base.model_dump(mode="json"), "seed": seed}
    key = digest_of({"inputs": inputs, "code": code_version(WORKER)})
    steps = base.autoencoder_steps + base.denoiser_steps
    arguments = f"{TRAINED}{key[:16]}", base.model_dump(mode="json"), seed, key
    work = in_worker("Train base pipeline", steps, f"{WORKER}.fit_base", *arguments)
    record = run_stage("base", inputs=inputs, modules=(WORKER,), compute=work)
    if not WeightsStore(settings().weights_root).has(record.outputs["name"]):
        work(open_workspace(settings()))  # it was trained, but into other weights than those of this run
    shutil.rmtree(settings().root / "checkpoints" / key, ignore_errors=True)
    return record
