"""Start what a flow needs, from the command line or from Python: servers, and worker processes with its imports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from royalty.tasks.config.base import StageConfig


@contextmanager
def started(
    known: str | None, *, flow: str, works: Sequence[str], show_progress: bool, configs: Sequence[StageConfig] = ()
) -> Iterator[None]:
    """Start a Prefect server, unless one is configured, and import the flow while the server starts.

    Args:
        known: name of a run; if it is in the run store, nothing is left to train and no worker process is prepared.
        flow: module of the flow, which takes long to import.
        works: modules of the flow's worker processes, which are forked from one process that has imported them.
        show_progress: show progress bars in the terminal.
        configs: configurations whose files have to be there, which is checked before anything starts.

    Raises:
        ConfigError: a file or folder that a configuration names is not there.
    """
    from royalty.flows.gpu_workers import fit_workers
    from royalty.flows.named_files import check_files
    from royalty.infra.processes.importing import collection_paused
    from royalty.infra.processes.script import script_not_imported
    from royalty.infra.processes.workers import preload
    from royalty.infra.servers.session import session
    from royalty.infra.settings import settings
    from royalty.infra.workspace import check_home, open_workspace

    for config in configs:
        check_files(config)
    check_home(settings())
    with script_not_imported():
        if known is None or not open_workspace(settings()).runs.knows(known):
            for config in configs:
                fit_workers(config)
            preload(*works)  # workers will be needed: import their modules while the server starts
        with session(show_progress=show_progress) as wait_for_server:
            with collection_paused():
                import_module(flow)
            wait_for_server()
            yield
