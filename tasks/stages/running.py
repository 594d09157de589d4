"""Run a stage: look up its key, compute it if it is missing, and record the outputs."""

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
from royalty.infra.tracking.facets import ParentRun, StageJob
from royalty.infra.tracking.openlineage import stage_events
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.stages.context import StageContext, call_stage
from royalty.tasks.stages.stage import Finished, Stage, as_json
from royalty.tasks.stages.task import check_may_compute

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
        function: function that the process runs; usually from a `Deferred` module.
        also: modules that the function loads by name, such as that of a kind of generator; the key covers them.
        title, total: title and number of steps of the progress bar; 0 steps show none.
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
        compute: the computation; everything that it uses is in the inputs, or identified there by a digest.
        also, one_by_one: see `run_in_worker` and `run_stage`.
    """
    return run_stage(stage, inputs, compute, modules=(module_of(compute), *also), one_by_one=one_by_one)


def is_kept(
    stage: Stage[Inputs, Outputs],
    inputs: Inputs,
    function: Callable[[Inputs, StageContext], object],
    *also: str,
) -> bool:
    """Whether `run_in_worker` would reuse a stage."""
    return _whole(open_workspace(settings()), stage, stage.key(inputs, (module_of(function), *also))) is not None


def is_current(
    stage: Stage[Inputs, Outputs],
    finished: Finished[Inputs, Outputs],
    function: Callable[[Inputs, StageContext], object],
    *also: str,
) -> bool:
    """Whether the present code would give a finished stage the same key; see `run_in_worker`."""
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
        compute: stores payloads in the workspace, and returns digests and scalars.
        modules: modules with the code of the stage; their imports are included.
        one_by_one: let only one flow of this home run a stage of this name at a time, whatever its key. Needed for
            stages with other effects, such as MLflow runs: an unfinished run then belongs to a dead flow.
    """
    space = open_workspace(settings())
    code = tuple(modules)
    key = stage.key(inputs, code)
    if (finished := _whole(space, stage, key)) is not None:
        return finished
    check_may_compute(stage.name)
    with alone(space.root / "locks" / (stage.name if one_by_one else key)):
        if (finished := _whole(space, stage, key)) is not None:  # another flow may have finished it meanwhile
            return finished
        return _compute(space, stage, key, inputs, compute, code[0])


def _whole(space: Workspace, stage: Stage[Inputs, Outputs], key: str) -> Finished[Inputs, Outputs] | None:
    """The record of a key, if the files that it made are in this home.

    They are not if the database is shared with another home, or files were deleted: the stage then makes them again.
    """
    finished = stage.kept(space, key)
    return finished if finished is not None and space.has_files_of(key) else None


def _compute(
    space: Workspace,
    stage: Stage[Inputs, Outputs],
    key: str,
    inputs: Inputs,
    compute: Callable[[Workspace], Outputs],
    module: str,
) -> Finished[Inputs, Outputs]:
    start = time.perf_counter()
    inputs_json = as_json(inputs)
    with stage_events(lambda: _job(space, stage, key, module)) as event:
        outputs = compute(space)
        outputs_json = as_json(outputs)
        event.edges = stage_edges(key, inputs_json, outputs_json, space.keeps)
    seconds = time.perf_counter() - start
    space.runs.record_stage(
        StageRecord(stage.name, key, inputs_json, outputs_json, seconds), event.edges, prefect.runtime.flow_run.id
    )
    return Finished(stage.name, key, inputs, outputs, seconds, reused=False)


def _job(space: Workspace, stage: Stage[Inputs, Outputs], key: str, module: str) -> StageJob:
    """Facts about a stage that runs, for its OpenLineage events."""
    run = prefect.runtime.flow_run
    return StageJob(
        name=stage.name,
        key=key,
        description=_summary(stage.outputs),
        module=module,
        locate=space.artifacts.path,
        parent=ParentRun(run.id, run.flow_name) if run.id else None,
    )


def _summary(outputs: type[object]) -> str:
    """What a stage makes: the first line of the docstring of its outputs; empty if it has none."""
    documentation = outputs.__doc__ or ""
    written = not documentation.startswith(f"{outputs.__name__}(")  # not the signature that dataclasses give
    return documentation.partition("\n")[0].strip() if written else ""


def call_in_worker(
    function: Callable[[Inputs, StageContext], Outputs],
    inputs: Inputs,
    key: str,
    *,
    title: str = "",
    total: int = 0,
    processes: int = 1,
) -> Outputs:
    """Call a stage's function in a worker process and show its progress. Nothing is looked up or recorded."""
    check_may_compute(title)
    home = settings()
    with progress(title, total) if total else nullcontext(_unseen) as advance:
        outputs: Outputs = run_in_process(
            call_stage,
            function,
            inputs,
            key,
            home.stores,
            advance=advance,
            modules=(module_of(function),),
            mendable=(InputError,),
            processes=processes,
        )
    return outputs


def _unseen(_steps: int) -> None:
    """Progress callback that shows nothing."""
