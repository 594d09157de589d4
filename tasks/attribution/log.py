"""The log of attributions of this home."""

from __future__ import annotations

from royalty.infra.settings import settings
from royalty.infra.stores.usage_log import UsageLog


def usage_log() -> UsageLog:
    """The log, which is made if it is not there."""
    return UsageLog(settings().root / "attribution" / "log.db")
