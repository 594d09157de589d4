"""The command `royalty presets`: the configurations in the package, with their size and cost."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from royalty.flows.cli.command import AsJson


def presets(as_json: AsJson = False) -> None:
    """List the presets with their images, generators and parameters, and estimates of memory and GPU hours."""
    from royalty.flows.configuration import load_config
    from royalty.flows.preset_files import place_of_preset, preset_names
    from royalty.tasks.credit.expected import expected

    overview = {}
    for name in preset_names():
        place = place_of_preset(name)
        config = load_config(file=None, preset=name, name=None, data=Path(place) if place else None)
        overview[name] = place, config.generator.kind, expected(config)
    if as_json:
        rows = [
            {"name": name, "data": place or None, "generator": kind, **asdict(cost)}
            for name, (place, kind, cost) in overview.items()
        ]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table
    from royalty.models.generators.budget import SUSTAINED

    cells = [
        (
            name,
            kind,
            f"{cost.outline.parameters / 1e6:.2f}",
            str(cost.coalitions),
            f"{cost.budget.gigabytes:.1f}",
            f"{cost.budget.hours:.2f}",
        )
        for name, (_, kind, cost) in overview.items()
    ]
    print_table(("Preset", "Generator", "Million parameters", "Coalitions", "GB", "GPU hours"), cells)
    console.print(
        f"Memory and hours are estimates for float32 at {SUSTAINED / 1e12:g} tera-operations per second. "
        "Presets that need --data:"
    )
    for name, (place, _, _) in overview.items():
        if place:
            console.print(f"  {name}: {place}", soft_wrap=True)
