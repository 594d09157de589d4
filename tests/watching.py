"""Stages watched as they run: the key of each covers all code of the project, and all libraries, that it runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from royalty.infra.stores.keys import libraries_run_by, modules_run_by
from royalty.tasks.credit import coalitions, coalitions_worker
from royalty.tasks.stages import running
from royalty.tasks.stages.context import call_stage
from royalty.tasks.stages.stage import Stage
from tests.in_process import inline_workers
from tests.test_dependencies import dependencies, normalized
from tests.test_rooms import FILES

MODULES = {str(path): f"royalty.{name}" for name, path in FILES.items()}
AROUND = {
    "royalty.tasks.stages.running",
    "royalty.tasks.stages.context",
    "royalty.infra.processes.workers",
    "royalty.infra.pages.terminal",
}
"""What calls a stage's function, and shows how far it is: the same for all, and no part of what they make."""

ASIDE = {"botocore", "fsspec", "packaging", "prefect", "rich", "s3fs"}
"""Libraries that compare versions, take the log, show progress and move artifacts, whose digests are verified, wherever
something runs; they make nothing.
"""

IMPORT = ("_find_and_load", "<frozen importlib._bootstrap>")
"""Function and file in which Python imports a module that it has not."""


def watched(function: Callable[..., Any], *arguments: Any) -> tuple[Any, set[str]]:
    """Call a function; what it returns, and the modules of the project and the libraries that ran meanwhile.

    What runs because a module is imported is left out: it runs in some processes only.
    """
    files: set[str] = set()
    imports = 0

    def note(frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal imports
        code = frame.f_code
        if code.co_name == IMPORT[0] and code.co_filename == IMPORT[1]:
            imports += 1
            frame.f_trace_lines = False
            return leave
        if not imports:
            files.add(code.co_filename)
        return None

    def leave(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal imports
        imports -= event == "return"
        return leave

    before = sys.gettrace()
    sys.settrace(note)
    try:
        result = function(*arguments)
    finally:
        sys.settrace(before)
    return result, {name for file in files if (name := _name(file))} - AROUND - ASIDE


@cache
def _name(file: str) -> str:
    """The module of a file of the project, or the import name of a library that it depends on; else nothing."""
    _, installed, below = file.rpartition("/site-packages/")
    return _depended_on().get(Path(below).parts[0].removesuffix(".py"), "") if installed else MODULES.get(file, "")


@cache
def _depended_on() -> dict[str, str]:
    """Import names of the libraries that the project depends on."""
    depended = set().union(*dependencies())
    return {
        library: library
        for library, packages in packages_distributions().items()
        if depended & {normalized(package) for package in packages}
    }


@dataclass
class Watch:
    """What ran in each stage beyond what its key covers.

    Attributes:
        ran: modules and libraries that ran in each stage.
        roots: name of the stage of each key, and the modules whose code it covers.
        parts: the same for what coalitions share, by the first of its modules.
    """

    stages: set[str] = field(default_factory=set)
    uncovered: dict[str, set[str]] = field(default_factory=dict)
    ran: dict[str, set[str]] = field(default_factory=dict)
    roots: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def using(self, module: str) -> set[str]:
        """The stages in which functions of a module ran."""
        return {stage for stage, modules in self.ran.items() if module in modules}

    def compare(self, stage: str, ran: set[str], roots: tuple[str, ...]) -> None:
        self.stages.add(stage)
        self.ran.setdefault(stage, set()).update(ran)
        if beyond := ran - modules_run_by(*roots) - libraries_run_by(*roots):
            self.uncovered.setdefault(stage, set()).update(beyond)

    def part(self, name: str, function: Callable[..., Any], first: str) -> Callable[..., Any]:
        """A function of the worker of coalitions, watched."""

        def call(*arguments: Any) -> Any:
            result, ran = watched(function, *arguments)
            self.compare(name, ran, self.parts[first])
            return result

        return call


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch every stage and coalition of the flows that run here; their workers are called inline."""
    watch, in_workers = Watch(), set[str]()
    key_of, compute_stage, code_version = Stage.key, running._compute, coalitions.code_version

    def key(stage: Stage[Any, Any], inputs: Any, modules: Any) -> str:
        roots = tuple(modules)
        made = key_of(stage, inputs, roots)
        watch.roots[made] = stage.name, roots
        return made

    def version(*modules: str) -> str:
        watch.parts[modules[0]] = modules
        return code_version(*modules)

    def compute(space: Any, stage: Any, key: str, inputs: Any, function: Callable[..., Any], *more: Any) -> Any:
        def call(space: Any) -> Any:
            outputs, ran = watched(function, space)
            if key not in in_workers:
                watch.compare(stage.name, ran, watch.roots[key][1])
            return outputs

        return compute_stage(space, stage, key, inputs, call, *more)

    def work(entry: Callable[..., Any], function: Callable[..., Any], *rest: Any) -> Any:
        if entry is not call_stage:  # coalitions, whose parts are watched
            return entry(function, *rest)
        _, key, *_ = rest
        if key not in watch.roots:  # a check, whose result no stage keeps
            return entry(function, *rest)

        def call(*arguments: Any) -> Any:
            outputs, ran = watched(function, *arguments)
            in_workers.add(key)
            watch.compare(watch.roots[key][0], ran, watch.roots[key][1])
            return outputs

        return entry(call, *rest)

    threads = torch.get_num_threads()
    gc.disable()  # it would close, within a stage, what an earlier one opened
    with inline_workers(work), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "key", key)
        patch.setattr(running, "_compute", compute)
        patch.setattr(coalitions, "code_version", version)
        for name, function, first in (
            ("coalition", "train_models", coalitions.TRAINING),
            ("utility", "measure_utility", coalitions.MEASURING),
        ):
            plain = getattr(coalitions_worker, function)
            patch.setattr(coalitions_worker, function, watch.part(name, plain, first))
        try:
            yield watch
        finally:
            gc.enable()
    torch.set_num_threads(threads)  # workers set it, each for itself
