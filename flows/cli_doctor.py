"""The command `royalty doctor`: what is wrong with this machine, before a run finds it out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import typer

from flows.command import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Look at versions, devices, weights, servers, disk, permissions and clock; exits 1 if something will not do."""
    from infra.session import configured

    configured()
    from infra.doctor import examine
    from infra.settings import settings
    from infra.terminal import print_finding

    found = []
    for finding in examine(settings()):
        found.append(finding)
        if not as_json:
            print_finding(finding)
    passes = all(finding.passes for finding in found)
    if as_json:
        sys.stdout.write(json.dumps({"passes": passes, "findings": [asdict(finding) for finding in found]}) + "\n")
    if not passes:
        raise typer.Exit(1)
