"""Facets of OpenLineage events: what is known of a stage's run, its job and its datasets.

Contributors are persons, so neither their names nor messages of errors, which can have names and paths, are sent unless
`ROYALTY_OPENLINEAGE_CONTRIBUTORS` is set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_commit
from royalty.infra.tracking.profiles import Column, Profile, contributors_in, profile
from royalty.infra.tracking.source_code import source_of

NAMESPACE = "royalty"
PACKAGE = "royalty"
INTEGRATION = "ROYALTY"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParentRun:
    """The Prefect flow run that runs a stage."""

    id: str
    flow: str


@dataclass(frozen=True)
class StageJob:
    """A stage that runs.

    Attributes:
        description: what the stage makes; empty if that is not said.
        module: module with the code of the stage.
        locate: returns the file of an artifact, which may be missing: keys of rows are digests too.
        parent: None outside a flow run.
    """

    name: str
    key: str
    description: str
    module: str
    locate: Callable[[str], Path]
    parent: ParentRun | None


def run_facets(job: StageJob, error: BaseException | None) -> dict[str, Any]:
    """The flow run, the version and commit of the code, and the error that ended the stage."""
    from openlineage.client.generated import error_message_run, parent_run, processing_engine_run, tags_run

    commit = tags_run.TagsRunFacetFields("git.commit", code_commit(), INTEGRATION)
    key = tags_run.TagsRunFacetFields("royalty.stage", job.key, INTEGRATION)
    facets: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            version(PACKAGE), "Royalty", version("openlineage-python")
        ),
        "tags": tags_run.TagsRunFacet([commit, key]),
    }
    if job.parent is not None:
        facets["parent"] = parent_run.ParentRunFacet(
            parent_run.Run(job.parent.id), parent_run.Job(NAMESPACE, job.parent.flow)
        )
    if error is not None:
        kind = type(error).__name__
        message = f"{kind}: {error}" if settings().openlineage_contributors else kind
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
    return facets


def job_facets(job: StageJob) -> dict[str, Any]:
    """Kind, description, owner and source code of a stage."""
    from openlineage.client.generated import documentation_job, job_type_job, ownership_job, source_code_location_job

    facets: dict[str, Any] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", INTEGRATION, "STAGE")}
    if job.description:
        facets["documentation"] = documentation_job.DocumentationJobFacet(job.description, "text/plain")
    if owner := settings().openlineage_owner:
        facets["ownership"] = ownership_job.OwnershipJobFacet([ownership_job.Owner(owner, "MAINTAINER")])
    if source := source_of(job.module):
        facets["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
            type="git",
            url=source.url,
            repoUrl=source.repository,
            path=source.path,
            version=source.commit + ("-dirty" if source.changed else ""),
        )
    return facets


def input_dataset(job: StageJob, digest: str, role: str) -> Any:
    """An artifact that a stage reads, or the row of the run store that it depends on."""
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.generated import data_quality_metrics_input_dataset as quality

    facets, content = _dataset_facets(job, digest, f"Input `{role}` of the stage `{job.name}`.")
    if content is None:
        return InputDataset(NAMESPACE, digest, facets=facets)
    metrics = quality.DataQualityMetricsInputDatasetFacet(
        columnMetrics={name: quality.ColumnMetrics(**_metrics(column)) for name, column in content.columns.items()},
        rowCount=content.rows,
        bytes=content.size,
        fileCount=1,
    )
    return InputDataset(NAMESPACE, digest, facets=facets, inputFacets={"dataQualityMetrics": metrics})


def output_dataset(job: StageJob, digest: str, role: str) -> Any:
    """An artifact that a stage wrote, or the row of the run store that belongs to it."""
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated import data_quality_metrics_dataset as quality
    from openlineage.client.generated import output_statistics_output_dataset as statistics

    facets, content = _dataset_facets(job, digest, f"Output `{role}` of the stage `{job.name}`.")
    if content is None:
        return OutputDataset(NAMESPACE, digest, facets=facets)
    facets["dataQualityMetrics"] = quality.DataQualityMetricsDatasetFacet(
        columnMetrics={name: quality.ColumnMetrics(**_metrics(column)) for name, column in content.columns.items()},
        rowCount=content.rows,
        bytes=content.size,
        fileCount=1,
    )
    written = statistics.OutputStatisticsOutputDatasetFacet(rowCount=content.rows, size=content.size, fileCount=1)
    return OutputDataset(NAMESPACE, digest, facets=facets, outputFacets={"outputStatistics": written})


def _dataset_facets(job: StageJob, digest: str, description: str) -> tuple[dict[str, Any], Profile | None]:
    """Facets of a dataset, and its profile if it is a file.

    Its name is its digest, and so is its version: other content is another dataset.
    """
    from openlineage.client.generated import (
        dataset_type_dataset,
        dataset_version_dataset,
        documentation_dataset,
        ownership_dataset,
        schema_dataset,
    )

    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(digest),
        "documentation": documentation_dataset.DocumentationDatasetFacet(description, "text/markdown"),
    }
    path = job.locate(digest)
    content, contributors = _contents(path)
    if content is not None:
        facets["datasetType"] = dataset_type_dataset.DatasetTypeDatasetFacet("FILE", content.layout.upper())
        if content.fields:
            facets["schema"] = schema_dataset.SchemaDatasetFacet(
                [
                    schema_dataset.SchemaDatasetFacetFields(name, kind, ordinal_position=position)
                    for position, (name, kind) in enumerate(content.fields.items(), start=1)
                ]
            )
    owners = [(settings().openlineage_owner, "MAINTAINER")] if settings().openlineage_owner else []
    owners += [(name, "CONTRIBUTOR") for name in contributors]
    if owners:
        facets["ownership"] = ownership_dataset.OwnershipDatasetFacet(
            [ownership_dataset.Owner(name, kind) for name, kind in owners]
        )
    return facets, content


def _contents(path: Path) -> tuple[Profile | None, list[str]]:
    """The profile of a file, and its contributors if they are asked for; nothing if it is missing or unreadable."""
    if not path.exists():
        return None, []
    try:
        return profile(path), contributors_in(path) if settings().openlineage_contributors else []
    except Exception as error:  # noqa: BLE001  the event is sent without it
        log.warning("an OpenLineage event has no profile of %s: %s", path.name, error)
        return None, []


def _metrics(column: Column) -> dict[str, float | int | None]:
    return {
        "count": column.count,
        "nullCount": column.nulls,
        "distinctCount": column.distinct,
        "sum": column.total,
        "min": column.smallest,
        "max": column.largest,
    }
