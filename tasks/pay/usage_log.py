"""Whether the service's log still is what payouts were made by."""

from __future__ import annotations

from royalty.infra.attribution.usage_log import LogHead
from royalty.infra.workspace import Workspace
from royalty.tasks.attribution.log import log_file, usage_log
from royalty.tasks.pay.usage_stages import USAGE


def log_problem(space: Workspace) -> str | None:
    """What contradicts the log of this home: its own hashes, and where it ended when payouts were made by it.

    The ends are in the outputs of the stage `usage`, which each statement by use has under its hash.
    """
    outputs = [finished.outputs for finished in USAGE.latest(space)]
    kept = [LogHead(one.log_position, one.log_hash) for one in outputs if one.log_position]
    if log_file().is_file():
        return usage_log().problem(kept)
    return f"payouts were made by the log {log_file()}, which is not there" if kept else None
