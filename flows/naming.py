"""Names of flow runs on Prefect's pages: the flow, and the run, valuation or match that it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import prefect.runtime


def named(flow: str) -> Callable[[], str]:
    """What names the runs of a flow by its parameter `config`, which may be settings or the path of a file."""

    def name() -> str:
        return f"{flow} {_subject(prefect.runtime.flow_run.parameters.get('config'))}".rstrip()

    return name


def _subject(config: object) -> str:
    if isinstance(config, str):
        return Path(config).stem
    if isinstance(config, Mapping):
        return str(config.get("name", ""))
    return str(getattr(config, "name", ""))
