"""The command `royalty tune`: settings of coalitions by agreement with retrained models, and by time."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from royalty.flows.cli.command import AsJson, ConfigFile, Data, Name, Preset, working
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.tasks.stages.stage import TableRow


def tune(
    config: ConfigFile = None, preset: Preset = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Compare training and sampling settings of coalitions by models that are retrained in full, and by their time."""
    from royalty.flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data)
    with working(None, flow="royalty.flows.tune", works=[WORKER], show_progress=not as_json, configs=[configuration]):
        from royalty.flows.tune import tune

        result = tune(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_run, print_table

    columns = ("Chosen", "Finetune steps", "Ratio", "Images", "Steps", "Squared error", "Ranks", "Seconds")
    print_table(columns, [_cells(row) for row in result.rows], whole=range(len(columns)))
    errors = f"Errors are of predicting {result.coalitions} retrained coalitions, 1 without any model."
    for row in result.rows:
        if row["chosen"]:
            console.print(f"{errors} Chosen is the fastest within one standard error of the best:", markup=False)
            console.print(
                f"  coalitions: {{finetune_steps: {row['finetune_steps']}}}\n  pruning: {{ratio: {row['ratio']:g}}}\n"
                f"  sampling: {{images: {row['images']}, steps: {row['steps']}}}",
                markup=False,
            )
            break
    else:
        console.print(
            f"{errors} No settings predict better than that, so that none is chosen. Raise `tuning.retrain`, or let "
            "coalitions train longer",
            markup=False,
        )
    console.print(f"Table       {result.folder}/tuning.csv", soft_wrap=True)
    print_run(result.mlflow_run)


def _cells(row: TableRow) -> list[str]:
    return [
        "yes" if row["chosen"] else "",
        str(row["finetune_steps"]),
        f"{row['ratio']:g}",
        str(row["images"]),
        str(row["steps"]),
        f"{row['error']:.2f} ±{row['stderr']:.2f}",
        "none" if row["spearman"] is None else f"{row['spearman']:+.2f}",
        f"{row['seconds']:.1f}",
    ]
