"""The log of attributions of this home."""

from __future__ import annotations

from pathlib import Path

from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.settings import settings


def log_file() -> Path:
    return settings().root / "attribution" / "log.db"


def usage_log() -> UsageLog:
    """The log, which is made if it is not there."""
    return UsageLog(log_file())
