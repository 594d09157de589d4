"""Run a stage: look its key up, compute if it is not there, record what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TypeVar

import prefect.runtime

from royalty.infra.processes.locks import alone
from royalty.infra.processes.progress import progress
from royalty.infra.processes.workers import module_of, run_in_process
from royalty.infra.settings import settings
from royalty.infra.stores.lineage import stage_edges
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.tracking.openlineage import stage_events
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.stages.context import StageContext, call_stage
from royalty.tasks.stages.stage import Finished, Stage, as_json

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


def run_in_worker(
    stage: Stage[Inputs, Outputs],
    inputs: Inputs,
    function: Callable[[Inputs, StageContext], Outputs],
    *,
    also: Iterable[str] = (),
    title: str = "",
    total: int = 0,
    processes: int = 1,
) -> Finished[Inputs, Outputs]:
    """Run a stage in a process of its own, or reuse it.

    Args:
        function: what the process runs; usually of a `Deferred` module.
        also: modules that it runs besides those that its own imports, such as that of a kind of generator.
        title, total: of the progress, and its steps; 0 shows none.
        processes: see `royalty.infra.processes.workers.run_in_process`.
    """

    modules = (module_of(function), *also)
    key = stage.key(inputs, modules)

    def compute(_: Workspace) -> Outputs:
        return call_in_worker(function, inputs, key, title=title, total=total, processes=processes)

    return run_stage(stage, inputs, compute, modules=modules)


def run_here(
    stage: Stage[Inputs, Outputs],
    inputs: Inputs,
    compute: Callable[[Workspace], Outputs],
    *,
    also: Iterable[str] = (),
    one_by_one: bool = False,
) -> Finished[Inputs, Outputs]:
    """Run a stage in this process, or reuse it.

    Args:
        compute: what it does; all that it takes is in the inputs, or stands there by its digest.
        also, one_by_one: see `run_in_worker` and `run_stage`.
    """
    return run_stage(stage, inputs, compute, modules=(module_of(compute), *also), one_by_one=one_by_one)


def is_current(
    stage: Stage[Inputs, Outputs],
    finished: Finished[Inputs, Outputs],
    function: Callable[[Inputs, StageContext], object],
    *also: str,
) -> bool:
    """Whether the code as it is now would give a finished stage by itself; see `run_in_worker`."""
    return stage.key(finished.inputs, (module_of(function), *also)) == finished.key


def run_stage(
    stage: Stage[Inputs, Outputs],
    inputs: Inputs,
    compute: Callable[[Workspace], Outputs],
    *,
    modules: Iterable[str],
    one_by_one: bool = False,
) -> Finished[Inputs, Outputs]:
    """Run a stage, or reuse it.

    Args:
        compute: returns digests and scalars; stores its payloads in the workspace.
        modules: whose code the stage runs, with all that they import.
        one_by_one: flows that share this home wait for each other's stage of this name, and not just for one with
            the same key. For what does more than make payloads, such as MLflow's runs, of which a dead flow's are told
            apart by that.
    """
    space = open_workspace(settings())
    key = stage.key(inputs, modules)
    if (kept := stage.kept(space, key)) is not None:
        return kept
    with alone(space.root / "locks" / (stage.name if one_by_one else key)):
        if (kept := stage.kept(space, key)) is not None:  # another flow may have made it meanwhile
            return kept
        return _compute(space, stage, key, inputs, compute)


def _compute(
    space: Workspace,
    stage: Stage[Inputs, Outputs],
    key: str,
    inputs: Inputs,
    compute: Callable[[Workspace], Outputs],
) -> Finished[Inputs, Outputs]:
    start = time.perf_counter()
    taken = as_json(inputs)
    with stage_events(stage.name, key) as event:
        outputs = compute(space)
        given = as_json(outputs)
        event.edges = stage_edges(key, taken, given, space.keeps)
    seconds = time.perf_counter() - start
    space.runs.record_stage(
        StageRecord(stage.name, key, taken, given, seconds), event.edges, prefect.runtime.flow_run.id
    )
    return Finished(stage.name, key, inputs, outputs, seconds, reused=False)


def call_in_worker(
    function: Callable[[Inputs, StageContext], Outputs],
    inputs: Inputs,
    key: str,
    *,
    title: str = "",
    total: int = 0,
    processes: int = 1,
) -> Outputs:
    """Call a stage's function in a process of its own, and show its progress; nothing is looked up or recorded."""
    own = settings()
    with progress(title, total) if total else nullcontext(_unseen) as advance:
        outputs: Outputs = run_in_process(
            call_stage,
            function,
            inputs,
            key,
            (own.root, own.weights_root, own.threads),
            advance=advance,
            modules=(module_of(function),),
            mendable=(InputError,),
            processes=processes,
        )
    return outputs


def _unseen(_steps: int) -> None:
    """Progress that nobody watches."""
