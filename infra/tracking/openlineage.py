"""OpenLineage events of stages, sent to the file or HTTP address in `ROYALTY_OPENLINEAGE`.

An event that cannot be sent is logged as a warning, and the stage continues: monitoring must not end a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from royalty.infra.settings import settings
from royalty.infra.stores.lineage import Edge
from royalty.infra.tracking.facets import NAMESPACE, StageJob, input_dataset, job_facets, output_dataset, run_facets

PRODUCER = "https://pypi.org/project/royalty"
log = logging.getLogger(__name__)


class StageEvents:
    """Data for the events of a running stage: its lineage edges, set once they are known."""

    def __init__(self) -> None:
        self.edges: Collection[Edge] = ()


@contextmanager
def stage_events(job: Callable[[], StageJob]) -> Iterator[StageEvents]:
    """Send an event when a stage starts, and when it completes or fails; its datasets are the digests of its edges.

    Args:
        job: returns the facts about the stage; called only if events are sent.
    """
    events = StageEvents()
    if not settings().openlineage:
        yield events
        return
    started = _guarded(lambda: (_new_run(), job()))
    if started is None:
        yield events
        return
    _guarded(_emit, "START", *started, (), None)
    try:
        yield events
    except BaseException as error:
        _guarded(_emit, "FAIL", *started, (), error)
        raise
    _guarded(_emit, "COMPLETE", *started, events.edges, None)


def _guarded(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  no failure of a listener may end the run
        log.warning("no OpenLineage event was sent to %s: %s", settings().openlineage, error)
        return None


def _new_run() -> str:
    from openlineage.client.uuid import generate_new_uuid

    return str(generate_new_uuid())


def _emit(state: str, run: str, job: StageJob, edges: Collection[Edge], error: BaseException | None) -> None:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import set_producer

    set_producer(PRODUCER)
    used = {edge.parent: edge.role for edge in edges if edge.child == job.key}
    made = {edge.child: edge.role for edge in edges if edge.parent == job.key}
    event = RunEvent(
        eventType=RunState[state],
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(run, run_facets(job, error)),
        job=Job(NAMESPACE, job.name, job_facets(job)),
        producer=PRODUCER,
        inputs=[input_dataset(job, digest, role) for digest, role in used.items()],
        outputs=[output_dataset(job, digest, role) for digest, role in made.items()],
    )
    _client(settings().openlineage).emit(event)


@lru_cache
def _client(target: str) -> Any:
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    if target.startswith(("http://", "https://")):
        return OpenLineageClient(transport=HttpTransport(HttpConfig.from_dict({"url": target, "timeout": 5.0})))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    return OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=target, append=True)))
