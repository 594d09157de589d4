"""Events that Prefect's automations listen to, such as a posted payout or an opened case.

Without a Prefect server nobody listens, and nothing is sent. An event that cannot be sent ends no payout. Events have
IDs, amounts and counts, and no names of contributors: what an automation sends may leave the house.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

Event = Literal[
    "royalty.credit.moved",
    "royalty.payout.posted",
    "royalty.payout.refused",
    "royalty.payout.held",
    "royalty.approval.requested",
    "royalty.case.opened",
    "royalty.case.decided",
    "royalty.optout.recorded",
]
log = logging.getLogger(__name__)


def emit(event: Event, resource: str, name: str, payload: Mapping[str, Any]) -> None:
    """Send an event to the Prefect server that is set.

    Args:
        resource: ID of what the event is about, such as `royalty.case.1f0c`.
        name: how people call it.
        payload: facts as JSON.
    """
    from prefect.settings import PREFECT_API_URL  # Prefect takes seconds to import

    if not PREFECT_API_URL.value():
        return
    from prefect.events import emit_event

    try:
        emit_event(
            event=event,
            resource={"prefect.resource.id": resource, "prefect.resource.name": name},
            payload=dict(payload),
        )
    except Exception as error:  # noqa: BLE001  no failure of a listener may end the run
        log.warning("the event %s was not sent: %s", event, error)
