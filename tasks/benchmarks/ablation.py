"""Vary settings one at a time, and measure how well methods find planted items with each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.models.base.choices import CorruptionName
from royalty.models.base.registry import modules_of
from royalty.tasks.benchmarks.detection_stages import ABLATE, Ablated, AblateInputs, CleanSides, DetectInputs
from royalty.tasks.benchmarks.draws import summary_with_means
from royalty.tasks.config.detection import Ablation, DetectionConfig
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import ablation_worker
else:
    ablation_worker = Deferred("royalty.tasks.benchmarks.ablation_worker")


@task(name="detect planted items by setting", cache_policy=NO_CACHE)
def ablate(
    corruption: CorruptionName, draw: int, config: DetectionConfig, ablation: Ablation, sides: CleanSides
) -> Ablated:
    """Look for one corruption with each value of each setting."""
    return run_in_worker(
        ABLATE,
        AblateInputs(DetectInputs(corruption, config.settings, sides, draw), ablation),
        ablation_worker.ablate,
        title=f"{corruption}, draw {draw + 1}, by setting",
        total=len(ablation.variants) + 1,
        also=modules_of(entry for encoding in (config.encoding, *config.encodings) for entry in encoding.entries),
    )


def ablated_rows(ablated: Sequence[Ablated]) -> list[TableRow]:
    """The table by setting: one row for each corruption, draw, setting, value and method."""
    return [row for stage in ablated for row in stage.outputs.rows]


def ablation_summary_of(rows: Sequence[TableRow]) -> list[TableRow]:
    """AUROC over draws by setting and value, for each corruption and for the mean of all (`all`)."""
    return summary_with_means(rows, "setting", "value")


def ablation_plots(name: str, rows: Sequence[TableRow]) -> dict[str, bytes]:
    """PNGs by file name, one for each setting: AUROC by its value, the mean over corruptions and draws."""
    from royalty.infra.pages.plots import auroc_by_value

    curves: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for row in ablation_summary_of(rows):
        if row["corruption"] == "all":
            points = curves.setdefault(row["setting"], {}).setdefault(row["method"], [])
            points.append((row["value"], row["auroc"]))
    return {
        f"ablation-{setting}.png": auroc_by_value(f"{name}: {setting}", setting, methods)
        for setting, methods in curves.items()
    }
