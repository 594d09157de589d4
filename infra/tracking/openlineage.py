"""OpenLineage events of stages, sent to the file or HTTP address in `ROYALTY_OPENLINEAGE`.

An event that cannot be sent is logged as a warning, and the stage continues: monitoring must not end a run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from royalty.infra.settings import settings
from royalty.infra.stores.lineage import Edge

NAMESPACE = "royalty"
PRODUCER = "royalty"
log = logging.getLogger(__name__)


class StageEvents:
    """Data for the events of a running stage: its lineage edges, set once they are known."""

    def __init__(self) -> None:
        self.edges: Collection[Edge] = ()


@contextmanager
def stage_events(name: str, key: str) -> Iterator[StageEvents]:
    """Send an event when a stage starts, and when it completes or fails; its datasets are the digests of its edges."""
    events = StageEvents()
    if not settings().openlineage:
        yield events
        return
    run = _guarded(_new_run)
    _guarded(_emit, "START", name, key, run, ())
    try:
        yield events
    except BaseException:
        _guarded(_emit, "FAIL", name, key, run, ())
        raise
    _guarded(_emit, "COMPLETE", name, key, run, events.edges)


def _guarded(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  no failure of a listener may end the run
        log.warning("no OpenLineage event was sent to %s: %s", settings().openlineage, error)
        return None


def _new_run() -> str:
    from openlineage.client.uuid import generate_new_uuid

    return str(generate_new_uuid())


def _emit(state: str, name: str, key: str, run: str, edges: Collection[Edge]) -> None:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    event = RunEvent(
        eventType=RunState[state],
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(run),
        job=Job(NAMESPACE, name),
        producer=f"https://pypi.org/project/{PRODUCER}",
        inputs=[InputDataset(NAMESPACE, edge.parent) for edge in edges if edge.child == key],
        outputs=[OutputDataset(NAMESPACE, edge.child) for edge in edges if edge.parent == key],
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
