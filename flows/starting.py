"""What a flow needs around it, on the command line and in plain Python: servers, and processes with its imports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def started(known: str | None, *, flow: str, works: Sequence[str], show_progress: bool) -> Iterator[None]:
    """Start what a flow needs, a Prefect server among it unless one is set, and import the flow meanwhile.

    Args:
        known: a run that has nothing left to train if the run store knows its name.
        flow: module of the flow, heavy to import; that is done while the server starts.
        works: modules of what the flow runs in processes of its own, which are forked from one that has them.
        show_progress: draw bars in the terminal.
    """
    from royalty.infra.processes.script import script_not_imported
    from royalty.infra.processes.workers import preload
    from royalty.infra.servers.session import session
    from royalty.infra.settings import settings
    from royalty.infra.workspace import check_home, open_workspace

    check_home(settings().root)
    with script_not_imported():
        if known is None or not open_workspace(settings()).runs.knows(known):
            preload(*works)  # there will be work to do, and its imports can be had while the server starts
        with session(show_progress=show_progress) as wait_for_server:
            import_module(flow)
            wait_for_server()
            yield
