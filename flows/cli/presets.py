"""The command `royalty presets`: what comes with the package, how large it is, and what it takes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from royalty.flows.cli.command import AsJson


def presets(as_json: AsJson = False) -> None:
    """The presets: what images they take, the parameters of their generators, and GPU hours by a formula."""
    from royalty.flows.configuration import load_config, place_of_preset, preset_names
    from royalty.tasks.credit.expected import expected

    found = {}
    for name in preset_names():
        place = place_of_preset(name)
        config = load_config(file=None, preset=name, name=None, data=Path(place) if place else None)
        found[name] = place, config.generator.kind, expected(config)
    if as_json:
        rows = [
            {"name": name, "data": place or None, "generator": kind, **asdict(one)}
            for name, (place, kind, one) in found.items()
        ]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table
    from royalty.models.generators.budget import SUSTAINED

    cells = [
        (
            name,
            kind,
            f"{one.outline.parameters / 1e6:.2f}",
            str(one.coalitions),
            f"{one.budget.gigabytes:.1f}",
            f"{one.budget.hours:.2f}",
        )
        for name, (_, kind, one) in found.items()
    ]
    print_table(("Preset", "Generator", "Million parameters", "Coalitions", "GB", "GPU hours"), cells)
    console.print(
        f"Memory and hours are estimates: float32, at {SUSTAINED / 1e12:g} tera-operations a second. Images, by --data:"
    )
    for name, (place, _, _) in found.items():
        if place:
            console.print(f"  {name}: {place}", soft_wrap=True)
