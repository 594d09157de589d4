"""The task runner of the flows of this process."""

from __future__ import annotations

from royalty.infra.processes.runners import task_runner
from royalty.infra.settings import settings

RUNNER = task_runner(settings())
