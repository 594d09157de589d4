"""Value items: read and embed them, and value them in one process or in shares."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
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
from royalty.models.base.errors import InputError
from royalty.models.data.attributes import table_of
from royalty.models.data.folder import list_images
from royalty.models.data.labelled import count_items
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.stages.publishing import SHOWN_ROWS, numbers
from royalty.tasks.stages.stage import in_worker, run_stage

VALUING = "royalty.tasks.items.valuing_worker"
ENCODERS = ("royalty.models.encoders.registry", "royalty.models.encoders.preact_resnet")


@task(cache_policy=NO_CACHE)
def read(path: Path, size: int, attributes: Sequence[str] = (), needed: bool = True) -> StageRecord:
    """Digest of the items of a source, and how many they are; with attributes, if they are there or `needed`."""
    asked: dict[str, Any] = {"attributes": list(attributes), "needed": needed} if attributes else {}
    if attributes and table_of(path).is_file():
        asked["table"] = _digest(table_of(path))
    inputs = {"files": _digest(path), "size": size, **asked}
    given = str(path), size, tuple(attributes), needed
    work = in_worker(f"Read {path.name}", count_items(path), f"{VALUING}.read", *given)
    return run_stage("read-items", inputs=inputs, modules=(VALUING,), compute=work)


@task(cache_policy=NO_CACHE)
def colour(items: StageRecord) -> StageRecord:
    """Digest of greyscale items as colour ones."""
    inputs = {"items": items.outputs["items"]}
    work = in_worker("Repeat channels", 0, f"{VALUING}.colour", inputs["items"])
    return run_stage("colour", inputs=inputs, modules=(VALUING,), compute=work)


def alike(*sides: StageRecord) -> tuple[StageRecord, ...]:
    """Sides that can be compared: where one has colour, greyscale images of another become colour too."""
    shapes = [side.outputs["shape"] for side in sides]
    if not any(shape and shape[0] == 3 for shape in shapes):
        return sides
    return tuple(colour(side) if shape and shape[0] == 1 else side for side, shape in zip(sides, shapes, strict=True))


@task(cache_policy=NO_CACHE)
def train_encoder(val: StageRecord, config: ValueConfig) -> StageRecord:
    """Digest of an encoder that learned from the validation images."""
    encoding = config.encoding
    inputs = {"val": val.outputs["items"], "encoding": encoding.model_dump(), "seed": config.seed}
    work = in_worker(
        "Train encoder", encoding.steps, f"{VALUING}.train_encoder", val.outputs["items"], encoding, config.seed
    )
    return run_stage("train-encoder", inputs=inputs, modules=("royalty.models.encoders.preact_resnet",), compute=work)


@task(cache_policy=NO_CACHE)
def embed(items: StageRecord, encoder: str, model: str) -> StageRecord:
    """Name of the encoder whose features of the images are kept now."""
    inputs = {"items": items.outputs["items"], "encoder": encoder, "model": model}
    work = in_worker("Embed", items.outputs["count"], f"{VALUING}.embed", *inputs.values())
    return run_stage("embed", inputs=inputs, modules=ENCODERS, compute=work)


@task(cache_policy=NO_CACHE)
def value_all(config: ValueConfig, sides: dict[str, str]) -> StageRecord:
    """Digest of the table of values, and the diagnostics of the method."""
    work = in_worker("Value items", 1, f"{VALUING}.value", config, sides)
    return run_stage("value", inputs=_inputs(config, sides), modules=(VALUING,), compute=work)


@task(cache_policy=NO_CACHE)
def plan_shares(config: ValueConfig, sides: dict[str, str], incremental: bool) -> StageRecord:
    """Digest of SAVA's plan, and what each share of the work holds."""
    inputs = {**_inputs(config, sides), "kept": _kept(config, sides) if incremental else {}}
    work = in_worker("Compare labels", 1, f"{VALUING}.plan", config, sides, inputs["kept"])
    record = run_stage("plan-shares", inputs=inputs, modules=(VALUING,), compute=work)
    # From its plan any later valuation of this name can go on; what is found for its batches is kept by itself.
    open_workspace(settings()).runs.record_anchor(_anchor(config), {record.name: record.key})
    return record


@task(cache_policy=NO_CACHE, retries=1)
def solve_share(share: int, config: ValueConfig, sides: dict[str, str], planned: StageRecord) -> StageRecord:
    """Digest of what the transports of one share found."""
    found = planned.outputs
    work = in_worker(
        "Solve share", 0, f"{VALUING}.solve_one_share", config, sides, found["plan"], share, settings().threads
    )
    inputs = {"ground": found["ground"], "batches": found["shares"][share]}
    return run_stage("solve-share", inputs=inputs, modules=(VALUING,), compute=work)


@task(cache_policy=NO_CACHE)
def agree_shares(planned: StageRecord, solved: Sequence[StageRecord]) -> StageRecord:
    """Digest of what all shares say together."""
    plan, shares = planned.outputs["plan"], [share.outputs["share"] for share in solved]
    work = in_worker("Agree", 1, f"{VALUING}.agree_shares", plan, shares)
    return run_stage("agree-shares", inputs={"plan": plan, "shares": shares}, modules=(VALUING,), compute=work)


@task(cache_policy=NO_CACHE, retries=1)
def value_share(
    share: int, config: ValueConfig, sides: dict[str, str], planned: StageRecord, agreed: StageRecord
) -> StageRecord:
    """Digest of the values of one share."""
    given = planned.outputs["plan"], agreed.outputs["agreement"]
    work = in_worker("Value share", 0, f"{VALUING}.value_one_share", config, sides, *given, share, settings().threads)
    inputs = {"plan": given[0], "agreement": given[1], "share": share}
    return run_stage("value-share", inputs=inputs, modules=(VALUING,), compute=work)


@task(cache_policy=NO_CACHE)
def join_shares(
    config: ValueConfig,
    sides: dict[str, str],
    planned: StageRecord,
    agreed: StageRecord,
    valued: Sequence[StageRecord],
) -> StageRecord:
    """Digest of the table of values, and the diagnostics of the method."""
    given = planned.outputs["plan"], agreed.outputs["agreement"], [share.outputs["values"] for share in valued]
    work = in_worker("Join shares", 1, f"{VALUING}.join_shares", config, sides, *given)
    inputs = {**_inputs(config, sides), "plan": given[0], "agreement": given[1], "shares": given[2]}
    record = run_stage("value", inputs=inputs, modules=(VALUING,), compute=work)
    diagnostics = {**record.outputs["diagnostics"], "batches_kept": planned.outputs["kept"]}
    return record.with_outputs(diagnostics=diagnostics)


@task(cache_policy=NO_CACHE)
def write_values(config: ValueConfig, sides: dict[str, str], valued: StageRecord, out: Path | None) -> StageRecord:
    """The folder with `values.parquet`, and the MLflow run that holds it; the table is copied to `out` too."""
    space = open_workspace(settings())
    payload = space.artifacts.get(valued.outputs["table"])
    inputs = {"name": config.name, "value": valued.key}

    def compute(space: Workspace) -> dict[str, Any]:
        from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import
        from royalty.tasks.items.value_pictures import pictures
        from royalty.tasks.stages.stored_items import load_values

        tracking = open_tracking(settings())
        note = f"Value of every training item by {config.method}: higher is better. `values.parquet` holds all of them."
        tags = {"git.commit": code_commit(), "royalty.values": valued.outputs["table"]}
        run = tracking.start(tracking.RUNS, config.name, key=digest_of(inputs), note=note, tags=tags)
        tracking.log(run, params=_flat(config), metrics=numbers(valued.outputs["diagnostics"]))
        for side in ("train", "val"):
            tracking.dataset(run, Given(side, sides[side], {"items": sides[side]}))
        tracking.file(run, "values.parquet", payload)
        table = load_values(space, valued.outputs["table"])
        if len(table) <= SHOWN_ROWS:
            tracking.table(run, table, "values.json")
        shown = pictures(space, config, sides, valued)
        for file, picture in shown.items():
            tracking.file(run, file, picture)
        tracking.finish(run)
        return {"run": run, "pictures": {file: space.artifacts.put(picture) for file, picture in shown.items()}}

    record = run_stage("write-values", inputs=inputs, modules=(__name__,), compute=compute)
    folder = space.root / "runs" / config.name
    write_whole(folder / "values.parquet", payload)
    for file, digest in record.outputs["pictures"].items():
        write_whole(folder / file, space.artifacts.get(digest))
    if out is not None:
        write_whole(out, payload)
    return record.with_outputs(folder=str(folder))


def check_out(out: Path | None) -> None:
    """Refuse, before any work, a place that the table cannot be written to."""
    if out is not None and (out.is_dir() or not os.access(out.absolute().parent, os.W_OK)):
        raise InputError(
            f"the table of values is written to {out}: a folder, or in one that cannot be written; name a file"
        )
    if out is not None and out.suffix != ".parquet":
        raise InputError(f"the table of values is a Parquet file; got {out}. Name one that ends with .parquet")


def check_incremental(config: ValueConfig, incremental: bool) -> None:
    """Refuse, before any work, to go on from a valuation that is not there or has no batches."""
    if not incremental:
        return
    if config.method != "sava":
        raise InputError(
            f"`--incremental` keeps what was found for batches of items, and {config.method} values all items at once; "
            "leave it out, or value by `sava`"
        )
    space = open_workspace(settings())
    if space.runs.anchor(_anchor(config)) is None:
        raise InputError(
            f"`--incremental` goes on from an earlier valuation; there is none by SAVA named {config.name!r} in "
            f"{space.root}. Value once without it, or give the name of one (`--name`)"
        )


def _anchor(config: ValueConfig) -> str:
    return f"values:{config.name}"


def _kept(config: ValueConfig, sides: dict[str, str]) -> dict[str, str]:
    """Digests of the plan to extend and of the training items that it was made for."""
    runs = open_workspace(settings()).runs
    anchor = runs.anchor(_anchor(config))
    before = None if anchor is None else runs.stage(anchor.stages["plan-shares"])
    if before is None:
        raise InputError(f"the earlier valuation {config.name!r} is gone; value without `--incremental`")
    now = _inputs(config, sides)
    then = {"config": before.inputs["config"], "sides": before.inputs["sides"]}
    changed = [name for name in now["config"] if now["config"][name] != then["config"].get(name)]
    changed += [f"`{side}`" for side in ("val", "encoder") if now["sides"][side] != then["sides"][side]]
    if changed:
        raise InputError(
            f"only training items may change between valuations that go on from each other; of {config.name!r}, "
            f"{', '.join(changed)} did. Value without `--incremental`, or under a name of its own"
        )
    return {"plan": before.outputs["plan"], "train": before.inputs["sides"]["train"]}


def _inputs(config: ValueConfig, sides: dict[str, str]) -> dict[str, Any]:
    settled = config.model_dump(mode="json", exclude={"name", "train", "val"})
    return {"config": settled, "sides": sides}


def _digest(path: Path) -> str:
    """SHA-256 of what a source holds."""
    if path.is_dir():
        return list_images(path).digest()
    if not path.is_file():
        raise InputError(f"there is nothing at {path}; give a folder of images, a Parquet file or an .npz file")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flat(config: ValueConfig) -> dict[str, Any]:
    values = config.model_dump(mode="json", exclude={"encoding", "valuing", "train", "val"})
    values |= {f"encoding.{key}": value for key, value in config.encoding.model_dump().items()}
    return values | config.valuing.model_dump()
