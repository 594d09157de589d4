"""Match generated images with training images: sample, match, and write what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.tracking.records import Given
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.generators.kinds import module_of
from royalty.tasks.config.credit import CreditConfig, Matching
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.publishing import SHOWN_ROWS, numbers
from royalty.tasks.stages.stage import in_worker, run_stage

MATCHING = "royalty.tasks.items.gmvaluator_worker"


@task(cache_policy=NO_CACHE)
def match_grand_model(data: StageRecord, plans: Sequence[CoalitionPlan], config: CreditConfig) -> StageRecord:
    """Digests of the tables of values and contributions, by what everybody's model makes."""
    everybody = [plan.key for plan in plans if len(plan.members) == len(data.outputs["contributors"])]
    trained = open_workspace(settings()).runs.coalitions(everybody)
    model = next(trained[key].checkpoint for key in everybody if trained[key].checkpoint)  # without one, no credit
    images, sampling = config.matching.images, config.sampling.model_dump(include={"steps", "scheduler"})
    given = data.outputs["train"], model, images, sampling, config.seed, config.matching
    work = in_worker("Match images", images, f"{MATCHING}.match_model", *given)
    inputs = {"train": given[0], "model": model, "images": images, "sampling": sampling, "seed": config.seed}
    inputs |= {"matching": config.matching.model_dump()}
    return run_stage("gmvaluator", inputs=inputs, modules=(MATCHING, module_of(config.generator.kind)), compute=work)


@task(cache_policy=NO_CACHE)
def match(train: Mapping[str, Any], generated: Mapping[str, Any], encoder: str, matching: Matching) -> StageRecord:
    """Digests of the tables of values and contributions.

    Args:
        train, generated: outputs of the stages that read or made the items.
    """
    inputs = {"train": train["items"], "generated": generated["items"], "encoder": encoder}
    work = in_worker("Match images", generated["count"], f"{MATCHING}.match", *inputs.values(), matching)
    inputs |= {"matching": matching.model_dump()}
    return run_stage("gmvaluator", inputs=inputs, modules=(MATCHING,), compute=work)


@task(cache_policy=NO_CACHE)
def write_matches(
    config: GMValuatorConfig, sides: dict[str, str], matched: StageRecord, out: Path | None
) -> StageRecord:
    """The folder with the tables and the sheet of images, and the MLflow run that holds them.

    Args:
        sides: `train` and `generated`, digests of items.
    """
    space = open_workspace(settings())
    found = matched.outputs
    tables = {
        "values.parquet": space.artifacts.get(found["table"]),
        "contributions.parquet": space.artifacts.get(found["contributions"]),
    }
    inputs = {"name": config.name, "match": matched.key}

    def compute(space: Workspace) -> dict[str, Any]:
        from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import
        from royalty.tasks.items.match_pictures import pictures
        from royalty.tasks.stages.stored_items import load_values

        tracking = open_tracking(settings())
        note = "Value of every training image by what was generated near it (GMValuator): higher is better."
        tags = {"git.commit": code_commit(), "royalty.values": found["table"]}
        run = tracking.start(tracking.RUNS, config.name, key=digest_of(inputs), note=note, tags=tags)
        tracking.log(
            run, params={**config.matching.model_dump(), "size": config.size}, metrics=numbers(found["diagnostics"])
        )
        for side, digest in sides.items():
            tracking.dataset(run, Given(side, digest, {"items": digest}))
        table = load_values(space, found["table"])
        if len(table) <= SHOWN_ROWS:
            tracking.table(run, table, "values.json")
        shown = pictures(space, config.name, sides, found)
        for file, payload in {**tables, **shown}.items():
            tracking.file(run, file, payload)
        tracking.finish(run)
        return {"run": run, "pictures": {file: space.artifacts.put(picture) for file, picture in shown.items()}}

    modules = (__name__, "royalty.tasks.items.match_pictures")
    record = run_stage("write-matches", inputs=inputs, modules=modules, compute=compute, one_by_one=True)
    folder = space.root / "runs" / config.name
    for file, payload in tables.items():
        write_whole(folder / file, payload)
    for file, digest in record.outputs["pictures"].items():
        write_whole(folder / file, space.artifacts.get(digest))
    if out is not None:
        write_whole(out, tables["values.parquet"])
    return record.with_outputs(folder=str(folder))
