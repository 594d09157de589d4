"""The key of every stage covers all code of the project that the stage runs: each flow is run small, and watched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import yaml

from royalty.infra.processes.workers import Reference
from royalty.infra.stores.keys import modules_run_by
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import coalition_models, coalition_utilities, coalitions, coalitions_worker
from royalty.tasks.credit.training import measuring_modules
from royalty.tasks.stages import running
from tests.conftest import SMALL
from tests.in_process import inline_workers, own_home
from tests.test_rooms import FILES

MODULES = {str(path): f"royalty.{name}" for name, path in FILES.items()}
AROUND = {"royalty.tasks.stages.running", "royalty.tasks.stages.context", "royalty.infra.processes.workers"}
"""What calls a stage's function, and shows how far it is: the same for all, and no part of what they make."""


def watched(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, set[str]]:
    """Call a function; what it returns, and the modules of the project whose functions ran meanwhile."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = function(*arguments, **named)
    finally:
        sys.setprofile(before)
    # A module's own body runs when it is imported, which was before, or is not.
    files = {code.co_filename for code in codes if code.co_name != "<module>"}
    return result, {MODULES[file] for file in files if file in MODULES} - AROUND


@dataclass
class Watch:
    """What ran in each stage beyond what its key covers."""

    stages: set[str] = field(default_factory=set)
    uncovered: dict[str, set[str]] = field(default_factory=dict)
    ran: dict[str, set[str]] = field(default_factory=dict)

    def using(self, module: str) -> set[str]:
        """The stages in which functions of a module ran."""
        return {stage for stage, modules in self.ran.items() if module in modules}

    def compare(self, stage: str, ran: set[str], roots: Iterable[str]) -> None:
        self.stages.add(stage)
        self.ran.setdefault(stage, set()).update(ran)
        if beyond := ran - modules_run_by(*roots):
            self.uncovered.setdefault(stage, set()).update(beyond)


@contextmanager
def watching(home: Path, prefect_url: str, config: CreditConfig) -> Iterator[Watch]:
    """Watch every stage and coalition of the flows that run this configuration, on a home of their own."""
    watch = Watch()
    kind, *_ = measured_by = measuring_modules(config)
    run_stage = running.run_stage

    def run_watched(stage: Any, inputs: Any, compute: Any, *, modules: Iterable[str], **named: Any) -> Any:
        in_worker, roots = compute.__module__ == running.__name__, tuple(modules)

        def compute_watched(space: Any) -> Any:
            if in_worker:  # the call of its function is what is watched
                with inline_workers(lambda call, function, *rest: call(call_watched(function), *rest)):
                    return compute(space)
            outputs, ran = watched(compute, space)
            watch.compare(stage.name, ran, roots)
            return outputs

        def call_watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                outputs, ran = watched(function, *arguments)
                watch.compare(stage.name, ran, roots)
                return outputs

            return call

        return run_stage(stage, inputs, compute_watched, modules=roots, **named)

    def part(name: str, function: Callable[..., Any], roots: Callable[[], Iterable[str]]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result, ran = watched(function, *arguments)
            watch.compare(name, ran, roots())
            return result

        return call

    with own_home(home, prefect_url), inline_workers(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "run_stage", run_watched)
        trained = part("coalition", coalition_models.train_models, lambda: (coalitions.TRAINING, kind))
        measured = part("utility", coalition_utilities.measure_utility, lambda: (coalitions.MEASURING, *measured_by))
        patch.setattr(coalitions_worker, "train_models", trained)
        patch.setattr(coalitions_worker, "measure_utility", measured)
        yield watch


CONFIG = CreditConfig.model_validate({**yaml.safe_load(SMALL), "name": "watched"})


def test_a_run_and_its_revaluation(tmp_path: Path, prefect_url: str) -> None:
    from royalty.flows.credit import credit
    from royalty.flows.revalue import revalue

    with watching(tmp_path / "home", prefect_url, CONFIG) as watch:
        credit(CONFIG)
        revalue(CONFIG)
    assert watch.uncovered == {}
    assert watch.stages >= {"ingest", "classifier", "train", "prune", "measure", "credit", "pay", "gmvaluator"}
    assert watch.stages >= {"coalition", "utility", "track", "report"}


def test_code_that_no_key_covers_is_seen(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module that trains coalitions side by side once was."""
    from royalty.flows.credit import credit

    hidden = Reference("royalty.models.payout.apportionment", "largest_remainder")
    fit = coalition_models.coalition_models

    def with_hidden(*arguments: Any) -> Any:
        hidden([Fraction(1)])
        return fit(*arguments)

    monkeypatch.setattr(coalition_models, "coalition_models", with_hidden)
    with watching(tmp_path / "home", prefect_url, CONFIG) as watch:
        credit(CONFIG)
    assert watch.uncovered == {"coalition": {"royalty.models.payout.apportionment"}}
