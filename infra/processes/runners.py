"""Task runners: threads of this process, or the workers of a Dask or Ray cluster.

Each coalition is trained in a separate process (`royalty.infra.processes.workers`), so that a time limit or a kill ends
only that process. The runner only determines which machine starts it.
"""

from __future__ import annotations

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from royalty.infra.settings import DASK_SCHEMES, Settings
from royalty.infra.stores.artifacts import StoreError


def task_runner(settings: Settings) -> TaskRunner[Any]:
    """The runner that `ROYALTY_RUNNER` names: `threads`, `dask` or `ray` on this machine, or a cluster's address.

    Raises:
        StoreError: packages of this runner are not installed.
    """
    if settings.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    try:
        return _dask(settings) if settings.runner.startswith(("dask", *DASK_SCHEMES)) else _ray(settings)
    except ImportError as missing:
        extra = "dask" if settings.runner.startswith(("dask", *DASK_SCHEMES)) else "ray"
        raise StoreError(
            f"ROYALTY_RUNNER={settings.runner} needs packages that are not installed ({missing}); install "
            f"royalty[{extra}], or set ROYALTY_RUNNER=threads"
        ) from missing


def _dask(settings: Settings) -> TaskRunner[Any]:
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.runner != "dask":
        return DaskTaskRunner(address=settings.runner)
    local = {
        "n_workers": settings.workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "memory_limit": 0,  # no limit: memory is used by the process that a task starts, which Dask does not see
    }
    return DaskTaskRunner(cluster_kwargs=local)


def _ray(settings: Settings) -> TaskRunner[Any]:
    from prefect_ray.task_runners import RayTaskRunner

    local = {"num_cpus": settings.workers, "include_dashboard": False, "log_to_driver": False}
    remote = {"address": settings.runner}
    runner: TaskRunner[Any] = RayTaskRunner(**({"init_kwargs": local} if settings.runner == "ray" else remote))
    return runner
