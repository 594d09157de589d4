"""Let a suspended flow run on the Prefect server that is set go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID


def resume(flow_run: str, answer: Mapping[str, Any]) -> bool:
    """Resume a flow run with the input that it waits for.

    Returns:
        False if no server is set, or the server has no such flow run, or it is not suspended.
    """
    from prefect import flow_runs
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        return False
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(flow_run)).state
        except ObjectNotFound:
            return False
    if state is None or not state.is_paused():
        return False
    dispatched: Any = flow_runs.resume_flow_run  # its dispatcher takes `_sync`, which the types do not know
    dispatched(UUID(flow_run), run_input=dict(answer), _sync=True)
    return True
