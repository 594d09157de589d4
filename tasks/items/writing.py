"""Publish values of items, and matches of generated images with training images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.tracking.records import DatasetRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.items import contributor_rows
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.config.sources import TrainingItems
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.pair_stages import PairsCompared
from royalty.tasks.items.stages import Matched, Sides, Valued
from royalty.tasks.items.stored_items import load_values
from royalty.tasks.stages.publishing import (
    Contents,
    Published,
    PublishInputs,
    PublishOutputs,
    PublishStage,
    numbers,
    publish,
)
from royalty.tasks.stages.task import task

WRITE_VALUES = PublishStage("write-values", PublishInputs, PublishOutputs)
WRITE_MATCHES = PublishStage("write-matches", PublishInputs, PublishOutputs)


@task(name="write values", cache_policy=NO_CACHE)
def write_values(
    config: ValueConfig,
    sides: Sides,
    valued: Valued,
    out: Path | None,
    notes: Sequence[str] = (),
    compared: PairsCompared | None = None,
) -> Published:
    """Publish `values.parquet` and its plots, `contributors.csv` where the items have contributors, and
    `validation.parquet` and `batches.csv` where validation items or batches have values; copy the table of values to
    `out`.

    Args:
        compared: pairs of items, published as `pairs.csv`.
        notes: sentences on the items.
    """
    table, val_table = valued.outputs.table, valued.outputs.val_table
    further = {
        "batches": valued.outputs.batch_table,
        "perturbations": valued.outputs.perturbed_table,
        "pairs": "" if compared is None else compared.outputs.table,
    }

    def make(space: Workspace) -> Contents:
        from royalty.tasks.items.value_pictures import pictures  # matplotlib takes a second to import

        values = load_values(space.artifacts, table)
        return Contents(
            note=" ".join(
                [
                    f"Values of all training items by {config.method}; higher is better. `values.parquet` has the "
                    "whole table.",
                    *notes,
                ]
            ),
            metrics=numbers(valued.outputs.diagnostics),
            tables=_by_contributor(values)
            | {name: load_values(space.artifacts, digest) for name, digest in further.items() if digest},
            shown={"values": values},
            files={
                "values.parquet": space.artifacts.get(table),
                **({"validation.parquet": space.artifacts.get(val_table)} if val_table else {}),
                **pictures(space.artifacts, config, sides, valued),
            },
            datasets=datasets_of(train=sides.train, val=sides.val),
            tags={"royalty.values": table},
        )

    sources = {"value": valued.key} | ({} if compared is None else {"pairs": compared.key})
    inputs = PublishInputs(config.name, config.name, sources, _flat(config))
    published = publish(WRITE_VALUES, inputs, make)
    copy_table(table, out)
    return published


@task(name="write matches", cache_policy=NO_CACHE)
def write_matches(
    config: GMValuatorConfig,
    train: str,
    generated: str,
    matched: Matched,
    out: Path | None,
    notes: Sequence[str] = (),
) -> Published:
    """Publish both tables of a match and its pictures, and `contributors.csv` where the images have contributors, and
    copy the table of values to `out`.

    Args:
        train, generated: digests of the items of both sides.
        notes: sentences on the training images.
    """
    tables = {"values.parquet": matched.outputs.table, "contributions.parquet": matched.outputs.contributions}

    def make(space: Workspace) -> Contents:
        from royalty.tasks.items.match_pictures import pictures  # matplotlib takes a second to import

        files = {name: space.artifacts.get(digest) for name, digest in tables.items()}
        values = load_values(space.artifacts, matched.outputs.table)
        return Contents(
            note=" ".join(
                [
                    "Values of all training images by the generated images near them (GMValuator); higher is better.",
                    *notes,
                ]
            ),
            metrics=numbers(matched.outputs.diagnostics),
            tables=_by_contributor(values) | ({"copies": copies_of(values)} if values["copy_of"].any() else {}),
            shown={"values": values},
            files={**files, **pictures(space.artifacts, config.name, train, generated, matched.outputs)},
            datasets=datasets_of(train=train, generated=generated),
            tags={"royalty.values": matched.outputs.table},
        )

    params = {**config.matching.model_dump(mode="json"), "size": config.size, **_reading(config)}
    inputs = PublishInputs(config.name, config.name, {"match": matched.key}, params)
    published = publish(WRITE_MATCHES, inputs, make)
    copy_table(matched.outputs.table, out)
    return published


def _by_contributor(values: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The table of contributors by name, of a table of values with contributors."""
    if "contributor" not in values:
        return {}
    return {"contributors": pd.DataFrame(contributor_rows(values["value"].to_numpy(), values["contributor"].tolist()))}


def copies_of(values: pd.DataFrame) -> pd.DataFrame:
    """The near copies in a table of values, each with who had the image first: one row for each copy.

    Columns: `image`, `earliest`, and the contributor and date of both where the table has them. Names of images are
    those of their files, or else their ids.
    """
    names = values["id"]
    if "file_name" in values:
        names = values["file_name"].where(values["file_name"] != "", names)
    known = values.assign(image=names)[["image", *(name for name in ("contributor", "date") if name in values)]]
    copies = known.assign(earliest=values["copy_of"])[values["copy_of"] != ""]
    first = known.drop_duplicates("image").set_index("image").add_prefix("earliest_")
    return copies.join(first, on="earliest").reset_index(drop=True)


def check_out(out: Path | None) -> None:
    """Check, before any work, that the table of values can be written to a path."""
    if out is not None and (out.is_dir() or not os.access(out.absolute().parent, os.W_OK)):
        raise InputError(f"the table of values is written to a file in a writable folder; got {out}. Give another path")
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise InputError(
            f"the table of values is a Parquet or CSV file; got {out}. Give a path that ends with .parquet or .csv"
        )


def copy_table(table: str, out: Path | None) -> None:
    """Write a stored table to `out`, as Parquet or CSV by its ending; nothing if `out` is None."""
    if out is None:
        return
    artifacts = open_workspace(settings()).artifacts
    write_whole(out, csv_bytes(load_values(artifacts, table)) if out.suffix == ".csv" else artifacts.get(table))


def datasets_of(**sides: str | None) -> list[DatasetRecord]:
    """Records of the sides that there are: digests of their items, by name."""
    return [DatasetRecord(side, digest, {"items": digest}) for side, digest in sides.items() if digest]


def params_of(settings: BaseModel, encoding: EncodingConfig, read: TrainingItems, *without: str) -> dict[str, Any]:
    """Settings as the parameters of an MLflow run; those of sections are named `encoding.NAME`, `consent.NAME`."""
    params = settings.model_dump(mode="json", exclude={"encoding", *TrainingItems.model_fields, *without})
    encoded = {f"encoding.{key}": value for key, value in encoding.model_dump(mode="json").items()}
    return params | encoded | _reading(read)


def _flat(config: ValueConfig) -> dict[str, Any]:
    params = params_of(config, config.encoding, config, "valuing", "train", "val")
    return params | config.valuing.model_dump(mode="json")


def _reading(read: TrainingItems) -> dict[str, Any]:
    sections = read.model_dump(mode="json", include=set(TrainingItems.model_fields))
    return {f"{kind}.{name}": value for kind, section in sections.items() for name, value in section.items()}
