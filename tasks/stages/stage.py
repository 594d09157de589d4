"""What every stage does: look its key up, compute if it is not there, record what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import prefect.runtime

from royalty.infra.processes.locks import alone
from royalty.infra.processes.progress import progress
from royalty.infra.processes.workers import run_in_process
from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_version, digest_of
from royalty.infra.stores.lineage import stage_edges
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.tracking.openlineage import told
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError

WORKER = "royalty.tasks.credit.training_worker"


def in_worker(
    title: str, total: int, function: str, *arguments: Any, processes: int = 1
) -> Callable[[Workspace], dict[str, Any]]:
    """A computation that runs a function, `module.name`, in a process of its own, and shows its progress.

    Args:
        total: steps of the progress; 0 shows none.
        processes: see `royalty.infra.processes.workers.run_in_process`.
    """
    options: dict[str, Any] = {"mendable": (InputError,), "processes": processes}

    def compute(_space: Workspace) -> dict[str, Any]:
        with progress(title, total) if total else nullcontext(_unseen) as advance:
            return dict(run_in_process(function, *arguments, settings(), advance=advance, **options))

    return compute


def _unseen(_steps: int) -> None:
    """Progress that nobody watches."""


def stage_key(name: str, inputs: Mapping[str, Any], modules: tuple[str, ...]) -> str:
    """Hash of all that determines what a stage makes: inputs, and the code as it is now."""
    return digest_of({"stage": name, "inputs": inputs, "code": code_version(*modules)})


def run_stage(
    name: str,
    *,
    inputs: Mapping[str, Any],
    modules: tuple[str, ...],
    compute: Callable[[Workspace], Mapping[str, Any]],
    one_by_one: bool = False,
) -> StageRecord:
    """Run a stage, or reuse it.

    Args:
        inputs: configuration, digests and seed: with the code, all that determines the outputs.
        modules: numeric modules whose code the stage runs.
        compute: returns digests and scalars; stores its payloads in the workspace.
        one_by_one: flows that share this home wait for each other's stage of this name, and not just for one with
            the same key. For what does more than make payloads, such as MLflow's runs, of which a dead flow's are told
            apart by that.
    """
    space = open_workspace(settings())
    key = stage_key(name, inputs, modules)
    found = space.runs.stage(key)
    if found is not None:
        return found
    with alone(space.root / "locks" / (name if one_by_one else key)):
        return _run(space, name, key, inputs, compute)


def _run(
    space: Workspace,
    name: str,
    key: str,
    inputs: Mapping[str, Any],
    compute: Callable[[Workspace], Mapping[str, Any]],
) -> StageRecord:
    found = space.runs.stage(key)  # another flow may have made it meanwhile
    if found is not None:
        return found
    start = time.perf_counter()
    with told(name, key) as stage:
        outputs = compute(space)
        stage.edges = stage_edges(key, inputs, outputs, space.keeps)
    record = StageRecord(name, key, inputs, outputs, time.perf_counter() - start)
    space.runs.record_stage(record, stage.edges, prefect.runtime.flow_run.id)
    return record
